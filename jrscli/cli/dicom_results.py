"""The DICOM objects that commands read and write beside their own: registrations, segmentations, doses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli.run import Results, Run
from jrscli.errors import Notice, UsageError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.io.rtstruct_write import Origin
    from jrscli.spatial.affine import AffineTransform
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.masks import Masks
    from jrscli.spatial.transform import Transform

_PANEL = "DICOM objects"


class RegKind(StrEnum):
    """Which DICOM registration is written."""

    none = "none"
    rigid = "rigid"
    deformable = "deformable"


class SegKindName(StrEnum):
    """How a DICOM Segmentation holds its regions."""

    binary = "binary"
    labelmap = "labelmap"


Reg = Annotated[
    Path | None,
    typer.Option(
        "--reg",
        metavar="FILE",
        help="DICOM registration (couch shift) to start from.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
WriteReg = Annotated[
    RegKind,
    typer.Option("--write-reg", help="Also write a DICOM registration: the linear part, or all of it.", rich_help_panel=_PANEL),
]
RegAccuracy = Annotated[
    float,
    typer.Option(
        "--reg-accuracy", metavar="MM", min=0.001, help="What the grid of a deformable one may cost.", rich_help_panel=_PANEL
    ),
]
WriteSeg = Annotated[
    bool, typer.Option("--write-seg", help="Also write the labels as DICOM Segmentation.", rich_help_panel=_PANEL)
]
SegKindOption = Annotated[
    SegKindName,
    typer.Option("--seg-kind", help="binary: known to every reader; labelmap: smaller files.", rich_help_panel=_PANEL),
]


def start_of(run: Run, reg: Path, init: str, fixed: ImageFile, moving: ImageFile) -> AffineTransform:
    """The linear transform of a DICOM registration, fixed mm -> moving mm, as the start of another one.

    Raises UsageError `usage.combination`, InputError `reg.deformable` and those of `registration_object`.
    """
    if init != "auto":
        raise UsageError("--reg and --init both say where to start", code="usage.combination", hint="leave one of them out")
    found = read_reg(run, reg, fixed, moving)
    if not found.is_linear:
        from jrscli.errors import InputError

        raise InputError(
            "a deformable registration is no start: a registration begins from one matrix",
            code="reg.deformable",
            hint="give a rigid one, or apply this one: jrs warp --xfm FILE",
        )
    return found.as_affine()


def read_reg(run: Run, reg: Path, fixed: ImageFile | None, moving: ImageFile | None) -> Transform:
    """A DICOM registration as fixed mm -> moving mm; images without DICOM leave it to its own frames."""
    from jrscli.io.registration_object import read_registration

    found = read_registration(reg)
    run.note(found.notices)
    run.record.add_input("reg", reg, "registration")
    if fixed is not None and moving is not None and fixed.series and moving.series:
        return found.between(fixed.series, moving.series)
    if fixed is not None or moving is not None:
        words = "the images do not say their frames of reference; the registered one is taken for that of FIXED"
        run.note([Notice("reg.frames", words)])
    return found.between()


@dataclass(frozen=True)
class Wanted:
    """What a registration is to read and write of DICOM beside its own results."""

    reg: Path | None = None
    write_reg: RegKind = RegKind.none
    reg_accuracy_mm: float = 0.1
    write_seg: bool = False
    seg_kind: SegKindName = SegKindName.binary

    def options(self) -> dict[str, Any]:
        """As they stand in run.json."""
        return {
            "reg": self.reg is not None,
            "write_reg": self.write_reg.value,
            "write_seg": self.write_seg,
            **({"reg_accuracy_mm": self.reg_accuracy_mm} if self.write_reg is RegKind.deformable else {}),
            **({"seg_kind": self.seg_kind.value} if self.write_seg else {}),
        }

    def check(self, fixed: ImageFile, moving: ImageFile) -> None:
        """Raise UsageError `usage.dicom` before anything is computed, where an image is not what is needed."""
        if self.write_reg is not RegKind.none:
            _check_series("--write-reg", fixed, moving)
        if self.write_seg:
            _check_series("--write-seg", fixed)

    def write_registration(self, run: Run, results: Results, registration: Any, fixed: ImageFile, moving: ImageFile) -> None:
        """Write ``REG_moving-to-fixed.dcm``, where one is wanted; say what the grid of a deformable one costs."""
        if self.write_reg is RegKind.none:
            return
        from jrscli.spatial.transform import Transform

        rigid = self.write_reg is RegKind.rigid
        transform = Transform((registration.linear,)) if rigid else registration.transform
        path, failed = results.add("reg", "REG_moving-to-fixed.dcm"), registration.failed is not None
        write_registration_object(run, self.write_reg, self.reg_accuracy_mm, transform, fixed, moving, path, failed=failed)

    def write_segmentation(
        self, run: Run, results: Results, masks: Masks, target: ImageFile, *, label: str, origin: Origin | None = None
    ) -> None:
        """Write ``SEG_space-fixed.dcm``; where every region is empty there is none, which is told."""
        from jrscli.io.segmentation_object import write_segmentation

        assert target.series is not None
        if not any(mask.any() for mask in masks.masks.values()):
            run.note([Notice("seg.lost", "every region is empty, so no segmentation is written")])
            return
        path, grid = results.add("seg", "SEG_space-fixed.dcm"), target.volume.geometry
        notices = write_segmentation(
            masks, target.series, grid, path, kind=self.seg_kind.value, label=label, origin=origin, seed=run.uid_seed
        )
        run.note(notices)


def _check_series(option: str, *images: ImageFile) -> None:
    if not all(image.series for image in images):
        raise UsageError(
            f"{option} needs DICOM series: what is written refers to them",
            code="usage.dicom",
            hint="give folders of DICOM slices, or leave the option out",
        )
    from jrscli.io.dicom_references import check_referable

    for image in images:
        if image.series:
            check_referable(image.series, "what is written")


def write_registration_object(
    run: Run,
    kind: RegKind,
    accuracy_mm: float,
    transform: Transform,
    fixed: ImageFile,
    moving: ImageFile,
    path: Path,
    *,
    failed: bool = False,
) -> None:
    """Write a transform (fixed mm -> moving mm) as DICOM registration of two DICOM series."""
    from jrscli.io.registration_object_write import write_deformable, write_rigid

    assert fixed.series is not None
    assert moving.series is not None
    if kind is RegKind.rigid:
        run.note(write_rigid(transform.as_affine(), fixed.series, moving.series, path, failed=failed, seed=run.uid_seed))
        run.record.facts["registration_object"] = {"kind": "rigid"}
        return
    from jrscli.spatial.subsample import subsample

    found = subsample(transform, fixed.volume.geometry, tolerance_mm=accuracy_mm)
    run.note(write_deformable(found.field, fixed.series, moving.series, path, failed=failed, seed=run.uid_seed))
    grid = found.field.geometry
    run.record.facts["registration_object"] = {
        "kind": "deformable",
        "grid_size": list(grid.shape),
        "grid_spacing_mm": [round(size, 4) for size in grid.spacing_mm],
        "max_error_mm": round(found.max_error_mm, 5),
    }
    size = " × ".join(f"{size:.3g}" for size in grid.spacing_mm)
    run.talk.say(f"deformable registration on a grid of {size} mm, which errs by at most {found.max_error_mm:.3f} mm")


def warp_dose_file(
    run: Run, results: Results, path: Path, image_map: Transform, target: Geometry, reference: ImageFile | None, name: str
) -> None:
    """Carry a dose over: to RTDOSE of the series ``reference``, or to NIfTI in Gy; say what lies outside."""
    from jrscli.io import write_image
    from jrscli.io.dose import read_dose, write_dose
    from jrscli.workflows.warp import warp_dose

    dose = read_dose(path)
    run.record.add_input("dose", path, "rtdose", dose.volume.geometry)
    moved = warp_dose(dose.volume, target, image_map)
    series = reference.series if reference is not None else None
    if series is not None and not dose.names_plan:
        run.note([Notice("dose.plan", "the given dose names no plan, without which an RTDOSE is not valid: written as NIfTI")])
    if series is not None and dose.names_plan:
        rigid = image_map.is_linear and image_map.as_affine().is_rigid()
        where = results.add("dose", f"{name}.dcm")
        run.note(write_dose(moved.volume, dose, series, where, rigid=rigid, seed=run.uid_seed))
    else:
        write_image(moved.volume, results.add("dose", f"{name}.nii.gz"))
    unit = "Gy" if dose.units == "GY" else "relative"
    run.record.facts.setdefault("doses", []).append(
        {
            "method": "point-wise dose transfer",
            "units": unit,
            "max_before": float(dose.volume.array.max()),
            "max_after": float(moved.volume.array.max()),
            "outside_voxels": moved.outside,
            "outside_percent": round(moved.outside_percent, 3),
        }
    )
    run.talk.say(
        f"dose moved point by point (energy and mass are not balanced); {moved.outside} voxels "
        f"({moved.outside_percent:.1f} %) lie outside the given dose and are 0"
    )
