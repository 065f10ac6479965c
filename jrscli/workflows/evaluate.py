"""Evaluate: how well two sets of structures agree, what landmarks say, what a field does. Pure: no files, no printing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from jrscli.errors import GeometryError, Notice, UsageError
from jrscli.metrics import deformation, landmarks
from jrscli.metrics.compare import DEFAULT_METRICS, check_metrics, compare
from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.value import Value
from jrscli.progress import Progress, silent
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.pairing import Mask, Match, Structure, brought_onto, of_labels, pairs_of, structures_of


def evaluate_labels(
    reference: LabelMap,
    prediction: LabelMap,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    nsd_tolerance_mm: float | None = None,
    match: Match = "auto",
    resample: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """One row per structure that either label map has, mm and cc.

    match: "number", "name", or "auto": by name if both name all their labels and share a name, else by number.
    nsd_tolerance_mm: by default the largest voxel dimension.
    resample: carry a prediction on another grid onto the reference's, through its signed distance, instead of refusing it.

    Raises GeometryError `grid.mismatch`, UsageError `metric.unknown` or `evaluate.tolerance`.
    """
    theirs = of_labels(prediction)
    same = reference.geometry.matches(prediction.geometry)
    if not same and resample:
        theirs = brought_onto(theirs, prediction.geometry, reference.geometry)
    elif not same:
        check_grids(reference.geometry, prediction.geometry)
    found = _evaluate(of_labels(reference), theirs, reference.geometry, metrics, nsd_tolerance_mm, match, (), progress)
    return found if same else replace(found, facts={**found.facts, "resampled": True})


def evaluate_structures(
    reference: StructureSet | LabelMap,
    prediction: StructureSet | LabelMap,
    geometry: Geometry | None = None,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    nsd_tolerance_mm: float | None = None,
    match: Match = "auto",
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
        metrics,
        nsd_tolerance_mm,
        match,
        tuple(notice for part in (reference, prediction) if isinstance(part, StructureSet) for notice in part.notices),
        progress,
    )


def evaluate_points(
    fixed_mm: Float[np.ndarray, "n 3"],
    moving_mm: Float[np.ndarray, "n 3"],
    transform: Transform | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Evaluation:
    """One row per pair of landmarks with its error in mm before and, given a transform (fixed to moving, pull), after.

    facts: the ``tre.v1`` values over all landmarks.

    Raises InputError `points.pairs`.
    """
    errors = landmarks.landmark_errors(fixed_mm, moving_mm, transform)
    labels = [str(name) for name in names] if names else [str(n + 1) for n in range(len(errors.before_mm))]
    rows = []
    for name, before, after, outside in zip(labels, errors.before_mm, errors.after_mm, errors.outside, strict=True):
        values = {"tre_before.v1": Value("tre_before.v1", float(before), "mm")}
        if transform is not None:
            values["tre.v1"] = Value("tre.v1", float(after), "mm")
        rows.append(Row(name, values, flags=("outside",) if outside else ()))
    facts = {value.id: value.as_json() for value in landmarks.tre(errors)} if transform is not None else {}
    return Evaluation("points", tuple(rows), facts)


def evaluate_field(
    field: DisplacementField | Transform,
    geometry: Geometry | None = None,
    *,
    masks: Mapping[str, Mask] | None = None,
    inverse: Transform | None = None,
    moving: Geometry | None = None,
    stride: int = 1,
    progress: Progress = silent,
) -> Evaluation:
    """Jacobian, folding and smoothness for the whole grid and for each mask; with the inverse its consistency as well.

    geometry: the grid to look at; needed for a Transform, by default the field's own.
    inverse, moving: the map back (moving mm -> fixed mm), and the grid that points must land in (by default ``geometry``).
    stride: inverse consistency is taken at every n-th voxel along each axis.

    Raises UsageError `evaluate.grid`, GeometryError `grid.mismatch`.
    """
    chain = Transform((field,)) if isinstance(field, DisplacementField) else field
    if isinstance(field, DisplacementField) and geometry is None:
        geometry, dense = field.geometry, field
    elif geometry is None:
        raise UsageError(
            "a transform has no grid of its own", code="evaluate.grid", hint="name the fixed image: --reference IMAGE"
        )
    else:
        dense = chain.displacement(geometry)
    progress("jacobian", 0, 1)
    jacobian = dense.jacobian()
    regions: dict[str, Mask | None] = {"whole image": None, **(masks or {})}
    rows = []
    for done, (name, mask) in enumerate(regions.items()):
        progress("field", done, len(regions))
        values = [
            *deformation.jacobian_values(jacobian, mask),
            *deformation.neg_jac(jacobian, mask),
            deformation.sdlogj(jacobian, mask),
            deformation.ndv(dense, mask),
        ]
        if inverse is not None:
            values += deformation.inverse_consistency(chain, inverse, geometry, moving or geometry, mask, stride=stride)
        rows.append(Row(name, {value.id: value for value in values}))
    progress("field", len(regions), len(regions))
    facts: dict[str, object] = {"spacing_mm": list(geometry.spacing_mm), "direction": deformation.DIRECTION}
    if inverse is not None:
        facts["stride"] = stride
    return Evaluation("field", tuple(rows), facts)


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
        hint="bring the prediction onto the grid of the reference first",
    )


def _check_frames(reference: StructureSet | LabelMap, prediction: StructureSet | LabelMap) -> None:
    frames = [part.frame_of_reference_uid for part in (reference, prediction) if isinstance(part, StructureSet)]
    if len(frames) == 2 and None not in frames and frames[0] != frames[1]:
        raise GeometryError(
            "the two structure sets belong to different frames of reference",
            code="rs.other_space",
            hint="carry one of them over first: jrs propagate-contours, or jrs warp with a registration",
        )


def _evaluate(
    reference: list[Structure],
    prediction: list[Structure],
    geometry: Geometry,
    metrics: Sequence[str],
    nsd_tolerance_mm: float | None,
    match: Match,
    notices: tuple[Notice, ...],
    progress: Progress,
) -> Evaluation:
    check_metrics(metrics)
    tolerance = max(geometry.spacing_mm) if nsd_tolerance_mm is None else float(nsd_tolerance_mm)
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise UsageError(
            f"{tolerance:g} mm is no tolerance",
            code="evaluate.tolerance",
            hint="give a length of 0 mm or more: --nsd-tolerance 2",
        )
    pairs = pairs_of(reference, prediction, match)
    rows = []
    for done, (one, other) in enumerate(pairs):
        progress("evaluate", done, len(pairs))
        masks = [part.mask() if part else None for part in (one, other)]
        known = one or other
        if known is None or not (known.drawn or (one and other)):
            continue  # a name in one label table alone, without a voxel anywhere, is no structure
        values, flags = compare(_filled(masks[0], geometry), _filled(masks[1], geometry), geometry, metrics, tolerance)
        rows.append(Row(known.name, values, one.number if one else None, other.number if other else None, flags))
    progress("evaluate", len(pairs), len(pairs))
    differ = sum(bool(one and other and one.named and other.named and one.name != other.name) for one, other in pairs)
    if differ:
        told = f"{differ} of {len(pairs)} structures are matched by number although their names differ"
        notices = (*notices, Notice("evaluate.names_differ", told))
    facts: dict[str, object] = {"spacing_mm": list(geometry.spacing_mm), "shape": list(geometry.shape), "resampled": False}
    if "nsd" in metrics:
        facts["nsd_tolerance_mm"] = tolerance
    return Evaluation("labels", tuple(rows), facts, notices)


def _filled(mask: Mask | None, geometry: Geometry) -> Mask:
    return np.zeros(geometry.shape, np.bool_) if mask is None else mask
