"""A transform as one field on a coarse grid, fine enough that interpolation errs by less than is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jrscli.spatial.displacement import SLAB_VOXELS, DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform

COARSEST_MM = 3.0
TOLERANCE_MM = 0.1
MOST_POINTS = 4_000_000
"""Where the error is measured at most; a large CT has ten times as many voxels, which say the same ten times over."""


@dataclass(frozen=True, eq=False)
class Subsampled:
    """A field on a coarse grid, and what that costs.

    max_error_mm: the largest distance between where the field (linear between its nodes) and the transform send the centre of
    a voxel of the image; of a large image every second or third voxel is asked.
    """

    field: DisplacementField
    max_error_mm: float


def subsample(transform: Transform, geometry: Geometry, *, tolerance_mm: float = TOLERANCE_MM) -> Subsampled:
    """``transform`` as one field over ``geometry``, on the coarsest grid tried that errs by at most ``tolerance_mm``.

    Tried are 3 mm or two voxels along each axis, whichever is coarser; then the grid of the transform itself, where it is one
    field and a matrix, which loses nothing; then half of the first, and so on down to the voxels. Grids made here reach one
    cell beyond the image on all sides: what is drawn on the outer half of a border voxel then moves with it.
    """
    points = _every_so_many(geometry)
    for grid in _grids(transform, geometry):
        field = transform.displacement(grid)
        found = Subsampled(field, _largest_error(field, transform, points))
        if found.max_error_mm <= tolerance_mm:
            break
    return found


def _grids(transform: Transform, geometry: Geometry) -> Iterator[Geometry]:
    voxels = np.array(geometry.spacing_mm)
    spacing = np.maximum(COARSEST_MM, 2 * voxels)
    own = _own_grid(transform, geometry)
    yield _grid_of(geometry, spacing)
    while (spacing > voxels).any():
        spacing = np.maximum(spacing / 2, voxels)
        finer = _grid_of(geometry, spacing)
        if own is not None and np.prod(own.shape) <= np.prod(finer.shape):
            yield own
            own = None
        yield finer


def _grid_of(geometry: Geometry, spacing: np.ndarray) -> Geometry:
    x, y, z = (float(step) for step in spacing)
    return geometry.with_spacing((x, y, z)).padded((1, 1, 1))


def _own_grid(transform: Transform, geometry: Geometry) -> Geometry | None:
    """The grid of the one field before matrices, where it holds the whole image: they keep straight what is straight."""
    field, *rest = transform.parts
    if not isinstance(field, DisplacementField) or any(isinstance(part, DisplacementField) for part in rest):
        return None
    return field.geometry if bool(field.geometry.contains(geometry.corners_mm).all()) else None


def _largest_error(field: DisplacementField, transform: Transform, geometry: Geometry) -> float:
    coarse = Transform((field,))
    largest = 0.0
    for slab in _slabs(geometry):
        difference = coarse.displacement(slab).array - transform.displacement(slab).array
        largest = max(largest, float(np.sqrt((difference**2).sum(axis=-1).max())))
    return largest


def _slabs(geometry: Geometry) -> Iterator[Geometry]:
    """The grid in portions along its last axis, so that memory stays bounded."""
    width, height, depth = geometry.shape
    thick = max(1, SLAB_VOXELS // (width * height))
    for start in range(0, depth, thick):
        yield geometry.cropped_to((0, 0, start), (width, height, min(depth, start + thick)))


def _every_so_many(geometry: Geometry) -> Geometry:
    """The grid, or as many of its voxels as are asked, about equally far apart along all axes."""
    spacing, shape = np.array(geometry.spacing_mm), np.array(geometry.shape)
    step = spacing.min()
    while True:
        stride = np.maximum(1, np.round(step / spacing)).astype(int)
        count = (shape - 1) // stride + 1
        if np.prod(count) <= MOST_POINTS:
            break
        step *= 1.1
    affine = geometry.affine.copy()
    affine[:3, :3] *= stride
    return Geometry((int(count[0]), int(count[1]), int(count[2])), affine)
