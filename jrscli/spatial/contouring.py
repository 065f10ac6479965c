"""Masks and level sets -> contours, by marching squares on each slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.polygons import fill_polygons
from jrscli.spatial.simplify import keep_within
from jrscli.spatial.structures import Contour, ContourKind

Holes = Literal["keyhole", "xor", "nested"]
MIN_PIXELS = 0.1
"""A contour below this area (in pixels) is noise of the level set, not tissue."""


@dataclass(frozen=True, eq=False)
class Traced:
    """The contours of all slices, and what was done on the way.

    dropped: rings left out as too small (`rs.degenerate`). points_before: of the rings before they were simplified, straight
    runs apart; deviation_mm: how far simplified rings lie from those, at most.
    """

    contours: tuple[Contour, ...]
    dropped: int
    points_before: int
    deviation_mm: float


def contours_from_mask(mask: Bool[np.ndarray, "i j k"], geometry: Geometry, *, holes: Holes = "keyhole") -> tuple[Contour, ...]:
    """Contours round the mask on the planes of array axis 2, LPS mm, vertices midway between voxel centres.

    Filled by the pixel-centre rule they give the same mask again. Diagonal neighbours are not connected.
    holes: "keyhole" joins a hole to its outer contour by a channel of no width (every reader gets it right), "xor" writes
    CLOSEDPLANAR_XOR, "nested" leaves two plain contours, one in the other.
    """
    return trace(np.asarray(mask, dtype=bool), geometry, 0.5, holes=holes).contours


def contours_from_levels(
    array: Real[np.ndarray, "i j k"], geometry: Geometry, level: float, *, holes: Holes = "keyhole"
) -> tuple[Contour, ...]:
    """Contours where a map that is larger inside (signed distance, probability) passes ``level``, as `contours_from_mask`."""
    return trace(array, geometry, level, holes=holes).contours


def trace(
    array: Real[np.ndarray, "i j k"],
    geometry: Geometry,
    level: float,
    *,
    holes: Holes = "keyhole",
    simplify_mm: float = 0.0,
) -> Traced:
    """The contours of all slices, as `contours_from_levels`, and what was dropped or simplified.

    simplify_mm: leave out points as long as the line stays this close; 0 leaves out points on straight runs only.
    """
    thinning = _Thinning(geometry.spacing_mm[:2], simplify_mm)
    contours: list[Contour] = []
    dropped = 0
    for k in range(array.shape[2]):
        rings, small = _rings(array[:, :, k], level)
        dropped += small
        outer = [ring for ring in rings if _area(ring) > 0]
        inner = [ring for ring in rings if _area(ring) < 0]
        kind: ContourKind = "CLOSED_PLANAR"
        if holes == "keyhole":
            joined = _keyholes(outer, inner, thinning)
        else:
            joined = [_simplified(thinning.thin(ring), np.zeros(0, bool)) for ring in outer + inner]
            kind = "CLOSEDPLANAR_XOR" if holes == "xor" else "CLOSED_PLANAR"
        for ring in joined:
            index = np.column_stack([ring, np.full(len(ring), float(k))])
            contours.append(Contour(geometry.index_to_world(index), kind))
    return Traced(tuple(contours), dropped, thinning.points_before, thinning.deviation_mm)


class _Thinning:
    """Thins rings, and remembers how many points there were and how far a ring was moved at most."""

    def __init__(self, spacing_mm: tuple[float, ...], tolerance_mm: float) -> None:
        self._spacing = np.array(spacing_mm)
        # files hold three decimals: the last one is not given away
        self._tolerance = max(tolerance_mm - 0.001, 0.0)
        self.points_before = 0
        self.deviation_mm = 0.0

    def thin(self, ring: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "m 2"]:
        """The ring with fewer points."""
        if not self._tolerance:
            return ring
        ring = _simplified(ring, np.zeros(0, bool))
        self.points_before += len(ring)
        keep, deviation = keep_within(ring * self._spacing, self._tolerance)
        self.deviation_mm = max(self.deviation_mm, deviation)
        return ring[keep]


def _rings(plane: np.ndarray, level: float) -> tuple[list[np.ndarray], int]:
    """Closed rings (no repeated point), anticlockwise round the inside, clockwise round holes; and the number dropped."""
    above = plane > level
    if not above.any():
        return [], 0
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    low = np.array([max(rows[0] - 1, 0), max(columns[0] - 1, 0)])
    part = plane[low[0] : rows[-1] + 2, low[1] : columns[-1] + 2].astype(np.float64)
    # one pixel of background as far below the level as the rim is above it: a region at the edge closes half a pixel outside
    padded = np.pad(part, 1, mode="edge")
    for edge in (padded[0], padded[-1], padded[:, 0], padded[:, -1]):
        edge[:] = np.where(edge > level, 2 * level - edge, edge)
    rings = [ring[:-1] + (low - 1) for ring in find_contours(padded, level, fully_connected="low", positive_orientation="high")]
    kept = [ring for ring in map(_without_repeats, rings) if len(ring) >= 3 and abs(_area(ring)) >= MIN_PIXELS]
    return kept, len(rings) - len(kept)


def _keyholes(outer: list[np.ndarray], inner: list[np.ndarray], thinning: _Thinning) -> list[np.ndarray]:
    """Each outer ring with its holes joined to it: out along the channel, round the hole against the outer's sense, back."""
    order = sorted(range(len(outer)), key=lambda n: _area(outer[n]))
    thin = [thinning.thin(ring) for ring in outer]
    detours: dict[int, list[tuple[int, np.ndarray]]] = {n: [] for n in order}
    trees: dict[int, cKDTree] = {}
    for ring in inner:
        # the smallest outer ring round a point of the hole is the one it belongs to
        owner = next((n for n in order if _surrounds(outer[n], ring[0])), None)
        if owner is None:
            continue
        if owner not in trees:
            trees[owner] = cKDTree(thin[owner])
        hole = thinning.thin(ring)
        distance, vertex = trees[owner].query(hole)
        start = int(np.argmin(distance))
        detours[owner].append((int(vertex[start]), np.roll(hole, -start, axis=0)))
    return [_walk(thin[n], detours[n]) for n in range(len(outer))]


