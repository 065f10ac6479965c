"""One structure from the planning image to the daily one: by signed distance, pulled through the transform."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.distance import signed_distance
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.planes import contour_axis
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.resample import resample
from jrscli.spatial.structures import Contour, Roi
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

FAR_MM = 1000.0
"""The level beyond a structure's box: far outside."""
MARGIN_VOXELS = 3
SEARCH_MM = 12.0
"""How far beyond the mapped box the structure is looked for: what the inverse may be off."""
PIXELS_ACROSS = 64
"""A structure with fewer pixels across than this is drawn and contoured on finer pixels."""
MAX_FINE_VOXELS = 6_000_000
MAX_REFINEMENT = 8
SAMPLES = 20_000
DISAGREEMENT_MM = 5.0


@dataclass(frozen=True, eq=False)
class Solid:
    """A structure of the planning image: a mask on a box round it, whose pixels are finer than the image's if it is small."""

    mask: Bool[np.ndarray, "i j k"]
    geometry: Geometry

    @property
    def volume_cc(self) -> float:
        """Volume in cm³."""
        return float(np.count_nonzero(self.mask)) * self.geometry.voxel_volume_mm3 / 1000


def solid_of_roi(roi: Roi, geometry: Geometry) -> Solid | None:
    """The inside of an ROI's closed contours within the image ``geometry``; None where there is nothing."""
    if not roi.closed:
        return None
    axis = contour_axis(roi.closed, geometry)
    index = geometry.world_to_index(np.concatenate([contour.points for contour in roi.closed]))
    last = np.array(geometry.shape) - 1
    low = np.clip(np.floor(index.min(axis=0)), 0, last)
    high = np.clip(np.ceil(index.max(axis=0)), 0, last)
    box = _box(geometry, low, high)
    factors = [1 if a == axis else _refinement(box, high - low + 1, axis) for a in range(3)]
    fine = refined(box, (factors[0], factors[1], factors[2]))
    mask = rasterize(roi, fine)
    for a in range(3):  # contours beyond the image are not in it, though the box goes on
        before, after = int(max(MARGIN_VOXELS - low[a], 0)), int(max(MARGIN_VOXELS - last[a] + high[a], 0))
        along = np.moveaxis(mask, a, 0)
        along[: before * factors[a]] = False
        along[along.shape[0] - after * factors[a] :] = False
    return Solid(mask, fine) if mask.any() else None


def solid_of_mask(mask: Bool[np.ndarray, "i j k"], geometry: Geometry) -> Solid | None:
    """A mask cut to its box; None for an empty one."""
    bounds = bounding_box(mask)
    if bounds is None:
        return None
    low, high = bounds
    part = mask[low[0] : high[0] + 1, low[1] : high[1] + 1, low[2] : high[2] + 1]
    return Solid(np.pad(part, MARGIN_VOXELS), _box(geometry, low, high))


def bounding_box(mask: Bool[np.ndarray, "i j k"]) -> tuple[np.ndarray, np.ndarray] | None:
    """The first and last index along each axis where the mask is, or None."""
    ends = []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(filled):
            return None
        ends.append((filled[0], filled[-1]))
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])


def pull(solid: Solid, daily: Geometry, transform: Transform, inverse: Transform, *, finer: bool = True) -> Volume | None:
    """The signed distance of a structure (mm, positive inside) on a box of the daily grid; None if nothing of it is there.

    transform: daily mm -> planning mm; inverse: planning mm -> daily mm. finer: whether a small structure gets finer daily
    pixels (then the box lies on the daily slices but not on the daily pixels).
    """
    reached = daily.world_to_index(inverse.map_points(_lattice(solid.geometry)))
    reach = SEARCH_MM / np.array(daily.spacing_mm)
    low = np.maximum(np.floor(reached.min(axis=0) - reach), 0).astype(int)
    high = np.minimum(np.ceil(reached.max(axis=0) + reach), np.array(daily.shape) - 1).astype(int)
    if (low > high).any():
        return None
    box = daily.cropped_to((low[0], low[1], low[2]), (high[0] + 1, high[1] + 1, high[2] + 1))
    if finer:
        box = with_finer_pixels(box, reached.max(axis=0) - reached.min(axis=0))
    levels = Volume(signed_distance(solid.mask, solid.geometry), solid.geometry)
    pulled = resample(levels, box, _cropped(transform, box), outside=-FAR_MM)
    return pulled if (pulled.array > 0).any() else None


