"""Which slice of a grid each contour lies on, and which contours lie on none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.stacks import GAP, Stack, stacks_of
from jrscli.spatial.structures import Contour, Roi

OBLIQUE_DEG = 1.0
SAME_PLANE = 0.1
"""Contours closer than this share of the slice distance were drawn on one plane, and combine by XOR."""
ROUNDING = 0.01
"""A contour round the outermost pixels may pass their edge by this share of a pixel: its text has three decimals."""
DEGENERATE_PIXELS = 0.1
"""A contour whose bounding rectangle is below this many pixels is a slip of the mouse."""


@dataclass(frozen=True, eq=False)
class Placed:
    """The closed contours of one ROI on the slices of a grid, in continuous pixel indices.

    slice_axis: the array axis whose planes hold the contours (2 unless the grid's slices lie differently).
    planes: slice index -> polygons, each (n, 2) along the two remaining array axes in rising order.
    stacks: contours that lie across the slices. oblique, degenerate, outside, clipped, between: numbers of contours.
    offset_mm: how far a contour was moved onto its slice, at most.
    """

    number: int
    slice_axis: int
    planes: dict[int, list[Float[np.ndarray, "n 2"]]]
    stacks: tuple[Stack, ...]
    degenerate: int
    oblique: int
    outside: int
    clipped: int
    between: int
    offset_mm: float

    @property
    def missing_planes(self) -> int:
        """Slices without a contour between the first and the last one that has."""
        own = max(self.planes) - min(self.planes) + 1 - len(self.planes) if self.planes else 0
        return own + sum(stack.missing_planes for stack in self.stacks)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to draw."""
        return not self.planes and not self.stacks


def place_contours(roi: Roi, geometry: Geometry) -> Placed:
    """Each closed contour of ``roi`` on its nearest slice of ``geometry``; points and open contours are passed over.

    Where contours of several planes fall on one slice (a structure set finer than the image), the nearest plane is taken.
    """
    axis = contour_axis(roi.closed, geometry)
    in_plane = [a for a in range(3) if a != axis]
    shape, spacing = np.array(geometry.shape), np.array(geometry.spacing_mm)
    limit = shape - 0.5
    degenerate = outside = clipped = 0
    found: dict[int, list[tuple[float, np.ndarray]]] = {}
    across: list[Contour] = []
    for contour in roi.closed:
        # rounded so that a vertex on a pixel centre is on it whatever the arithmetic did in its last digits
        index = np.round(geometry.world_to_index(contour.points), 7)
        oblique = _is_oblique(index * spacing, axis)
        if _has_no_area(contour.points / spacing.min() if oblique else index[:, in_plane]):
            degenerate += 1
            continue
        depth = float(index[:, axis].mean())
        low, high = index.min(axis=0), index.max(axis=0)
        if not oblique:
            low[axis] = high[axis] = depth
        if (high < -0.5).any() or (low > limit).any():
            outside += 1
            continue
        clipped += bool((low < -0.5 - ROUNDING).any() or (high > limit + ROUNDING).any())
        if oblique:
            across.append(contour)
            continue
        nearest = min(int(np.floor(depth + 0.5)), int(shape[axis]) - 1)
        found.setdefault(nearest, []).append((depth - nearest, index[:, in_plane]))
    planes: dict[int, list[np.ndarray]] = {}
    between, offset = 0, 0.0
    for k in sorted(found):
        kept = _nearest_plane(found[k])
        between += len(found[k]) - len(kept)
        offset = max(offset, max(abs(off) for off, _ in kept))
        planes[k] = [polygon for _, polygon in kept]
    return Placed(
        number=roi.number,
        slice_axis=axis,
        planes=planes,
        stacks=stacks_of(across, geometry),
        degenerate=degenerate,
        oblique=len(across),
        outside=outside,
        clipped=clipped,
        between=between,
        offset_mm=offset * float(spacing[axis]),
    )


def nearest_slices(contour: Contour, geometry: Geometry) -> Int[np.ndarray, "n"]:
    """The slice (index along array axis 2) nearest to each point, clipped to the grid."""
    depth = geometry.world_to_index(contour.points)[:, 2]
    return np.clip(np.floor(depth + 0.5), 0, geometry.shape[2] - 1).astype(int)


def contour_axis(contours: tuple[Contour, ...], geometry: Geometry) -> int:
    """The array axis whose planes hold the contours: 2, or the one on which most of them agree and lie plane by plane.

    Contours drawn on sagittal slices of another image are flat along an axis too, but further apart than the voxels are.
    """
    votes = np.zeros(3)
    spacing = np.array(geometry.spacing_mm)
    depths: list[list[float]] = [[], [], []]
    for contour in contours:
        index = geometry.world_to_index(contour.points)
        for axis in (2, 0, 1):
            if not _is_oblique(index * spacing, axis):
                votes[axis] += 1
                depths[axis].append(float(index[:, axis].mean()))
                break
    best = 2 if votes[2] >= votes.max() else int(np.argmax(votes))
    steps = np.diff(np.unique(np.round(depths[best], 2)))
    return 2 if best != 2 and len(steps) and float(np.median(steps)) > GAP else best


def _is_oblique(points_mm: np.ndarray, axis: int) -> bool:
    """Whether a contour leaves the planes of ``axis`` by more than a degree (0.02 mm are rounding of its text)."""
    extent = np.ptp(points_mm, axis=0)
    across = float(np.linalg.norm(np.delete(extent, axis)))
    return bool(extent[axis] > max(0.02, np.sin(np.radians(OBLIQUE_DEG)) * across))


def _has_no_area(points: np.ndarray) -> bool:
    """Whether points (pixels, in a plane or in space) bound next to nothing."""
    if len(points) < 3:
        return True
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    extent = np.sort(np.ptp(points, axis=0))[-2:]
    return bool(spread[1] < 1e-3 or extent[0] * extent[1] < DEGENERATE_PIXELS)


def _nearest_plane(found: list[tuple[float, np.ndarray]]) -> list[tuple[float, np.ndarray]]:
    best = min((off for off, _ in found), key=abs)
    return [(off, polygon) for off, polygon in found if abs(off - best) <= SAME_PLANE]
