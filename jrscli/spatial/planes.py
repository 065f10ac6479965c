"""Which slice of a grid each contour lies on, and what is odd about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from jrscli.errors import Notice
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import Contour, Roi

OBLIQUE_DEG = 1.0
SAME_PLANE = 0.1
"""Contours closer than this share of the slice distance were drawn on one plane, and combine by XOR."""
DEGENERATE_PIXELS = 0.1
"""A contour whose bounding rectangle is below this many pixels is a slip of the mouse."""
OFFPLANE_MM = 0.05


@dataclass(frozen=True, eq=False)
class Placed:
    """The closed contours of one ROI on the slices of a grid, in continuous pixel indices.

    slice_axis: the array axis whose planes hold the contours (2 unless the grid's slices lie differently).
    planes: slice index -> polygons, each (n, 2) along the two remaining array axes in rising order.
    """

    number: int
    slice_axis: int
    planes: dict[int, list[Float[np.ndarray, "n 2"]]]
    degenerate: int
    oblique: int
    outside: int
    clipped: int
    between: int
    offset_mm: float

    @property
    def missing_planes(self) -> int:
        """Slices without a contour between the first and the last one that has."""
        return max(self.planes) - min(self.planes) + 1 - len(self.planes) if self.planes else 0

    def notices(self) -> tuple[Notice, ...]:
        """What was left out, snapped or clipped, with counts; ROIs are named by number (names can be personal)."""
        roi = f"ROI {self.number}"
        said = [
            (self.degenerate, "rs.degenerate", f"{roi}: {self.degenerate} contour(s) without an area dropped"),
            (self.oblique, "rs.oblique", f"{roi}: {self.oblique} contour(s) lie across the slices and were left out"),
            (self.outside, "rs.outside", f"{roi}: {self.outside} contour(s) lie outside the image"),
            (self.clipped, "rs.clipped", f"{roi}: {self.clipped} contour(s) clipped at the border of the image"),
            (self.between, "rs.planes", f"{roi}: {self.between} contour(s) between slices left out; a nearer plane was used"),
            (self.missing_planes, "rs.gap", f"{roi}: {self.missing_planes} slice(s) inside the structure hold no contour"),
            (
                self.offset_mm > OFFPLANE_MM,
                "rs.offplane",
                f"{roi}: contours up to {self.offset_mm:.2f} mm off their slice, snapped",
            ),
        ]
        return tuple(Notice(code, words) for count, code, words in said if count)


def place_contours(roi: Roi, geometry: Geometry) -> Placed:
    """Each closed contour of ``roi`` on its nearest slice of ``geometry``; points and open contours are passed over.

    Where contours of several planes fall on one slice (a structure set finer than the image), the nearest plane is taken.
    """
    contours = roi.closed
    axis = contour_axis(contours, geometry)
    in_plane = [a for a in range(3) if a != axis]
    shape, spacing = np.array(geometry.shape), np.array(geometry.spacing_mm)
    degenerate = oblique = outside = clipped = 0
    found: dict[int, list[tuple[float, np.ndarray]]] = {}
    for contour in contours:
        # rounded so that a vertex on a pixel centre is on it whatever the arithmetic did in its last digits
        index = np.round(geometry.world_to_index(contour.points), 7)
        flat = index[:, in_plane]
        if _has_no_area(flat):
            degenerate += 1
            continue
        if _is_oblique(index * spacing, axis):
            oblique += 1
            continue
        depth = float(index[:, axis].mean())
        low, high = flat.min(axis=0), flat.max(axis=0)
        limit = shape[in_plane] - 0.5
        if not -0.5 <= depth <= shape[axis] - 0.5 or (high < -0.5).any() or (low > limit).any():
            outside += 1
            continue
        clipped += bool((low < -0.5).any() or (high > limit).any())
        nearest = min(int(np.floor(depth + 0.5)), int(shape[axis]) - 1)
        found.setdefault(nearest, []).append((depth - nearest, flat))
    planes: dict[int, list[np.ndarray]] = {}
    between, offset = 0, 0.0
    for k in sorted(found):
        kept = _nearest_plane(found[k])
        between += len(found[k]) - len(kept)
        offset = max(offset, max(abs(off) for off, _ in kept))
        planes[k] = [polygon for _, polygon in kept]
    return Placed(roi.number, axis, planes, degenerate, oblique, outside, clipped, between, offset * float(spacing[axis]))


def contour_notices(roi: Roi, geometry: Geometry) -> tuple[Notice, ...]:
    """What `place_contours` had to say about this ROI on this grid, open contours included (`rs.open`)."""
    opened = sum(not contour.is_closed and contour.kind != "POINT" for contour in roi.contours)
    extra = (Notice("rs.open", f"ROI {roi.number}: {opened} open contour(s) bound no area"),) if opened else ()
    return (*place_contours(roi, geometry).notices(), *extra)


def nearest_slices(contour: Contour, geometry: Geometry) -> Int[np.ndarray, "n"]:
    """The slice (index along array axis 2) nearest to each point, clipped to the grid."""
    depth = geometry.world_to_index(contour.points)[:, 2]
    return np.clip(np.floor(depth + 0.5), 0, geometry.shape[2] - 1).astype(int)


def contour_axis(contours: tuple[Contour, ...], geometry: Geometry) -> int:
    """The array axis along which the contours are flat: 2, or the one on which most of them agree."""
    votes = np.zeros(3)
    spacing = np.array(geometry.spacing_mm)
    for contour in contours:
        mm = geometry.world_to_index(contour.points) * spacing
        for axis in (2, 0, 1):
            if not _is_oblique(mm, axis):
                votes[axis] += 1
                break
    return 2 if votes[2] >= votes.max() else int(np.argmax(votes))


def _is_oblique(points_mm: np.ndarray, axis: int) -> bool:
    """Whether a contour leaves the planes of ``axis`` by more than a degree (0.02 mm are rounding of its text)."""
    extent = np.ptp(points_mm, axis=0)
    across = float(np.linalg.norm(np.delete(extent, axis)))
    return bool(extent[axis] > max(0.02, np.sin(np.radians(OBLIQUE_DEG)) * across))


def _has_no_area(flat: np.ndarray) -> bool:
    extent = np.ptp(flat, axis=0)
    if len(flat) < 3 or extent[0] * extent[1] < DEGENERATE_PIXELS:
        return True
    return bool(np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)[1] < 1e-3)


def _nearest_plane(found: list[tuple[float, np.ndarray]]) -> list[tuple[float, np.ndarray]]:
    best = min((off for off, _ in found), key=abs)
    return [(off, polygon) for off, polygon in found if abs(off - best) <= SAME_PLANE]
