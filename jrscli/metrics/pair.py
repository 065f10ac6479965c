"""Pair: the masks of one structure in reference and test, cut to the box that holds both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from jrscli.errors import GeometryError
from jrscli.metrics.surfels import bounding_box
from jrscli.spatial.geometry import Geometry

Mask = Bool[np.ndarray, "i j k"]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two masks on one small grid: every metric works here, so that an organ of a CT costs what the organ costs.

    geometry: of the masks. lower: where their first voxel lies in the image; shape: the image's, both in voxels.

    Raises GeometryError `grid.mismatch` for masks of two shapes, TypeError for arrays that are not bool.
    """

    reference: Mask
    test: Mask
    geometry: Geometry
    lower: tuple[int, int, int]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if self.reference.shape != self.test.shape:
            raise GeometryError(
                f"the masks are {self.reference.shape} and {self.test.shape} voxels",
                code="grid.mismatch",
                hint="bring both onto one grid first",
            )
        if self.reference.dtype != np.bool_ or self.test.dtype != np.bool_:
            raise TypeError(f"masks of {self.reference.dtype} and {self.test.dtype} where bool is needed")

    @staticmethod
    def of(reference: Mask, test: Mask, geometry: Geometry) -> Pair:
        """The pair of two masks that fill ``geometry``."""
        whole = Pair(reference, test, geometry, (0, 0, 0), geometry.shape)
        box = joined_box(bounding_box(reference), bounding_box(test), geometry.shape)
        i, j, k = (part.start for part in box)
        return Pair(reference[box], test[box], box_geometry(geometry, box), (i, j, k), whole.shape)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size in the order of the axes, mm."""
        return self.geometry.spacing_mm

    def touches_border(self, mask: Mask) -> bool:
        """Whether one of the two masks reaches the first or last voxel of the image along an axis (of more than one voxel)."""
        box = bounding_box(mask)
        if box is None:
            return False
        return any(
            n > 1 and (part.start + low == 0 or part.stop + low == n)
            for part, low, n in zip(box, self.lower, self.shape, strict=True)
        )

    def trimmed(self) -> Pair:
        """The pair without the slices (last axis) before or after those that both masks reach."""
        held = [np.flatnonzero(mask.any(axis=(0, 1))) for mask in (self.reference, self.test)]
        if not len(held[0]) or not len(held[1]):
            return self
        first, last = max(held[0][0], held[1][0]), min(held[0][-1], held[1][-1])
        keep = np.zeros(self.reference.shape[2], np.bool_)
        keep[first : last + 1] = True
        return replace(self, reference=self.reference & keep, test=self.test & keep)


def joined_box(one: Box | None, other: Box | None, shape: tuple[int, int, int]) -> Box:
    """The box of two boxes and a voxel round them, within ``shape``; one voxel where there is neither.

    An axis of one voxel keeps its size, so that an image of one slice stays two-dimensional.
    """
    boxes = [box for box in (one, other) if box is not None]
    if not boxes:
        return slice(0, 1), slice(0, 1), slice(0, 1)
    i, j, k = (
        slice(max(min(box[axis].start for box in boxes) - 1, 0), min(max(box[axis].stop for box in boxes) + 1, shape[axis]))
        for axis in range(3)
    )
    return i, j, k


def box_geometry(geometry: Geometry, box: Box) -> Geometry:
    """The grid of ``array[box]``."""
    lower, upper = [part.start for part in box], [part.stop for part in box]
    return geometry.cropped_to((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
