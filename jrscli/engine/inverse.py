"""The inverse of a field, on a grid with a margin in which the field fades to nothing."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from jrscli.engine.folding import _gradient
from jrscli.nn.warp import identity_like, sample

FAR_VOXELS = 32
"""The widest margin."""
NEWTON_STEPS = 40
CLOSE_VOXELS = 0.01
"""Residual at which a point counts as inverted."""


def margin_for(field: Float[Tensor, "1 3 i j k"]) -> tuple[int, int, int]:
    """Voxels to add on every side so that the field can fade there slowly (three times its largest value, and 2)."""
    sizes = []
    for axis in range(3):
        largest = float(field[:, axis].abs().max())
        sizes.append(min(math.ceil(3 * largest) + 2, FAR_VOXELS) if field.shape[axis + 2] > 1 else 0)
    return sizes[0], sizes[1], sizes[2]


def faded(field: Float[Tensor, "1 3 i j k"], margin: tuple[int, int, int]) -> Float[Tensor, "1 3 l m n"]:
    """The field continued into the margin, falling smoothly to zero at its outer border."""
    i, j, k = margin
    wide = functional.pad(field, (k, k, j, j, i, i), mode="replicate")
    for axis, width in enumerate(margin):
        if width:
            n = wide.shape[axis + 2]
            position = torch.arange(n, device=field.device, dtype=field.dtype)
            depth = torch.minimum(position, n - 1 - position).clamp_max(width) / width
            ramp = 0.5 - 0.5 * torch.cos(math.pi * depth)
            shape = [1] * 5
            shape[axis + 2] = n
            wide = wide * ramp.view(shape)
    return wide


def invert(field: Float[Tensor, "1 3 i j k"]) -> Float[Tensor, "1 3 i j k"]:
    """The field w with ``w(y) + u(y + w(y)) = 0`` for a field that vanishes at its border.

    Fixed-point steps first; where they have not settled, Newton steps with the local derivative.
    """
    identity = identity_like(field)
    inverse = torch.zeros_like(field)
    for _ in range(10):
        inverse = -sample(field, identity + inverse)
    residual = inverse + sample(field, identity + inverse)
    open_ = (residual.abs().amax(1) > CLOSE_VOXELS)[0]
    if not bool(open_.any()):
        return inverse
    where = open_.nonzero(as_tuple=True)
    place = torch.stack([axis.to(field.dtype) for axis in where])[None, :, :, None, None]
    w = inverse[:, :, where[0], where[1], where[2]][..., None, None]
    derivative = torch.cat(_gradient(field, "central"), dim=1)
    residual_here = w + sample(field, place + w)
    size = residual_here.norm(dim=1, keepdim=True)
    reach = torch.ones_like(size)
    for _ in range(NEWTON_STEPS):
        if float(size.max()) < CLOSE_VOXELS:
            break
        jacobian = sample(derivative, place + w)[0, :, :, 0, 0].view(3, 3, -1).permute(2, 1, 0) + torch.eye(3, device=w.device)
        move = torch.linalg.solve(jacobian + 1e-3 * torch.eye(3, device=w.device), residual_here[0, :, :, 0, 0].T[..., None])[
            ..., 0
        ]
        tried = w - reach * move.T[None, :, :, None, None]
        left = tried + sample(field, place + tried)
        # a step that leaves more than it found is taken back and halved: linear interpolation has bends that Newton leaps over
        better = left.norm(dim=1, keepdim=True) < size
        w, residual_here = torch.where(better, tried, w), torch.where(better, left, residual_here)
        size = residual_here.norm(dim=1, keepdim=True)
        reach = torch.where(better, (2 * reach).clamp_max(1.0), reach / 2)
    inverse = inverse.clone()
    inverse[:, :, where[0], where[1], where[2]] = w[..., 0, 0]
    return inverse
