"""One contour from two estimates, the carried one and the model's: between both, as near to the model's as its card says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jrscli.errors import Notice
from jrscli.metrics.pair import Box, box_geometry, joined_box
from jrscli.progress import Progress, silent
from jrscli.spatial.contouring import Holes, trace
from jrscli.spatial.distance import signed_distance
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.resample import resample
from jrscli.spatial.structures import Roi, StructureSet
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.carry import FAR_MM, with_finer_pixels
from jrscli.workflows.contours import traced_notices
from jrscli.workflows.label_levels import labels_from_levels
from jrscli.workflows.pairing import Structure, of_labels, structures_of
from jrscli.workflows.propagate import Propagation
from jrscli.workflows.second_estimate import Estimates, SecondEstimate, renumbered
from jrscli.workflows.segment_by_model import ModelSegmentation

EQUAL = 0.5
"""The share of the model's contour where its card says nothing: midway between both."""
LEAST_DICE = 0.5
"""Two estimates of which less is common are not two views of one contour: what lies between them is none."""
MARGIN = 2


@dataclass(frozen=True, eq=False)
class Fusion:
    """The carried structures, those of which there are two estimates fused; labels too where labels were carried.

    shares: of each fused structure, by number, how much of it is the model's: 0 (the carried contour) … 1 (the model's).
    volumes_cc: of each fused structure. notices: why others were left as they were carried (`rs.unfused`).
    """

    structures: StructureSet
    labels: LabelMap | None
    shares: Mapping[int, float]
    volumes_cc: Mapping[int, float]
    notices: tuple[Notice, ...]


def fuse(
    carried: Propagation,
    found: ModelSegmentation,
    second: SecondEstimate,
    shares: Mapping[str, float],
    *,
    holes: Holes = "keyhole",
    simplify_mm: float = 0.0,
    progress: Progress = silent,
) -> Fusion:
    """Each structure of which there are two estimates, where ``(1 − w) d_carried + w d_model`` is positive.

    d: the signed distance (mm, positive inside) of an estimate; so the fused contour lies within what both hold together and
    holds what both share. shares: w by the names of the model's labels, 0 … 1; `EQUAL` where a name is missing.
    A structure stays as it was carried where the model found nothing, where the two hardly agree (Dice below `LEAST_DICE`),
    where the model sees the organ of the other side in its place, or where w is 0. What the model alone knows is not mixed in.
    """
    grid = found.labels.geometry
    theirs = {one.number: one for one in of_labels(renumbered(found.labels, {b: a for a, b in second.labels.items()}))}
    ours = {one.number: one for one in structures_of(_source(carried), grid)}
    organs = {one.number: one for one in second.organs if one.number is not None}
    used: dict[int, float] = {}
    volumes: dict[int, float] = {}
    notices: list[Notice] = []
    levels: dict[int, Volume] = dict(carried.levels)
    rois: list[Roi] = []
    for done, roi in enumerate(carried.structures.rois):
        progress("fuse", done, len(carried.structures.rois))
        share = shares.get(found.labels.name(second.labels[roi.number]), EQUAL) if roi.number in second.labels else 0.0
        if not share or roi.number not in ours:
            rois.append(roi)
            continue
        one, other = ours[roi.number], theirs.get(roi.number)
        reason = _apart(organs[roi.number], one, other)
        if reason or other is None:
            notices.append(Notice("rs.unfused", f"ROI {roi.number}: the carried contour stays alone: {reason}"))
            rois.append(roi)
            continue
        level = _fused(one, other, share, grid, carried.levels.get(roi.number), None if carried.labels is not None else roi)
        traced = trace(level.array, level.geometry, 0.0, holes=holes, simplify_mm=simplify_mm)
        notices += traced_notices(roi.number, traced, level.geometry, level.array > 0 if simplify_mm else None)
        opened = tuple(contour for contour in roi.contours if not contour.is_closed)
        rois.append(replace(roi, contours=(*traced.contours, *opened)))
        used[roi.number] = share
        volumes[roi.number] = round(float(np.count_nonzero(level.array > 0)) * level.geometry.voxel_volume_mm3 / 1000, 4)
        if carried.labels is not None:
            levels[roi.number] = level
    progress("fuse", len(carried.structures.rois), len(carried.structures.rois))
    labels = None
    if carried.labels is not None:
        outline = next((one.number for one in carried.results if one.how == "found"), None)
        filler: Any = None if outline is None else (outline, carried.labels.array > 0)
        labels = labels_from_levels(levels, grid, carried.labels.names, filler)
    structures = replace(carried.structures, rois=tuple(rois), notices=tuple(notices))
    return Fusion(structures, labels, used, volumes, tuple(notices))


def _source(carried: Propagation) -> StructureSet | LabelMap:
    return carried.structures if carried.labels is None else carried.labels


def _apart(organ: Estimates, one: Structure, other: Structure | None) -> str:
    """Why two estimates cannot be brought together; "" where they can."""
    if organ.exchanged:
        return "the model sees the organ of the other side there"
    if one.box is None:
        return "nothing of it was carried"
    if other is None or other.box is None:
        return "the model found nothing of it"
    dice = organ.value("dice.v1") or 0.0
    return f"the model's lies too far from it (Dice {dice:.2f})" if dice < LEAST_DICE else ""


def _fused(one: Structure, other: Structure, share: float, grid: Geometry, level: Volume | None, roi: Roi | None) -> Volume:
    """The mean of both signed distances, weighted, on a box of the grid; for an ROI on finer pixels, if it is small.

    level: what was carried, mm, on a box of the same voxels.
    """
    box = joined_box(one.box, other.box, grid.shape)
    i, j, k = (slice(part.start - MARGIN, part.stop + MARGIN) for part in box)
    wide = (i, j, k)
    coarse = box_geometry(grid, wide)
    theirs = Volume(signed_distance(_padded(other, box), coarse), coarse)
    if roi is not None:
        fine = with_finer_pixels(coarse, np.array([part.stop - part.start for part in box]))
        ours = signed_distance(rasterize(roi, fine), fine)
        same = fine.shape == coarse.shape
        return Volume((1 - share) * ours + share * (theirs if same else resample(theirs, fine, outside=-FAR_MM)).array, fine)
    ours = signed_distance(_padded(one, box), coarse)
    if level is not None:  # what was carried is finer than its voxels
        first = np.rint(grid.world_to_index(level.geometry.origin_mm[None])[0]).astype(int)
        lows = [max(part.start, int(n)) for part, n in zip(wide, first, strict=True)]
        highs = [min(part.stop, int(n) + size) for part, n, size in zip(wide, first, level.geometry.shape, strict=True)]
        here = tuple(slice(a - part.start, b - part.start) for a, b, part in zip(lows, highs, wide, strict=True))
        there = tuple(slice(a - int(n), b - int(n)) for a, b, n in zip(lows, highs, first, strict=True))
        known = level.array[there]
        ours[here] = np.where(known > -FAR_MM / 2, known, ours[here])  # beyond the planning image nothing is known
    return _within(Volume((1 - share) * ours + share * theirs.array, coarse), wide, grid)


def _padded(structure: Structure, box: Box) -> np.ndarray:
    return np.pad(structure.mask(box), MARGIN)


def _within(level: Volume, box: Box, grid: Geometry) -> Volume:
    """The part of a level that lies in the grid."""
    i, j, k = (
        slice(max(0, -part.start), part.stop - part.start - max(0, part.stop - n))
        for part, n in zip(box, grid.shape, strict=True)
    )
    inside = (i, j, k)
    return Volume(np.ascontiguousarray(level.array[inside]), box_geometry(level.geometry, inside))