def outside_percent(solid: Solid, daily: Geometry, transform: Transform, inverse: Transform) -> float:
    """The share of a structure's volume whose place in the daily space is beyond the daily image.

    A point counts as inside only if it comes back: beyond its grid a field is zero, and the inverse alone would be believed
    there.
    """
    step = max(1, int((np.count_nonzero(solid.mask) / SAMPLES) ** (1 / 3)))
    index = np.argwhere(solid.mask[::step, ::step, ::step]) * step
    if not len(index):
        index = np.argwhere(solid.mask)
    points = solid.geometry.index_to_world(index)
    there = inverse.map_points(points)
    back = np.linalg.norm(transform.map_points(there) - points, axis=1)
    return 100.0 * float((~daily.contains(there) | (back > DISAGREEMENT_MM)).mean())


def carry_contour(contour: Contour, inverse: Transform, flat_mm: float = 0.02) -> Contour:
    """A point or an open contour, vertex by vertex (planning mm -> daily mm).

    One that leaves its plane is called OPEN_NONPLANAR.
    """
    points = inverse.map_points(contour.points)
    moved = replace(contour, points=points)
    if contour.kind == "OPEN_PLANAR" and len(points) > 2 and float(np.ptp(points[:, 2])) > flat_mm:
        off = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
        if float(np.abs((points - points.mean(axis=0)) @ off[2][2]).max()) > flat_mm:
            moved = replace(moved, kind="OPEN_NONPLANAR")
    return moved


def with_finer_pixels(box: Geometry, size_voxels: np.ndarray) -> Geometry:
    """The box with pixels on its slices (array axis 2) as fine as a structure of this size needs."""
    factor = _refinement(box, size_voxels, 2)
    return refined(box, (factor, factor, 1))


def refined(geometry: Geometry, factors: tuple[int, int, int]) -> Geometry:
    """The same field cut into voxels this many times smaller along each axis."""
    affine = geometry.affine.copy()
    affine[:3, :3] = affine[:3, :3] / factors
    affine[:3, 3] = geometry.index_to_world(np.array([[0.5 / f - 0.5 for f in factors]]))[0]
    i, j, k = (n * f for n, f in zip(geometry.shape, factors, strict=True))
    return Geometry((i, j, k), affine)


def _box(geometry: Geometry, low: np.ndarray, high: np.ndarray) -> Geometry:
    lower = [int(n) - MARGIN_VOXELS for n in low]
    upper = [int(n) + MARGIN_VOXELS + 1 for n in high]
    return geometry.cropped_to((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def _refinement(box: Geometry, size_voxels: np.ndarray, slice_axis: int) -> int:
    """How many times finer the pixels should be: enough pixels across the structure, within a limit on the box."""
    across = float(np.delete(size_voxels, slice_axis).min())
    room = np.sqrt(MAX_FINE_VOXELS / float(np.prod(box.shape)))
    return int(np.clip(np.ceil(PIXELS_ACROSS / max(across, 1)), 1, max(1, min(MAX_REFINEMENT, room))))


def _lattice(geometry: Geometry, step_mm: float = 10.0) -> Float[np.ndarray, "n 3"]:
    """Points all over a box, about this far apart (at most 24 along an axis), LPS mm."""
    axes = []
    for size, spacing in zip(geometry.shape, geometry.spacing_mm, strict=True):
        count = int(np.clip(np.ceil(size * spacing / step_mm) + 1, 2, 24))
        axes.append(np.linspace(-0.5, size - 0.5, count))
    return geometry.index_to_world(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3))


def _cropped(transform: Transform, box: Geometry) -> Transform:
    """The transform with its first field cut to what ``box`` needs: ITK holds fields in double precision."""
    first = transform.parts[0]
    if not isinstance(first, DisplacementField):
        return transform
    grid = first.geometry
    index = grid.world_to_index(box.corners_mm)
    low = np.clip(np.floor(index.min(axis=0)).astype(int) - 2, 0, np.array(grid.shape) - 1)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 3, 1, np.array(grid.shape))
    part = first.array[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    crop = grid.cropped_to((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    return Transform((DisplacementField(part, crop), *transform.parts[1:]))
