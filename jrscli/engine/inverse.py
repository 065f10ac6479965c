"""The inverse of a field, on a grid with a margin in which the field fades to nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from jrscli.engine.folding import gradient
from jrscli.nn.warp import identity_like, sample

FAR_VOXELS = 32
"""The widest margin."""
FIXED_POINT_STEPS, NEWTON_STEPS = 8, 40
POINTS_AT_ONCE = 200_000
"""Newton steps take a kilobyte a point or so."""
CLOSE_VOXELS = 0.01
"""Residual at which a point counts as inverted."""
SETTLED_VOXELS = 0.002
"""Residual at which fixed-point steps leave a point alone."""
ROUGH_CLOSE_VOXELS, ROUGH_SETTLED_VOXELS = 0.3, 0.03
"""The same for an inverse that is a step on the way only."""
THICK, MOST_PARTS = 3.0, 4
"""An axis whose voxels are this many times the finest ones is divided for the inverse, into this many parts at most."""


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


def parts_for(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, int, int]:
    """Into how many parts the steps of each axis are divided for the inverse.

    The inverse of a field that is linear between slices is not: thick slices need places between them.
    """
    finest = min(spacing)
    parts = [
        min(MOST_PARTS, round(s / finest)) if n > 1 and s >= THICK * finest else 1 for n, s in zip(shape, spacing, strict=True)
    ]
    return parts[0], parts[1], parts[2]


def divided(field: Float[Tensor, "1 3 i j k"], parts: Sequence[int]) -> Float[Tensor, "1 3 l m n"]:
    """The same field, still in voxels, on a grid with ``parts`` voxels for one along each axis."""
    size = [(n - 1) * p + 1 for n, p in zip(field.shape[2:], parts, strict=True)]
    finer = functional.interpolate(field, size=size, mode="trilinear", align_corners=True)
    return finer * torch.tensor(parts, device=field.device, dtype=field.dtype).view(1, 3, 1, 1, 1)


def invert(field: Float[Tensor, "1 3 i j k"], *, rough: bool = False) -> Float[Tensor, "1 3 i j k"]:
    """The field w with ``w(y) + u(y + w(y)) = 0`` for a field that vanishes at its border.

    Fixed-point steps first, at the points that have not settled; where these steps do not settle, Newton steps with the local
    derivative. rough: for use between two levels, where a tenth of a voxel more or less is mended by the steps that follow.
    """
    settled, close = (ROUGH_SETTLED_VOXELS, ROUGH_CLOSE_VOXELS) if rough else (SETTLED_VOXELS, CLOSE_VOXELS)
    identity = identity_like(field)
    inverse = -sample(field, identity - field)
    residual = (inverse + sample(field, identity + inverse)).flatten(2)
    found, place = inverse.flatten(2).clone(), identity.flatten(2)
    todo = (residual.abs().amax(1)[0] > settled).nonzero()[:, 0]
    w, at, left = found[:, :, todo], place[:, :, todo], residual[:, :, todo]
    for _ in range(FIXED_POINT_STEPS):
        if not todo.numel():
            break
        w = w - left
        left = w + sample(field, (at + w)[..., None, None])[..., 0, 0]
        found[:, :, todo] = w
        open_ = left.abs().amax(1)[0] > settled
        todo, w, at, left = todo[open_], w[:, :, open_], at[:, :, open_], left[:, :, open_]
    far = left.abs().amax(1)[0] > close
    if bool(far.any()):
        derivative = torch.cat(gradient(field, "central"), dim=1)
        for some, start, here in zip(
            todo[far].split(POINTS_AT_ONCE),
            w[:, :, far].split(POINTS_AT_ONCE, 2),
            at[:, :, far].split(POINTS_AT_ONCE, 2),
            strict=True,
        ):
            found[:, :, some] = _newton(field, derivative, here[..., None, None], start[..., None, None], close)[..., 0, 0]
    return found.view(field.shape)


def _newton(
    field: Float[Tensor, "1 3 i j k"],
    derivative: Float[Tensor, "1 9 i j k"],
    place: Float[Tensor, "1 3 n 1 1"],
    w: Float[Tensor, "1 3 n 1 1"],
    close: float,
) -> Float[Tensor, "1 3 n 1 1"]:
    """``w`` improved until ``w + u(place + w)`` is shorter than ``close`` voxels."""
    one = torch.eye(3, device=w.device)
    residual = w + sample(field, place + w)
    size = residual.norm(dim=1, keepdim=True)
    reach = torch.ones_like(size)
    for _ in range(NEWTON_STEPS):
        if float(size.max()) < close:
            break
        jacobian = sample(derivative, place + w)[0, :, :, 0, 0].view(3, 3, -1).permute(2, 1, 0) + 1.001 * one
        move = torch.linalg.solve(jacobian, residual[0, :, :, 0, 0].T[..., None])[..., 0]
        tried = w - reach * move.T[None, :, :, None, None]
        left = tried + sample(field, place + tried)
        # a step that leaves more than it found is taken back and halved: linear interpolation has bends that Newton leaps over
        better = left.norm(dim=1, keepdim=True) < size
        w, residual = torch.where(better, tried, w), torch.where(better, left, residual)
        size = residual.norm(dim=1, keepdim=True)
        reach = torch.where(better, (2 * reach).clamp_max(1.0), reach / 2)
    return w
