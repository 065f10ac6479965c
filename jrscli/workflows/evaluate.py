"""Evaluate: how well two sets of structures agree. Pure: no files, no printing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jrscli.errors import GeometryError, Notice, UsageError
from jrscli.metrics.compare import DEFAULT_METRICS, check_metrics, compare
from jrscli.metrics.contour_checks import is_body
from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.pair import Pair, box_geometry, joined_box
from jrscli.metrics.slices import by_slice, worst_slices
from jrscli.metrics.tolerances import Tolerances
from jrscli.progress import Progress, silent
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.checking import Checks
from jrscli.workflows.pairing import Match, Structure, brought_onto, of_labels, pairs_of, structures_of


def evaluate_labels(
    reference: LabelMap,
    prediction: LabelMap,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    nsd_tolerance_mm: float | None = None,
    match: Match = "auto",
    resample: bool = False,
    trim_to_common: bool = False,
    tolerances: Tolerances | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """One row per structure that either label map has, mm and cc.

    match: "number", "name", or "auto": by name if both name all their labels and share a name, else by number.
    nsd_tolerance_mm: by default that of the organ in ``tolerances``, else the largest voxel dimension.
    trim_to_common: leave out slices (last axis) that only one of the two reaches.
    resample: carry a prediction on another grid onto the reference's, through its signed distance, instead of refusing it.

    Raises GeometryError `grid.mismatch`, UsageError `metric.unknown` or `evaluate.tolerance`.
    """
    theirs = of_labels(prediction)
    same = reference.geometry.matches(prediction.geometry)
    if not same and resample:
        theirs = brought_onto(theirs, prediction.geometry, reference.geometry)
    elif not same:
        check_grids(reference.geometry, prediction.geometry)
    settings = _Settings(metrics, nsd_tolerance_mm, match, trim_to_common, False, tolerances, progress)
    found = _evaluate(of_labels(reference), theirs, reference.geometry, settings, ())
    return found if same else replace(found, facts={**found.facts, "resampled": True})


def evaluate_structures(
    reference: StructureSet | LabelMap,
    prediction: StructureSet | LabelMap,
    geometry: Geometry | None = None,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    nsd_tolerance_mm: float | None = None,
    match: Match = "auto",
    trim_to_common: bool = False,
    tolerances: Tolerances | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """One row per structure, as `evaluate_labels`; structure sets are rasterised ROI by ROI, so ROIs may overlap.

    geometry: the grid to rasterise on; the label map's own if one of the two is a label map.

    Raises as `evaluate_labels`; UsageError `evaluate.grid` if no grid is given or known; GeometryError `rs.other_space` for two
    structure sets in different frames of reference.
    """
    for labels in (reference, prediction):
        if isinstance(labels, LabelMap):
            geometry = geometry or labels.geometry
            check_grids(geometry, labels.geometry)
    if geometry is None:
        raise UsageError(
            "two structure sets have no grid to compare them on",
            code="evaluate.grid",
            hint="name the image that the structures were drawn on: --reference IMAGE",
        )
    _check_frames(reference, prediction)
    return _evaluate(
        structures_of(reference, geometry),
        structures_of(prediction, geometry),
        geometry,
        _Settings(metrics, nsd_tolerance_mm, match, trim_to_common, isinstance(prediction, StructureSet), tolerances, progress),
        tuple(notice for part in (reference, prediction) if isinstance(part, StructureSet) for notice in part.notices),
    )


def check_grids(reference: Geometry, prediction: Geometry) -> None:
    """Raise GeometryError `grid.mismatch` unless both grids are the same."""
    if reference.matches(prediction):
        return
    if reference.shape != prediction.shape:
        found = f"{'×'.join(map(str, reference.shape))} and {'×'.join(map(str, prediction.shape))} voxels"
    else:
        apart = float(np.abs(reference.corners_mm - prediction.corners_mm).max())
        found = f"the same number of voxels, {apart:.3g} mm apart"
    raise GeometryError(
        f"reference and prediction lie on different grids: {found}",
        code="grid.mismatch",
        hint="--resample brings the prediction onto the grid of the reference",
    )


def _check_frames(reference: StructureSet | LabelMap, prediction: StructureSet | LabelMap) -> None:
    frames = [part.frame_of_reference_uid for part in (reference, prediction) if isinstance(part, StructureSet)]
    if len(frames) == 2 and None not in frames and frames[0] != frames[1]:
        raise GeometryError(
            "the two structure sets belong to different frames of reference",
            code="rs.other_space",
            hint="carry one of them over first: jrs propagate-contours, or jrs warp with a registration",
        )


@dataclass(frozen=True)
class _Settings:
    metrics: Sequence[str]
    nsd_tolerance_mm: float | None
    match: Match
    trim: bool
    overlaps: bool
    tolerances: Tolerances | None
    progress: Progress


def _evaluate(
    reference: list[Structure],
    prediction: list[Structure],
    geometry: Geometry,
    settings: _Settings,
    notices: tuple[Notice, ...],
) -> Evaluation:
    check_metrics(settings.metrics)
    given = settings.nsd_tolerance_mm
    tolerance = max(geometry.spacing_mm) if given is None else float(given)
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise UsageError(
            f"{tolerance:g} mm is no tolerance",
            code="evaluate.tolerance",
            hint="give a length of 0 mm or more: --nsd-tolerance 2",
        )
    pairs = pairs_of(reference, prediction, settings.match)
    rows = []
    body = next((one for one in prediction if is_body(one.name, one.kind)), None)
    checks = Checks(body, overlaps=settings.overlaps)
    for done, (one, other) in enumerate(pairs):
        settings.progress("evaluate", done, len(pairs))
        known = one or other
        if known is None or not (known.drawn or (one and other)):
            continue  # a name in one label table alone, without a voxel anywhere, is no structure
        pair = _pair(one, other, geometry)
        if settings.trim:
            pair = pair.trimmed()
        organ = settings.tolerances.organ(known.name) if settings.tolerances and given is None else None
        near = organ.nsd_mm if organ and organ.nsd_mm is not None else tolerance
        values, flags = compare(pair, settings.metrics, near)
        flags = (*flags, *checks.flags(known.name, known.kind, pair))
        details = {"worst_slices": worst_slices(pair), "slices": by_slice(pair)}
        rows.append(Row(known.name, values, one.number if one else None, other.number if other else None, flags, "", details))
    settings.progress("evaluate", len(pairs), len(pairs))
    rows = checks.finished(rows)
    differ = sum(bool(one and other and one.named and other.named and one.name != other.name) for one, other in pairs)
    if differ:
        told = f"{differ} of {len(pairs)} structures are matched by number although their names differ"
        notices = (*notices, Notice("evaluate.names_differ", told))
    facts: dict[str, object] = {"spacing_mm": list(geometry.spacing_mm), "shape": list(geometry.shape), "resampled": False}
    if settings.trim:
        facts["trimmed_to_common_slices"] = True
    if "nsd" in settings.metrics:
        facts["nsd_tolerance_mm"] = tolerance
    return Evaluation("labels", tuple(rows), facts, notices)


def _pair(one: Structure | None, other: Structure | None, geometry: Geometry) -> Pair:
    """Both masks in the box that holds them."""
    box = joined_box(one.box if one else None, other.box if other else None, geometry.shape)
    size = [part.stop - part.start for part in box]
    reference, test = (part.mask(box) if part and part.box is not None else np.zeros(size, np.bool_) for part in (one, other))
    i, j, k = (part.start for part in box)
    return Pair(reference, test, box_geometry(geometry, box), (i, j, k), geometry.shape)
