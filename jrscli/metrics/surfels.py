"""Surfels: the surface of a mask, cut into one element per corner where voxels of both kinds meet.

A corner between voxels has 2×2×2 voxels round it; which of them are inside is an eight-bit code. The element of that corner is
what marching cubes would draw there between the eight voxel centres, and only its area is kept.

The table of areas is worked out here instead of being typed in:

- edges between an inside and an outside voxel are cut in the middle, and the cuts are joined round each face of the cube;
- where a face has both diagonals, the voxels of the minority are kept apart (the complement of a code has the same surface);
- a polygon that does not lie in a plane is divided into those triangles which have the largest area on the unit cube.

This gives the table of Lorensen and Cline (doi:10.1145/37401.37422) that the package surface-distance of Nikolov et al.
(doi:10.2196/26151) has made the common one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

Point = tuple[int, int, int]
Triangle = tuple[Point, Point, Point]


@dataclass(frozen=True, eq=False)
class Surfels:
    """The surface of one mask.

    corner: integer positions of the elements; corner c lies half a voxel before the centre of voxel c along each axis.
    area_mm2: their areas.
    """

    corner: Int[np.ndarray, "n 3"]
    area_mm2: Float[np.ndarray, " n"]


def surfels(mask: Bool[np.ndarray, "i j k"], spacing_mm: tuple[float, float, float]) -> Surfels:
    """The surface elements of a mask. Beyond the array is background, so a mask that touches the border has a surface there.

    An array one voxel thick is a two-dimensional image: its two faces are no surface, and areas are contour length × thickness.
    """
    box = bounding_box(mask)
    if box is None:
        return Surfels(np.zeros((0, 3), np.int32), np.zeros(0))
    flat = tuple(n == 1 for n in mask.shape)
    inside = mask[box].view(np.uint8)
    for axis in range(3):
        pad = [(0, 0)] * 3
        pad[axis] = (1, 1)
        inside = np.pad(inside, pad, mode="edge" if flat[axis] else "constant")
    code = np.zeros([n - 1 for n in inside.shape], np.uint8)
    for bit in range(8):
        i, j, k = _corner(bit)
        code |= inside[i : i + code.shape[0], j : j + code.shape[1], k : k + code.shape[2]] << np.uint8(bit)
    for axis in range(3):
        if flat[axis]:
            code = code.take([0], axis=axis)
    at = np.nonzero((code != 0) & (code != 255))
    corner = np.stack(at, axis=1).astype(np.int32) + np.array([part.start for part in box], np.int32)
    return Surfels(corner, area_table(spacing_mm)[code[at]])


def bounding_box(mask: Bool[np.ndarray, "i j k"]) -> tuple[slice, slice, slice] | None:
    """The smallest box that holds the mask; None if it is empty."""
    ij = np.asarray(mask.any(axis=2))
    parts = [np.flatnonzero(ij.any(axis=1)), np.flatnonzero(ij.any(axis=0))]
    if not len(parts[0]):
        return None
    # only the rows that hold something are looked at again: on a whole CT the last projection is the expensive one
    rows: np.ndarray = mask[parts[0][0] : parts[0][-1] + 1, parts[1][0] : parts[1][-1] + 1]
    parts.append(np.flatnonzero(np.any(rows, axis=(0, 1))))
    i, j, k = (slice(int(part[0]), int(part[-1]) + 1) for part in parts)
    return i, j, k


def area_table(spacing_mm: tuple[float, float, float]) -> Float[np.ndarray, "256"]:
    """Area in mm² of the surface element of each code, for this voxel size."""
    x, y, z = spacing_mm
    return np.linalg.norm(_area_vectors() * (y * z, x * z, x * y), axis=2).sum(axis=1)


@cache
def _area_vectors() -> Float[np.ndarray, "256 4 3"]:
    """Area vectors of the (at most four) triangles of each code, on the unit cube."""
    table = np.zeros((256, 4, 3))
    for code in range(1, 255):
        minority = code if code.bit_count() <= 4 else 255 - code
        triangles = [triangle for polygon in _polygons(minority) for triangle in _widest(tuple(polygon))]
        for n, triangle in enumerate(triangles):
            table[code, n] = _area_vector(triangle)
    table.setflags(write=False)
    return table


def _corner(bit: int) -> Point:
    return bit >> 2 & 1, bit >> 1 & 1, bit & 1


def _face_lines(code: int) -> list[tuple[Point, Point]]:
    """The lines of the surface in the six faces of the cube; cuts are given as the sum of the two corners of their edge."""
    lines = []
    for axis in range(3):
        for side in (0, 1):
            ring = [list(corner) for corner in ((0, 0), (1, 0), (1, 1), (0, 1))]
            for corner in ring:
                corner.insert(axis, side)
            inside = [bool(code >> (4 * i + 2 * j + k) & 1) for i, j, k in ring]
            cuts = [(a[0] + b[0], a[1] + b[1], a[2] + b[2]) for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)]
            crossed = [n for n in range(4) if inside[n] != inside[(n + 1) % 4]]
            if len(crossed) == 2:
                lines.append((cuts[crossed[0]], cuts[crossed[1]]))
            elif crossed:
                lines.extend((cuts[n - 1], cuts[n]) for n in range(4) if inside[n])
    return lines


def _polygons(code: int) -> list[list[Point]]:
    """The closed polygons that the face lines form."""
    neighbours: dict[Point, list[Point]] = {}
    for a, b in _face_lines(code):
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    polygons = []
    left = sorted(neighbours)
    while left:
        polygon = [left[0]]
        step = neighbours[left[0]][0]
        while step != polygon[0]:
            ahead = [point for point in neighbours[step] if point != polygon[-1]]
            polygon.append(step)
            step = ahead[0]
        left = [point for point in left if point not in polygon]
        polygons.append(polygon)
    return polygons


@cache
def _widest(polygon: tuple[Point, ...]) -> tuple[Triangle, ...]:
    """The division into triangles with the largest total area (divisions that tie have the same area vectors)."""
    if len(polygon) < 3:
        return ()
    divisions = [
        (*_widest(polygon[: n + 1]), (polygon[0], polygon[n], polygon[-1]), *_widest(polygon[n:]))
        for n in range(1, len(polygon) - 1)
    ]
    return max(divisions, key=lambda division: sum(float(np.linalg.norm(_area_vector(triangle))) for triangle in division))


def _area_vector(triangle: Triangle) -> Float[np.ndarray, "3"]:
    (a, b), (_, c) = pairwise(np.array(triangle) / 2)
    return np.cross(b - a, c - a) / 2
