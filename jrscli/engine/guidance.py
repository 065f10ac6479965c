"""What is known of a pair beside its grey values: where labels are in both images, and landmarks of both."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import center_of_mass

from jrscli.engine.guides import Guides
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample, resample_smoothed
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

SPREAD_MM = 3.0
"""Landmarks tell a rotation if they spread this far (an SD) along a second direction."""


def _no_points() -> Float[np.ndarray, "0 3"]:
    return np.zeros((0, 3))


@dataclass(frozen=True, eq=False)
class Guidance:
    """What steers a registration, whoever knows it: a person who drew contours, or a network that predicts them.

    fixed_maps, moving_maps: where each label is (or probably is), 0 … 1, in one order; each on any grid of its own image, 0
    beyond it, so that a box round the organ is enough. fixed_points_mm, moving_points_mm: landmarks, LPS mm, in one order.
    weight: of the labels and of the landmarks beside the similarity of the images.

    Raises ValueError for lists of different length.
    """

    fixed_maps: tuple[Volume, ...] = ()
    moving_maps: tuple[Volume, ...] = ()
    fixed_points_mm: Float[np.ndarray, "n 3"] = field(default_factory=_no_points)
    moving_points_mm: Float[np.ndarray, "n 3"] = field(default_factory=_no_points)
    weight: float = 1.0

    def __post_init__(self) -> None:
        if len(self.fixed_maps) != len(self.moving_maps) or self.fixed_points_mm.shape != self.moving_points_mm.shape:
            raise ValueError("guidance comes in pairs")

    def __bool__(self) -> bool:
        return bool(self.fixed_maps) or bool(len(self.fixed_points_mm))

    def words(self) -> str:
        """What it consists of: "3 labels and 8 landmarks"."""
        counts = ((len(self.fixed_maps), "label"), (len(self.fixed_points_mm), "landmark"))
        return " and ".join(f"{n} {word}{'s' if n > 1 else ''}" for n, word in counts if n)

    def joined(self, other: Guidance) -> Guidance:
        """Both, with this one's weight."""
        return replace(
            self,
            fixed_maps=self.fixed_maps + other.fixed_maps,
            moving_maps=self.moving_maps + other.moving_maps,
            fixed_points_mm=np.concatenate([self.fixed_points_mm, other.fixed_points_mm]),
            moving_points_mm=np.concatenate([self.moving_points_mm, other.moving_points_mm]),
        )

    def through(self, start: AffineTransform) -> Guidance:
        """The same for a moving image that has been brought into the fixed image's place by ``start`` (fixed mm -> moving mm).

        Raises GeometryError `geometry.shear` where the start shears the grids.
        """
        back = start.inverse()
        maps = tuple(Volume(v.array, Geometry(v.geometry.shape, back.matrix @ v.geometry.affine)) for v in self.moving_maps)
        return replace(self, moving_maps=maps, moving_points_mm=back.map_points(self.moving_points_mm))

    def brought(self, grid: Geometry, start: AffineTransform) -> Guidance:
        """The same for a moving image that has been resampled onto ``grid`` through ``start``."""
        pull = Transform((start,))
        maps = tuple(Volume(_onto(volume, grid, pull), grid) for volume in self.moving_maps)
        return replace(self, moving_maps=maps, moving_points_mm=_back(self.moving_points_mm, pull))

    def shift(self) -> Float[np.ndarray, "3"]:
        """From the fixed to the moving side, mm: the mean of the landmarks, or else of the labels' centres."""
        if len(self.fixed_points_mm):
            return (self.moving_points_mm - self.fixed_points_mm).mean(axis=0)
        fixed, moving = ([_centre(volume) for volume in maps] for maps in (self.fixed_maps, self.moving_maps))
        return np.mean(moving, axis=0) - np.mean(fixed, axis=0)

    def rigid(self) -> AffineTransform | None:
        """The rigid map with the least squared distances of the landmarks; None where they tell no rotation.

        Source: Kabsch, Acta Crystallographica A32, 1976, doi:10.1107/S0567739476001873.
        """
        fixed, moving = self.fixed_points_mm, self.moving_points_mm
        if len(fixed) < 3:
            return None
        centre, goal = fixed.mean(axis=0), moving.mean(axis=0)
        u, size, vt = np.linalg.svd((moving - goal).T @ (fixed - centre))
        if np.sqrt(size[1] / len(fixed)) < SPREAD_MM:
            return None
        turn = u @ np.diag((1, 1, np.linalg.det(u @ vt))) @ vt
        return AffineTransform.about(turn, centre, goal - centre)

    def on(self, fixed: Geometry, moving: Geometry, pull: Transform | None, device: torch.device) -> Guides:
        """The guides on grids of the two images; pull: from mm of the moving grid to moving mm (None: they are the same)."""
        maps = (_stacked(self.fixed_maps, fixed, None, device), _stacked(self.moving_maps, moving, pull, device))
        here, there = (
            torch.tensor(grid.world_to_index(mm), dtype=torch.float32, device=device)
            for grid, mm in ((fixed, self.fixed_points_mm), (moving, _back(self.moving_points_mm, pull)))
        )
        return Guides(maps, (here, there), self.weight)


def _back(points_mm: Float[np.ndarray, "n 3"], pull: Transform | None) -> Float[np.ndarray, "n 3"]:
    """Where the linear ``pull`` takes these points from."""
    return points_mm if pull is None else pull.as_affine().inverse().map_points(points_mm)


def _stacked(
    maps: tuple[Volume, ...], grid: Geometry, pull: Transform | None, device: torch.device
) -> Float[torch.Tensor, "1 c i j k"]:
    stack = np.empty((1, len(maps), *grid.shape), np.float32)
    for number, volume in enumerate(maps):
        stack[0, number] = _onto(volume, grid, pull)
    return torch.from_numpy(stack).to(device)


def _onto(volume: Volume, grid: Geometry, pull: Transform | None) -> Float[np.ndarray, "i j k"]:
    """A map on a grid, smoothed first where the grid is coarser; 0 beyond."""
    own = volume.geometry
    if pull is None and own.matches(grid):
        return volume.array
    step = min(s for s, n in zip(grid.spacing_mm, grid.shape, strict=True) if n > 1 or grid.shape == (1, 1, 1))
    x, y, z = (max(s, step) for s in own.spacing_mm)
    return resample(resample_smoothed(volume, own.with_spacing((x, y, z))), grid, pull, outside=0.0).array


def _centre(volume: Volume) -> Float[np.ndarray, "3"]:
    """Centre of mass, LPS mm."""
    return volume.geometry.index_to_world(np.array([center_of_mass(volume.array)]))[0]
