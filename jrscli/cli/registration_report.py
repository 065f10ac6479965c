"""The verdict and the report of the commands that register: register, propagate-contours, segment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jrscli.cli.run import Results, Run
from jrscli.errors import GateFailed

if TYPE_CHECKING:
    from jrscli.cli.second_estimate import Compared
    from jrscli.io.image_file import ImageFile
    from jrscli.metrics.evaluation import Evaluation, Row
    from jrscli.metrics.gates import GateRow
    from jrscli.metrics.tolerances import Tolerances
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.propagate import Propagation
    from jrscli.workflows.register import Registration

MOST_POINTS = 200_000


def judge_registration(
    run: Run,
    results: Results,
    registration: Registration,
    fixed: ImageFile,
    moving: ImageFile,
    *,
    structures: StructureSet | LabelMap | None = None,
    carried: Propagation | None = None,
    known: tuple[LabelMap, LabelMap] | None = None,
    beside: StructureSet | LabelMap | None = None,
    further: Sequence[GateRow] = (),
    second: Compared | None = None,
    gate: str = "warn",
    report: bool = True,
) -> GateFailed | None:
    """Hold the registration and what it carried against the tolerances, write the figures; the failure, if the gate closes.

    structures: contours on the fixed image. carried: what became of each ROI, for propagate-contours.
    known: labels that were drawn on the fixed and on the moving image: how well the transform brings them together.
    beside: contours that were drawn on the fixed image, whether or not they guided: dashed in the pictures.
    further: rows of the gate that were found elsewhere. second: how the carried contours compare with a second estimate of
    them: the first table of the report, and dashed in the pictures where nothing was drawn. report: also report.html.
    """
    from jrscli.cli.evaluate_output import judge, write_metrics
    from jrscli.cli.report_page import regions_of
    from jrscli.io.tolerances import read_tolerances
    from jrscli.metrics.assessment import Assessment
    from jrscli.metrics.field_gates import linear_stage_row, unmeasured_row
    from jrscli.metrics.gates import Verdict
    from jrscli.metrics.verdict import verdict_of
    from jrscli.spatial.resample import resample
    from jrscli.workflows.evaluate_images import evaluate_images

    tolerances = read_tolerances()
    grids = (fixed.volume.geometry, moving.volume.geometry)
    v_mm = max(max(grid.spacing_mm) for grid in grids)
    hidden = run.privacy.deidentify or run.privacy.anonymise_rois
    if hidden and structures is not None:
        structures = numbered(structures)
    if hidden and known is not None:
        known = numbered_labels(known[0]), numbered_labels(known[1])
    if hidden and beside is not None:
        beside = numbered(beside)
    field = _field(run, registration, grids, structures)
    same = same_contrast(registration, fixed, moving)
    before, after = resample(moving.volume, grids[0]), registration.warp(moving.volume, grids[0])
    images = evaluate_images(fixed.volume, grids[1], registration.transform, before, after, same_contrast=same)
    labels = _known(known, registration) if known else {}
    main = labels.get("after", field)
    parts = {"images": images} | ({"field": field} if labels else {})
    rows = [linear_stage_row(registration.failed), *verdict_of([main, *parts.values()], tolerances, v_mm).rows]
    if known is None:
        rows.append(unmeasured_row())
    regions = regions_of(structures, grids[0]) if structures is not None else []
    other = beside if beside is not None else second.labels if second else None
    colours = {region.number: region.colour for region in regions} if beside is None else {}
    regions += regions_of(other, grids[0], dashed=True, colours=colours) if other is not None else []
    names = {one.number: f"ROI-{one.number}" if hidden else one.name for one in carried.results} if carried else {}
    alone = describe_contours_of(structures, grids[0])
    if carried is not None:
        rows += _carried(carried, names, alone, tolerances, v_mm)
    rows += [*further, *(second.rows if second else ())]
    verdict = Verdict(tuple(rows))
    failure = judge(run, verdict, v_mm, gate)
    found = Assessment(main, parts, {}, verdict, tolerances, v_mm)
    write_metrics(results, found)
    if report:
        from jrscli.cli.registration_page import Drawn, with_second, write_registration_page

        drawn = Drawn(regions, with_second(alone, second), before, after, same, labels, beside is not None, second)
        write_registration_page(run, results, registration, fixed, found, carried, names, drawn)
    return failure


def same_contrast(registration: Registration, fixed: ImageFile, moving: ImageFile) -> bool:
    """Whether the difference of both images means something."""
    return fixed.modality == moving.modality and "mutual" not in str([step.facts for step in registration.steps])


def describe_contours_of(structures: StructureSet | LabelMap | None, grid: Geometry) -> list[Row]:
    """The rows of contours on the fixed image; those without a voxel are left out."""
    from jrscli.workflows.lone_contours import describe_contours

    return [row for row in describe_contours(structures, grid).rows if row.status == "ok"] if structures is not None else []


def _known(known: tuple[LabelMap, LabelMap], registration: Registration) -> dict[str, Evaluation]:
    """The labels of the moving image against those of the fixed one, where its header puts them and where they were moved."""
    from jrscli.spatial.resample import resample_labels
    from jrscli.workflows.evaluate import evaluate_labels

    truth, source = known
    moved = {"before": resample_labels(source, truth.geometry)}
    moved["after"] = resample_labels(source, truth.geometry, registration.transform)
    return {name: evaluate_labels(truth, labels) for name, labels in moved.items()}


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


def numbered_labels(labels: LabelMap) -> LabelMap:
    """The labels with numbers in place of their names."""
    from jrscli.spatial.volume import LabelMap

    return LabelMap(labels.array, labels.geometry, {n: f"ROI-{n}" for n in {*labels.numbers(), *labels.names} if n})


def numbered(structures: StructureSet | LabelMap) -> StructureSet | LabelMap:
    """The structures with numbers in place of their names."""
    from dataclasses import replace

    from jrscli.spatial.volume import LabelMap

    if isinstance(structures, LabelMap):
        return numbered_labels(structures)
    return replace(structures, rois=tuple(replace(roi, name=f"ROI-{roi.number}") for roi in structures.rois))


def _carried(
    carried: Propagation, names: dict[int, str], alone: list[Row], tolerances: Tolerances, v_mm: float
) -> list[GateRow]:
    """The volume of each ROI against its source, and what is odd about its contour."""
    from jrscli.metrics.structure_gates import contour_row, volume_change_row

    found = []
    flagged = {row.name: row for row in alone}
    for one in carried.results:
        title = names[one.number]
        if one.status == "empty":
            continue
        found.append(volume_change_row(title, one.planning_cc, one.daily_cc, tolerances, one.status == "lost"))
        if title in flagged and "body" not in flagged[title].flags:
            flags = (*flagged[title].flags, *(("cut",) if one.status == "cut" else ()))
            found.append(contour_row(title, "ok", tuple(dict.fromkeys(flags)), v_mm))
    return found
