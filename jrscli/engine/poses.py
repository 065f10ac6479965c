"""Linear maps as twelve numbers in millimetres, so that a step of one moves the image by about one millimetre."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ROTATION, SHIFT, STRETCH = slice(0, 3), slice(3, 6), slice(6, 12)


@dataclass(frozen=True, eq=False)
class Poses:
    """Maps ``x -> expm(L(p)) (x − centre) + centre + start + shift(p)``, fixed mm -> moving mm, one per row of p.

    p: rotation vector, shift and symmetric stretch (three axial, three shear), the first and the last times ``radius_mm``.
    frame: columns are the axes along which p is measured (those of the fixed grid).
    free: which of the twelve may change (an axis one voxel thick fixes some).
    """

    centre: Float[Tensor, "3"]
    start: Float[Tensor, "b 3"]
    frame: Float[Tensor, "3 3"]
    radius_mm: float
    free: Float[Tensor, "12"]

    def take(self, rows: Tensor) -> Poses:
        """These rows only."""
        return Poses(self.centre, self.start[rows], self.frame, self.radius_mm, self.free)

    def matrices(self, p: Float[Tensor, "b 12"]) -> Float[Tensor, "b 4 4"]:
        """The maps as homogeneous matrices."""
        p = p * self.free
        rotation, stretch = p[:, ROTATION] / self.radius_mm, p[:, STRETCH] / self.radius_mm
        zero = torch.zeros_like(p[:, 0])
        x, y, z = rotation.unbind(1)
        a, b, c, d, e, f = stretch.unbind(1)
        rows = [a, d - z, e + y, d + z, b, f - x, e - y, f + x, c]
        generator = torch.stack(rows, dim=1).view(-1, 3, 3)
        linear = self.frame @ torch.matrix_exp(generator) @ self.frame.T
        shift = self.centre + self.start + p[:, SHIFT] @ self.frame.T - linear @ self.centre
        last = torch.stack([zero, zero, zero, zero + 1], dim=1)[:, None]
        return torch.cat([torch.cat([linear, shift[..., None]], dim=2), last], dim=1)


def free_parameters(shape: tuple[int, int, int]) -> Float[Tensor, "12"]:
    """1 for the parameters that an image of this shape can tell; 0 for those that leave the plane of a 2-D image."""
    thick = [n > 1 for n in shape]
    i, j, k = thick
    rotation = [j and k, i and k, i and j]
    stretch = [i, j, k, i and j, i and k, j and k]
    return torch.tensor([float(flag) for flag in (*rotation, *thick, *stretch)])
