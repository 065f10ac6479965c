"""Contours that lie across the slices of an image: stacks of planes of their own, drawn in space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import map_coordinates

from jrscli.spatial.distance import plane_distance
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.polygons import area_of, fill_polygons
from jrscli.spatial.structures import Contour

PARALLEL_DEG = 1.0
SAME_PLANE = 0.1
"""Planes closer than this share of the image's smallest spacing are one."""
GAP = 1.5
"""Planes further apart than this many usual distances have nothing between them."""
FINER = 4
"""Pixels of a plane are this many times smaller than the smallest voxel edge …"""
MOST_PIXELS = 600
"""… as long as a plane has no more than this many across …"""
MOST_LEVELS = 60_000_000
"""… and all planes together no more than this."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Parallel planes with polygons on them.

    axes: columns are the two directions in the plane and the normal (LPS, unit length). depths_mm: of the planes along the
    normal, rising. polygons: of each plane, mm along the first two directions. thickness_mm: what one plane stands for.
    """

    axes: Float[np.ndarray, "3 3"]
    depths_mm: Float[np.ndarray, " p"]
    polygons: tuple[list[Float[np.ndarray, "n 2"]], ...]
    thickness_mm: float

    @property
    def missing_planes(self) -> int:
        """Planes without a contour between the first and the last, by the usual distance."""
        steps = np.rint(np.diff(self.depths_mm) / self.thickness_mm).astype(int)
        return int((steps[steps > 1] - 1).sum())

    def runs(self) -> list[np.ndarray]:
        """The planes' numbers, cut where the next plane is too far off."""
        return np.split(np.arange(len(self.depths_mm)), np.flatnonzero(np.diff(self.depths_mm) > GAP * self.thickness_mm) + 1)


def stacks_of(contours: Sequence[Contour], geometry: Geometry) -> tuple[Stack, ...]:
    """The contours sorted into stacks of parallel planes; a contour that leaves its plane is pressed onto it."""
    groups: list[tuple[np.ndarray, list[np.ndarray]]] = []
    for contour in contours:
        normal = plane_normal(contour.points)
        for known, members in groups:
            if abs(float(known @ normal)) >= np.cos(np.radians(PARALLEL_DEG)):
                members.append(contour.points)
                break
        else:
            groups.append((normal, [contour.points]))
    return tuple(_stack(members, geometry) for _, members in groups)


def plane_normal(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3"]:
    """The unit normal of the plane that fits the points best."""
    return np.asarray(np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][2])


def stack_volume_mm3(stacks: Sequence[Stack]) -> float:
    """Σ area · distance of the planes, mm³."""
    total = 0.0
    for stack in stacks:
        pixel = _pixel_mm(stack, stack.thickness_mm / FINER)
        areas = [area_of([polygon / pixel for polygon in polygons]) for polygons in stack.polygons]
        total += sum(areas) * pixel**2 * stack.thickness_mm
    return total


def draw_stacks(stacks: Sequence[Stack], geometry: Geometry) -> Bool[np.ndarray, "i j k"]:
    """Voxels whose centre lies between the planes' outlines, by their signed distances (shape-based interpolation).

    A plane at the end of a run stands for half the usual distance beyond it. Several stacks are united.

    Source: Raya and Udupa, IEEE TMI 9(1), 1990, doi:10.1109/42.52980.
    """
    mask = np.zeros(geometry.shape, dtype=bool, order="F")
    for stack in stacks:
        for run in stack.runs():
            _draw_run(stack, run, geometry, mask)
    return mask


def _stack(members: list[np.ndarray], geometry: Geometry) -> Stack:
    # the normal of all contours together, each about its own middle: long contours count for more than short ones
    about = np.concatenate([points - points.mean(axis=0) for points in members])
    axes = np.linalg.svd(about, full_matrices=False)[2].T
    local = [points @ axes for points in members]
    depth = np.array([float(points[:, 2].mean()) for points in local])
    order = np.argsort(depth, kind="stable")
    first = np.concatenate([[True], np.diff(depth[order]) > SAME_PLANE * min(geometry.spacing_mm)])
    plane = np.cumsum(first) - 1
    polygons: list[list[np.ndarray]] = [[] for _ in range(int(plane[-1]) + 1)]
    for n, p in zip(order.tolist(), plane.tolist(), strict=True):
        polygons[p].append(local[n][:, :2])
    depths = np.array([float(depth[order][plane == p].mean()) for p in range(len(polygons))])
    # a lone plane stands for what one voxel measures across it
    along = np.abs(geometry.axes.T @ axes[:, 2])
    alone = float(geometry.spacing_mm[int(np.argmax(along))])
    return Stack(axes, depths, tuple(polygons), float(np.median(np.diff(depths))) if len(depths) > 1 else alone)


def _pixel_mm(stack: Stack, wanted: float) -> float:
    vertices = np.concatenate([polygon for polygons in stack.polygons for polygon in polygons])
    width, height = np.ptp(vertices, axis=0).tolist()
    return max(wanted, max(width, height) / MOST_PIXELS, float(np.sqrt(width * height * len(stack.polygons) / MOST_LEVELS)))


def _draw_run(stack: Stack, run: np.ndarray, geometry: Geometry, mask: np.ndarray) -> None:
    pixel = _pixel_mm(stack, min(geometry.spacing_mm) / FINER)
    vertices = np.concatenate([polygon for p in run for polygon in stack.polygons[p]])
    low, high = vertices.min(axis=0) - 2 * pixel, vertices.max(axis=0) + 2 * pixel
    size = np.ceil((high - low) / pixel).astype(int) + 1
    shape = (int(size[0]), int(size[1]))
    levels = np.stack(
        [plane_distance(fill_polygons([(q - low) / pixel for q in stack.polygons[p]], shape), (pixel, pixel)) for p in run]
    )
    depths = stack.depths_mm[run]
    half = stack.thickness_mm / 2
    ends = np.array(
        [(u, v, w) for u in (low[0], high[0]) for v in (low[1], high[1]) for w in (depths[0] - half, depths[-1] + half)]
    )
    index = geometry.world_to_index(ends @ stack.axes.T)
    first = np.clip(np.floor(index.min(axis=0)), 0, geometry.shape).astype(int)
    last = np.clip(np.ceil(index.max(axis=0)) + 1, 0, geometry.shape).astype(int)
    for k in range(first[2], last[2]):
        i, j = np.meshgrid(np.arange(first[0], last[0]), np.arange(first[1], last[1]), indexing="ij")
        points = geometry.index_to_world(np.stack([i.ravel(), j.ravel(), np.full(i.size, k)], axis=1)) @ stack.axes
        # the half-open rule: of two stacks that meet, one takes the centres between them
        near = (points[:, 2] >= depths[0] - half) & (points[:, 2] < depths[-1] + half)
        near &= (points[:, :2] >= low).all(axis=1) & (points[:, :2] <= high).all(axis=1)
        if near.any():
            at = (points[near, :2] - low) / pixel
            where = np.vstack([np.interp(points[near, 2], depths, np.arange(len(depths))), at.T])
            inside = np.zeros(i.size, bool)
            inside[near] = map_coordinates(levels, where, order=1, mode="nearest") > 0
            mask[first[0] : last[0], first[1] : last[1], k] |= inside.reshape(i.shape)