def _walk(ring: np.ndarray, detours: list[tuple[int, np.ndarray]]) -> np.ndarray:
    if not detours:
        return _simplified(ring, np.zeros(0, bool))
    pieces, fixed, last = [], [], 0
    for vertex, hole in sorted(detours, key=lambda detour: detour[0]):
        # ring up to the vertex, hole with its first point again, then the vertex again
        pieces += [ring[last : vertex + 1], hole, hole[:1]]
        ends = np.zeros(vertex + 1 - last + len(hole) + 1, bool)
        ends[[vertex - last, vertex - last + 1, -1]] = True
        fixed.append(ends)
        last = vertex
    pieces.append(ring[last:])
    tail = np.zeros(len(ring) - last, bool)
    tail[0] = True
    return _simplified(np.concatenate(pieces), np.concatenate([*fixed, tail]))


def _simplified(ring: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """The ring without points on the straight line between their neighbours.

    fixed: points that stay, as the ends of channels, which are walked twice; none if empty.
    """
    fixed = fixed if len(fixed) else np.zeros(len(ring), bool)
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    ahead = (before * after).sum(axis=1) > 0
    return ring[fixed | ~ahead | (np.abs(cross) > 1e-9)]


def _without_repeats(ring: np.ndarray) -> np.ndarray:
    return ring[np.abs(ring - np.roll(ring, 1, axis=0)).max(axis=1) > 1e-9]


def _area(ring: Float[np.ndarray, "n 2"]) -> float:
    """Signed area in pixels, positive for an outer ring."""
    x, y = ring[:, 0], ring[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _surrounds(ring: np.ndarray, point: np.ndarray) -> bool:
    if (point < ring.min(axis=0)).any() or (point > ring.max(axis=0)).any():
        return False
    return bool(fill_polygons([ring - point], (1, 1))[0, 0])
