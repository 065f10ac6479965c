"""The verdict and the report of the commands that register: register, propagate-contours, segment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jrscli.cli.run import Results, Run
from jrscli.errors import GateFailed

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.metrics.evaluation import Evaluation
    from jrscli.metrics.gates import GateRow, Verdict
    from jrscli.metrics.tolerances import Tolerances
    from jrscli.report.regions import Region
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.propagate import Propagation
    from jrscli.workflows.register import Registration

MOST_POINTS = 200_000
_WHAT = {
    "register": "The images were registered",
    "propagate-contours": "Contours were carried from the planning to the daily image",
    "segment": "The image was contoured by labelled atlases",
}


def judge_registration(
    run: Run,
    results: Results,
    registration: Registration,
    fixed: ImageFile,
    moving: ImageFile,
    *,
    structures: StructureSet | LabelMap | None = None,
    carried: Propagation | None = None,
    second: Sequence[GateRow] = (),
    gate: str = "warn",
    report: bool = True,
) -> GateFailed | None:
    """Hold the registration and what it carried against the tolerances, write report.html; the failure, if the gate closes.

    structures: contours on the fixed image. carried: what became of each ROI, for propagate-contours.
    second: how the carried contours compare with a second estimate of them.
    """
    from jrscli.cli.evaluate_output import judge
    from jrscli.cli.report_page import regions_of
    from jrscli.io.tolerances import read_tolerances
    from jrscli.metrics.field_gates import linear_stage_row
    from jrscli.metrics.gates import Verdict
    from jrscli.metrics.verdict import verdict_of

    tolerances = read_tolerances()
    grids = (fixed.volume.geometry, moving.volume.geometry)
    v_mm = max(max(grid.spacing_mm) for grid in grids)
    hidden = run.privacy.deidentify or run.privacy.anonymise_rois
    if hidden and structures is not None:
        structures = _numbered(structures)
    evaluation = _field(run, registration, grids, structures)
    rows = [linear_stage_row(registration.failed), *verdict_of([evaluation], tolerances, v_mm).rows]
    regions = regions_of(structures, grids[0]) if structures is not None else []
    names = {one.number: f"ROI-{one.number}" if hidden else one.name for one in carried.results} if carried else {}
    if carried is not None:
        rows += _carried(carried, names, regions, grids[0], tolerances, v_mm)
    rows += second
    verdict = Verdict(tuple(rows))
    failure = judge(run, verdict, v_mm, gate)
    if report:
        _write(run, results, registration, fixed, moving, regions, evaluation, verdict, v_mm, carried, names)
    return failure


def _field(
    run: Run, registration: Registration, grids: tuple[Geometry, Geometry], structures: StructureSet | LabelMap | None
) -> Evaluation:
    from jrscli.workflows.evaluate_transform import evaluate_field, field_geometry, masks_on

    place = field_geometry(registration.transform, grids[0])
    masks, bodies = masks_on(structures, place) if structures is not None else ({}, ())
    voxels = place.shape[0] * place.shape[1] * place.shape[2]
    stride = max(1, round((voxels / MOST_POINTS) ** (1 / 3)))
    return evaluate_field(
        registration.transform,
        place,
        masks=masks,
        inverse=registration.inverse,
        moving=grids[1],
        stride=stride,
        bodies=bodies,
        progress=run.talk,
    )


def _numbered(structures: StructureSet | LabelMap) -> StructureSet | LabelMap:
    """The structures with numbers in place of their names."""
    from dataclasses import replace

    from jrscli.spatial.volume import LabelMap

    if isinstance(structures, LabelMap):
        return LabelMap(structures.array, structures.geometry, {n: f"ROI-{n}" for n in structures.numbers()})
    return replace(structures, rois=tuple(replace(roi, name=f"ROI-{roi.number}") for roi in structures.rois))


def _carried(
    carried: Propagation, names: dict[int, str], regions: list[Region], grid: Geometry, tolerances: Tolerances, v_mm: float
) -> list[GateRow]:
    """The volume of each ROI against its source, and what is odd about its contour."""
    from jrscli.metrics.contour_checks import is_body
    from jrscli.metrics.structure_gates import contour_row, volume_change_row

    found = []
    flagged = {row.name: row for row in _rows(regions, grid)}
    kinds = {roi.number: roi.kind for roi in carried.structures.rois}
    for one in carried.results:
        title = names[one.number]
        if one.status == "empty":
            continue
        found.append(volume_change_row(title, one.planning_cc, one.daily_cc, tolerances, one.status == "lost"))
        if title in flagged and not is_body(title, kinds.get(one.number, "")):
            flags = (*flagged[title].flags, *(("cut",) if one.status == "cut" else ()))
            found.append(contour_row(title, "ok", tuple(dict.fromkeys(flags)), v_mm))
    return found


def _rows(regions: list[Region], grid: Geometry) -> list[Any]:
    """A row per structure on the fixed image, with its volume, its flags and the slices that show most of it."""
    import numpy as np

    from jrscli.metrics.contour_checks import contour_flags
    from jrscli.metrics.evaluation import Row
    from jrscli.metrics.pair import Pair
    from jrscli.metrics.slices import worst_slices
    from jrscli.metrics.value import Value

    rows = []
    for region in regions:
        upper = tuple(low + n for low, n in zip(region.lower, region.mask.shape, strict=True))
        box = grid.cropped_to(region.lower, (upper[0], upper[1], upper[2]))
        pair = Pair(np.zeros_like(region.mask), region.mask, box, region.lower, grid.shape)
        cc = float(np.count_nonzero(region.mask)) * grid.voxel_volume_mm3 / 1000
        value = Value("volume.v1(test)", cc, "cc")
        rows.append(
            Row(region.name, {value.id: value}, flags=contour_flags(pair), details={"worst_slices": worst_slices(pair)})
        )
    return rows


def _write(
    run: Run,
    results: Results,
    registration: Registration,
    fixed: ImageFile,
    moving: ImageFile,
    regions: list[Region],
    evaluation: Evaluation,
    verdict: Verdict,
    v_mm: float,
    carried: Propagation | None,
    names: dict[int, str],
) -> None:
    from jrscli.cli.report_page import write_page
    from jrscli.io.software import software_version
    from jrscli.report.compose import Subject
    from jrscli.report.methods_text import methods_of_registration
    from jrscli.report.tables import to_columns
    from jrscli.spatial.resample import resample
    from jrscli.workflows.evaluate_transform import field_geometry

    grid = fixed.volume.geometry
    run.talk.say("drawing the report")
    subject = Subject(
        fixed.volume,
        regions,
        moved=registration.warp(moving.volume, grid),
        before=resample(moving.volume, grid),
        transform=registration.transform,
        inverse=registration.inverse,
        field_grid=field_geometry(registration.transform, grid),
        same_contrast=fixed.modality == moving.modality and "mutual" not in str([step.facts for step in registration.steps]),
        v_mm=v_mm,
        titles=("carried contours" if carried else "contours", "second estimate"),
    )
    facts = {}
    for one in carried.results if carried else ():
        lines = [("how", one.how), ("planning", _cc(one.planning_cc)), ("daily", _cc(one.daily_cc))]
        facts[names[one.number]] = [*lines, ("outside the daily image", f"{one.outside_percent:.0f} %")]
    methods = methods_of_registration(software_version(), run.record.document(), _WHAT[run.record.command])
    write_page(
        run,
        results,
        run.record.command,
        subject,
        verdict,
        _rows(regions, grid),
        facts=facts,
        tables=[("Displacement field", to_columns(evaluation))],
        methods=methods,
        v_mm=v_mm,
    )


def _cc(volume: float | None) -> str:
    return "n/a" if volume is None else f"{volume:.2f} cc"
