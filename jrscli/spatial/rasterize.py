"""Contours -> masks: a pixel is inside if its centre is, by the even-odd rule."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.planes import Placed, place_contours
from jrscli.spatial.polygons import area_of, cover_polygons, fill_into, pixel_box
from jrscli.spatial.stacks import draw_stacks, stack_volume_mm3
from jrscli.spatial.structures import Roi, StructureSet

SMALL_VOXELS = 100
SMALL_SHARE = 0.05
"""Centres may miss the drawn volume of a small structure by this share before the pixels' coverage is asked."""
TIE = 0.02
"""A pixel of a small structure that is covered by half, within this, goes by its centre."""


def rasterize(roi: Roi, geometry: Geometry) -> Bool[np.ndarray, "i j k"]:
    """Where the ROI is: voxels whose centre lies inside its closed contours; contours of one plane combine by XOR.

    A centre on an edge counts by the half-open rule, so two structures with a common border share no voxel and leave none out.
    Where the centres miss the drawn volume of a structure of under 100 voxels by more than 5 %, it has the voxels of which
    more than half is inside, if they come nearer. Contours across the slices are drawn in space, between their own planes.
    Points and open contours give no mask. What was left out or snapped is told by `contour_notices`.
    """
    return fill(place_contours(roi, geometry), geometry)


def rasterize_all(structures: StructureSet, geometry: Geometry) -> dict[int, Bool[np.ndarray, "i j k"]]:
    """The mask of each ROI by its number."""
    return {roi.number: rasterize(roi, geometry) for roi in structures.rois}


def fill(placed: Placed, geometry: Geometry) -> Bool[np.ndarray, "i j k"]:
    """The mask of contours that `place_contours` has put on the slices of ``geometry``."""
    # the first axis runs fastest, as in a file: one slice is one piece of memory
    mask = np.zeros(geometry.shape, dtype=bool, order="F")
    slices = np.moveaxis(mask, placed.slice_axis, 2)
    voxels = 0
    for k, polygons in placed.planes.items():
        low, high = pixel_box(polygons, (slices.shape[0], slices.shape[1]))
        fill_into(slices[:, :, k], polygons)
        voxels += int(np.count_nonzero(slices[low[0] : high[0], low[1] : high[1], k]))
    if placed.planes and voxels < SMALL_VOXELS:
        _fill_small(placed, slices, voxels)
    if placed.stacks:
        mask |= draw_stacks(placed.stacks, geometry)
    return mask


def coverage(roi: Roi, geometry: Geometry) -> Float32[np.ndarray, "i j k"]:
    """The share of each voxel's cross-section inside the contours, 0 … 1, from 8 lines per pixel.

    For structures so small that whole voxels say little: its sum is their volume. Contours across the slices count by whole
    voxels.
    """
    placed = place_contours(roi, geometry)
    found = np.zeros(geometry.shape, np.float32, order="F")
    for part, share in _covered(placed, np.moveaxis(found, placed.slice_axis, 2)):
        part[...] = share
    return np.maximum(found, draw_stacks(placed.stacks, geometry)) if placed.stacks else found


def contour_volume_mm3(roi: Roi, geometry: Geometry) -> float:
    """Σ area · slice distance of the closed contours, mm³: what a planning system reports, free of the voxel size.

    Areas combine by XOR on a plane; parts beyond the image are counted. Contours across the slices count with the distance
    of their own planes.
    """
    placed = place_contours(roi, geometry)
    pixels = sum(area_of(polygons) for polygons in placed.planes.values())
    return pixels * geometry.voxel_volume_mm3 + stack_volume_mm3(placed.stacks)


def _fill_small(placed: Placed, slices: np.ndarray, voxels: int) -> None:
    """Take the voxels of which more than half is inside, where centres miss the volume and those come nearer to it."""
    parts = list(_covered(placed, slices))
    drawn = float(sum(share.sum() for _, share in parts))
    if abs(voxels - drawn) <= SMALL_SHARE * drawn:
        return
    halves = [(share > 0.5 + TIE) | ((share >= 0.5 - TIE) & part) for part, share in parts]
    if abs(sum(int(np.count_nonzero(half)) for half in halves) - drawn) < abs(voxels - drawn):
        for (part, _), half in zip(parts, halves, strict=True):
            part[...] = half


def _covered(placed: Placed, slices: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each slice the polygons' box in ``slices`` (a view) and the share of each pixel there that is inside."""
    shape = (slices.shape[0], slices.shape[1])
    for k, polygons in placed.planes.items():
        low, high = pixel_box(polygons, shape)
        if (high > low).all():
            part = slices[low[0] : high[0], low[1] : high[1], k]
            yield part, cover_polygons([polygon - low for polygon in polygons], (part.shape[0], part.shape[1]))
