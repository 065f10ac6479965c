"""Contours -> masks: a pixel is inside if its centre is, by the even-odd rule."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.planes import Placed, place_contours
from jrscli.spatial.structures import Roi, StructureSet

SMALL_VOXELS = 100
SMALL_PLANES = 3


def slice_axis(geometry: Geometry) -> int:
    """The array axis that counts slices: the last."""
    return 2


def rasterize(roi: Roi, geometry: Geometry) -> Bool[np.ndarray, "i j k"]:
    """Where the ROI is: voxels whose centre lies inside its closed contours; contours of one plane combine by XOR.

    A centre on an edge counts by the half-open rule, so two structures with a common border share no voxel and leave none out.
    Points and open contours give no mask. What was left out or snapped is told by `planes.contour_notices`.
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
    for k, polygons in placed.planes.items():
        slices[:, :, k] = fill_polygons(polygons, (slices.shape[0], slices.shape[1]))
    return mask


def fill_polygons(polygons: list[Float[np.ndarray, "n 2"]], shape: tuple[int, int]) -> Bool[np.ndarray, "u v"]:
    """Where an odd number of edges lies at or before the pixel centre on its line; vertices in continuous pixel indices."""
    width, height = shape
    lines, crossings = _crossings(polygons)
    inside = (lines >= 0) & (lines < height)
    # an edge through the centre (within rounding) belongs to the pixel on its right
    first = np.clip(np.ceil(crossings[inside] - 1e-7), 0, width).astype(np.int64)
    # pixels before the first crossing need no work, nor lines without one
    toggles = np.bincount(lines[inside] * (width + 1) + first, minlength=height * (width + 1))
    odd = (toggles.reshape(height, width + 1)[:, :width] & 1).astype(bool)
    return np.logical_xor.accumulate(odd, axis=1).T


def coverage(roi: Roi, geometry: Geometry, factor: int = 8) -> Float32[np.ndarray, "i j k"]:
    """The share of each voxel's cross-section inside the contours, 0 … 1, from ``factor``² points per pixel.

    For structures so small (`is_small`) that whole voxels say little: at 0.5 it is their mask, its sum their volume.
    """
    placed = place_contours(roi, geometry)
    share = np.zeros(geometry.shape, np.float32, order="F")
    slices = np.moveaxis(share, placed.slice_axis, 2)
    for k, polygons in placed.planes.items():
        vertices = np.concatenate(polygons)
        low = np.clip(np.floor(vertices.min(axis=0) + 0.5), 0, np.array(slices.shape[:2]) - 1).astype(int)
        high = np.clip(np.floor(vertices.max(axis=0) + 0.5), 0, np.array(slices.shape[:2]) - 1).astype(int) + 1
        size = high - low
        # fine pixel f of coarse pixel p has its centre at p − ½ + (f + ½) / factor
        fine = [(polygon - low + 0.5) * factor - 0.5 for polygon in polygons]
        inside = fill_polygons(fine, (int(size[0] * factor), int(size[1] * factor)))
        blocks = inside.reshape(size[0], factor, size[1], factor)
        slices[low[0] : high[0], low[1] : high[1], k] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return share


def is_small(mask: Bool[np.ndarray, "i j k"]) -> bool:
    """Whether a structure has under 100 voxels or under 3 slices."""
    return int(mask.sum()) < SMALL_VOXELS or int(mask.any(axis=(0, 1)).sum()) < SMALL_PLANES


def contour_volume_mm3(roi: Roi, geometry: Geometry, lines_per_pixel: int = 8) -> float:
    """Σ area · slice distance of the closed contours, mm³: what a planning system reports, free of the voxel size.

    Areas combine by XOR on a plane; parts beyond the image are counted.
    """
    placed = place_contours(roi, geometry)
    area = 0.0
    for polygons in placed.planes.values():
        # between two crossings of one line the plane is inside, then outside, and so on
        fine = [polygon * (1, lines_per_pixel) + (0, 0.5) for polygon in polygons]
        lines, crossings = _crossings(fine)
        ordered = crossings[np.lexsort((crossings, lines))]
        area += float((ordered[1::2] - ordered[::2]).sum()) / lines_per_pixel
    return area * geometry.voxel_volume_mm3


def _crossings(polygons: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Lines (whole second coordinates) that the edges cross, and where (first coordinate).

    An edge owns its lower end and not its upper one, and is always walked upwards: an edge that two polygons share, or that a
    keyhole walks twice, crosses at the very same number and cancels.
    """
    starts = np.concatenate(polygons)
    ends = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    upward = (starts[:, 1] <= ends[:, 1])[:, None]
    low, high = np.where(upward, starts, ends), np.where(upward, ends, starts)
    first = np.ceil(low[:, 1]).astype(np.int64)
    count = np.ceil(high[:, 1]).astype(np.int64) - first
    edge = np.repeat(np.arange(len(low)), count)
    line = np.repeat(first, count) + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    rise = high[edge, 1] - low[edge, 1]
    crossing = low[edge, 0] + (line - low[edge, 1]) * ((high[edge, 0] - low[edge, 0]) / rise)
    return line, crossing
