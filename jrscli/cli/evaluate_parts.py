"""What was asked of `jrs evaluate`, and its image, landmarks, fields and doses, read and evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.cli.run import Run
from jrscli.errors import InputError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.metrics.evaluation import Evaluation
    from jrscli.metrics.tolerances import Tolerances
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.transform import Transform
    from jrscli.spatial.volume import LabelMap, Volume


@dataclass(frozen=True)
class Asked:
    """What the user asked for."""

    reference: Path | None
    predictions: Sequence[Path] = ()
    image: Path | None = None
    metrics: Sequence[str] | None = None
    nsd_tolerance: float | None = None
    resample: bool = False
    trim_to_common: bool = False
    readers: Sequence[Path] = ()
    doses: Sequence[Path] = ()
    dose_levels: Sequence[float] = ()
    field: Path | None = None
    inverse_field: Path | None = None
    landmarks: tuple[Path, Path] | None = None
    tolerances: Path | None = None
    rules: Sequence[str] = ()
    phantom: str = ""
    select: str | None = None

    def settings(self, tolerances: Tolerances) -> dict[str, Any]:
        """How contours are to be compared."""
        wanted: dict[str, Any] = {"metrics": self.metrics} if self.metrics else {}
        wanted |= {"nsd_tolerance_mm": self.nsd_tolerance, "trim_to_common": self.trim_to_common}
        return wanted | {"tolerances": tolerances}


def landmarks_of(run: Run, files: tuple[Path, Path], transform: Transform | None) -> Evaluation:
    """The errors of landmarks, with the transform where there is one."""
    from jrscli.io.points import read_points
    from jrscli.workflows.evaluate_transform import evaluate_points

    fixed, labels = read_points(files[0])
    moving, _ = read_points(files[1])
    for role, path in (("landmarks fixed", files[0]), ("landmarks moving", files[1])):
        run.record.add_input(role, path, "points")
    return evaluate_points(fixed, moving, transform, names=labels if all(labels) else None)


def transform_of(run: Run, asked: Asked, grid: Geometry | None) -> Transform | None:
    """The transform that was given."""
    from jrscli.io.transforms import read_transform

    if asked.field is None:
        return None
    transform = read_transform(asked.field)
    run.record.add_input("field", asked.field, "transform")
    _check_direction(asked.field, grid)
    return transform


def field_of(
    run: Run, asked: Asked, transform: Transform, grid: Geometry | None, structures: StructureSet | LabelMap | None
) -> Evaluation:
    """What the transform does in the image and in each structure."""
    from jrscli.io.sidecar import read_sidecar
    from jrscli.io.transforms import read_transform
    from jrscli.workflows.evaluate_transform import evaluate_field, field_geometry, masks_on

    inverse = read_transform(asked.inverse_field) if asked.inverse_field else None
    if asked.inverse_field:
        run.record.add_input("inverse field", asked.inverse_field, "transform")
    place = field_geometry(transform, grid)
    masks, bodies = masks_on(structures, place) if structures is not None else ({}, ())
    sidecar = read_sidecar(asked.field) if asked.field else None
    moving = sidecar.source if sidecar else None
    return evaluate_field(
        transform, place, masks=masks, inverse=inverse, moving=moving, bodies=bodies, stride=2, progress=run.talk
    )


def _check_direction(path: Path, grid: Geometry | None) -> None:
    """Refuse the transform of the other direction, where its sidecar tells."""
    from jrscli.io.sidecar import read_sidecar

    sidecar = read_sidecar(path)
    if sidecar is None or grid is None or grid.matches(sidecar.target):
        return
    if grid.matches(sidecar.source):
        raise InputError(
            "this transform ends in the space of the other image: it maps points the wrong way",
            code="field.direction",
            hint=f"take {sidecar.inverse}" if sidecar.inverse else "take the transform whose images go to this one's grid",
        )


def dose_of(
    run: Run, asked: Asked, reference: StructureSet | LabelMap, prediction: StructureSet | LabelMap, grid: Geometry
) -> Evaluation:
    """The dose in both contours."""
    from jrscli.workflows.evaluate_dose import evaluate_dose

    doses = [_dose(run, path) for path in asked.doses]
    second = doses[1] if len(doses) > 1 else None
    levels = tuple(asked.dose_levels)
    return evaluate_dose(reference, prediction, grid, doses[0], second, levels_gy=levels, progress=run.talk)


def _dose(run: Run, path: Path) -> Volume:
    from jrscli.io import read_image
    from jrscli.io.content import kind_of
    from jrscli.io.dose import read_dose

    if kind_of(path) == "dicom":
        dose = read_dose(path)
        if dose.units != "GY":
            raise InputError("the dose is relative, not in Gy", code="dose.units", hint="export the absolute dose")
        run.record.add_input("dose", path, "dose", dose.volume.geometry)
        return dose.volume
    volume = read_image(path).volume
    run.record.add_input("dose", path, "image", volume.geometry)
    return volume


def image_of(run: Run, asked: Asked) -> ImageFile | None:
    """The image that was named, or the one near the RTSTRUCT that its contours refer to."""
    if asked.image:
        return run.image("image", asked.image, select=asked.select)
    from jrscli.io.content import kind_of
    from jrscli.io.rtstruct import is_rtstruct
    from jrscli.io.rtstruct_series import series_of

    for path in (asked.reference, *asked.predictions):
        if path is not None and kind_of(path) == "dicom" and is_rtstruct(path):
            near = series_of(path)
            if near:
                run.talk.say("the contours are compared on the series that they were drawn on, which lies beside them")
                return run.image("image", near[0], select=near[1])
    return None
