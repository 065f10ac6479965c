"""Two images as a network that registers sees them, and its field on the way back to the patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32

from jrscli.runtime.card import Grid, Input
from jrscli.runtime.field import faded, invert, margin_of
from jrscli.runtime.prepare import mass_centre, network_grid, prepared
from jrscli.runtime.probabilities import Probabilities
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

STRAIGHT = 2e-3
"""Axes of two images that differ by less lie alike."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Both images on one grid of the network, and how they were brought together.

    start: fixed mm -> moving mm, before the network. fixed_grid: of both arrays, in the space of the fixed image.
    moving_grid: the same voxels in the space of the moving image, where the start is a shift; else None.
    inside: voxels at both ends of each axis that hold nothing of either image.
    """

    fixed: Float32[np.ndarray, "1 i j k"]
    moving: Float32[np.ndarray, "1 i j k"]
    fixed_grid: Geometry
    moving_grid: Geometry | None
    start: AffineTransform
    inside: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class PairField:
    """A pull field in voxels of ``pair.fixed_grid``, before ``pair.start``.

    inverse: the way back, where the network gave it too. probabilities: of "fixed" and "moving", where the graph gave them.
    maps: what the network looked at in "fixed" and "moving", where that were not the images themselves.
    smooth: why one smooth field stands in for one of regions; None where it does not.
    hidden: what the graph wants back with the next frame of a sequence.
    """

    pair: Pair
    array: Float32[np.ndarray, "3 i j k"]
    inverse: Float32[np.ndarray, "3 i j k"] | None = None
    probabilities: Mapping[str, Probabilities] = field(default_factory=dict)
    maps: Mapping[str, Float32[np.ndarray, "c i j k"]] = field(default_factory=dict)
    smooth: str | None = None
    hidden: Float32[np.ndarray, "c i j k"] | None = None

    def both_ways(self) -> tuple[DisplacementField, DisplacementField]:
        """The field and its inverse in mm, on a grid with a margin in which both fade to nothing."""
        margin = margin_of(self.array, self.pair.inside)
        wide = faded(self.array, margin, self.pair.inside)
        guess = None if self.inverse is None else faded(self.inverse, margin, self.pair.inside)
        grid = self.pair.fixed_grid.padded(margin)
        return _in_mm(wide, grid), _in_mm(invert(wide, guess), grid)


def pair_up(
    fixed: Volume, moving: Volume, grid: Grid, specs: tuple[Input, Input], start: AffineTransform | None = None
) -> Pair:
    """Both images prepared. start: fixed mm -> moving mm; by default the card's way of laying one upon the other."""
    fixed_mass, moving_mass = ((mass_centre(v) if grid.centre == "mass" else None) for v in (fixed, moving))
    fixed_grid = network_grid(fixed.geometry, grid, mass_mm=fixed_mass)
    moving_grid: Geometry | None = None
    if start is None and grid.start == "header":
        start = AffineTransform.identity()
    if start is None:
        alike = replace(grid, orientation=grid.orientation or letters_of(fixed_grid))
        spacing = fixed_grid.spacing_mm
        moving_grid = network_grid(moving.geometry, alike, spacing_mm=spacing, mass_mm=moving_mass)
        if moving_grid.shape != fixed_grid.shape and not grid.is_static:
            shape = np.maximum(moving_grid.shape, fixed_grid.shape).tolist()
            fixed_grid = network_grid(fixed.geometry, grid, shape=shape, mass_mm=fixed_mass)
            moving_grid = network_grid(moving.geometry, alike, shape=shape, spacing_mm=spacing, mass_mm=moving_mass)
        start = AffineTransform(moving_grid.affine @ np.linalg.inv(fixed_grid.affine))
        if moving_grid.shape != fixed_grid.shape or np.abs(start.matrix[:3, :3] - np.eye(3)).max() > STRAIGHT:
            # scans that lie askew to one another are laid upon each other, not turned: a turn is not to be guessed
            start = AffineTransform.about(np.eye(3), np.zeros(3), moving_grid.centre_mm - fixed_grid.centre_mm)
            moving_grid = None
    if moving_grid is None:
        array = prepared(moving, fixed_grid, specs[1], Transform((start,)))
    else:
        array = prepared(moving, moving_grid, specs[1])
    corners = start.inverse().map_points(moving.geometry.corners_mm)
    i, j, k = (
        int(min(a, b)) for a, b in zip(_empty(fixed.geometry.corners_mm, fixed_grid), _empty(corners, fixed_grid), strict=True)
    )
    return Pair(prepared(fixed, fixed_grid, specs[0]), array, fixed_grid, moving_grid, start, (i, j, k))


def letters_of(geometry: Geometry) -> str:
    """Where the array's axes point, as the letters that `Geometry.oriented` takes."""
    nearest = np.abs(geometry.axes).argmax(axis=0)
    return "".join(("RL", "AP", "IS")[axis][int(geometry.axes[axis, n] > 0)] for n, axis in enumerate(nearest))


def _in_mm(array: Float32[np.ndarray, "3 i j k"], grid: Geometry) -> DisplacementField:
    return DisplacementField.from_voxels(np.ascontiguousarray(np.moveaxis(array, 0, -1)), grid)


def _empty(corners_mm: np.ndarray, grid: Geometry) -> np.ndarray:
    """How many voxels at both ends of each axis of the grid lie beyond a box with these corners."""
    index = grid.world_to_index(corners_mm)
    free = np.minimum(index.min(axis=0), np.array(grid.shape) - 1 - index.max(axis=0))
    empty: np.ndarray = np.maximum(np.floor(free - 1e-6), 0)
    return empty
