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
_GLANCE_VOXELS = 500_000


@dataclass(frozen=True, eq=False)
class Subsampled:
    """A field on a coarse grid, and what that costs.

    max_error_mm: the largest distance between where the field (linear between its nodes) and the transform send the centre of
    a voxel of the image.
    """

    field: DisplacementField
    max_error_mm: float


def subsample(transform: Transform, geometry: Geometry, *, tolerance_mm: float = TOLERANCE_MM) -> Subsampled:
    """``transform`` as one field over ``geometry``, on the coarsest grid tried that errs by at most ``tolerance_mm``.

    Tried are 3 mm or two voxels along each axis, whichever is coarser, then half of that, and so on down to the voxels
    themselves, where nothing is lost. The grid reaches one cell beyond the image on all sides: what is drawn on the outer half
    of a border voxel then moves with it.
    """
    voxels = np.array(geometry.spacing_mm)
    spacing = np.maximum(COARSEST_MM, 2 * voxels)
    while True:
        step = np.maximum(spacing, voxels)
        grid = geometry.with_spacing((float(step[0]), float(step[1]), float(step[2]))).padded((1, 1, 1))
        field = transform.displacement(grid)
        if (step <= voxels).all():
            return Subsampled(field, _largest_error(field, transform, geometry))
        # a glance at some of the voxels rejects most grids that are too coarse; the figure itself comes from all voxels
        stride = int(np.ceil((np.prod(geometry.shape) / _GLANCE_VOXELS) ** (1 / 3)))
        if stride == 1 or _largest_error(field, transform, _every(geometry, stride)) <= tolerance_mm:
            error = _largest_error(field, transform, geometry)
            if error <= tolerance_mm:
                return Subsampled(field, error)
        spacing = spacing / 2


def _largest_error(field: DisplacementField, transform: Transform, geometry: Geometry) -> float:
    coarse = Transform((field,))
    largest = 0.0
    for slab in _slabs(geometry):
        difference = coarse.displacement(slab).array - transform.displacement(slab).array
        largest = max(largest, float(np.sqrt((difference**2).sum(axis=-1).max())))
    return largest


def _slabs(geometry: Geometry) -> Iterator[Geometry]:
    """The grid in portions along its last axis: a whole CT of vectors takes half a gigabyte, twice."""
    width, height, depth = geometry.shape
    thick = max(1, SLAB_VOXELS // (width * height))
    for start in range(0, depth, thick):
        yield geometry.cropped_to((0, 0, start), (width, height, min(depth, start + thick)))


def _every(geometry: Geometry, stride: int) -> Geometry:
    """Every ``stride``-th voxel of the grid along each axis."""
    affine = geometry.affine.copy()
    affine[:3, :3] *= stride
    i, j, k = ((n - 1) // stride + 1 for n in geometry.shape)
    return Geometry((i, j, k), affine)
