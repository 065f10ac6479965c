"""Masks: regions on one grid that may overlap, which labels cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from jrscli.errors import GeometryError
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, check_shape


@dataclass(frozen=True, eq=False)
class Masks:
    """One boolean array per number, on a common grid.

    names: number -> name.

    Raises GeometryError `geometry.shape`.
    """

    masks: Mapping[int, Bool[np.ndarray, "i j k"]]
    geometry: Geometry
    names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for mask in self.masks.values():
            check_shape(mask, self.geometry)

    @staticmethod
    def of_labels(labels: LabelMap) -> Masks:
        """The labels, one mask each."""
        return Masks({number: labels.mask(number) for number in labels.numbers()}, labels.geometry, labels.names)

    def name(self, number: int) -> str:
        """The name of a mask, or its number as text."""
        return self.names.get(number, str(number))

    def overlap(self) -> bool:
        """Whether any voxel lies in two masks."""
        together = np.zeros(self.geometry.shape, bool)
        for mask in self.masks.values():
            if (together & mask).any():
                return True
            together |= mask
        return False

    def as_labels(self) -> tuple[LabelMap, list[int]]:
        """The masks as labels, larger ones below smaller ones, and the numbers of those that lose voxels by that."""
        sizes = {number: int(np.count_nonzero(mask)) for number, mask in self.masks.items()}
        array = np.zeros(self.geometry.shape, np.uint32)
        for number in sorted(self.masks, key=lambda number: -sizes[number]):
            array[self.masks[number]] = number
        hidden = [n for n, size in sizes.items() if size and np.count_nonzero(array == n) < size]
        return LabelMap(array, self.geometry, self.names), hidden

    def on(self, geometry: Geometry) -> Masks:
        """The same voxels with their axes in the order and direction of ``geometry``, which has to be the same grid.

        Raises GeometryError `geometry.other_grid`.
        """
        if self.geometry.matches(geometry):
            return self
        # index on ``geometry`` -> index here: for one grid in two orders a permutation with signs, and a whole offset
        step = np.linalg.inv(self.geometry.affine) @ geometry.affine
        turn = np.round(step[:3, :3])
        whole = np.abs(step[:3, :3] - turn).max() * max(geometry.shape) < 0.01 and (np.abs(turn).sum(axis=0) == 1).all()
        order = tuple(int(axis) for axis in np.abs(turn).argmax(axis=0))
        shape = tuple(self.geometry.shape[axis] for axis in order)
        flipped = tuple(n for n in range(3) if turn[order[n], n] < 0)
        first = np.array([self.geometry.shape[axis] - 1 if turn[axis].sum() < 0 else 0 for axis in range(3)])
        if not whole or sorted(order) != [0, 1, 2] or shape != geometry.shape or np.abs(step[:3, 3] - first).max() > 0.01:
            raise GeometryError(
                "the masks lie on another grid than the image",
                code="geometry.other_grid",
                hint="resample them onto the grid of the image first",
            )
        turned = {number: np.flip(mask.transpose(order), flipped) for number, mask in self.masks.items()}
        return Masks(turned, geometry, self.names)
