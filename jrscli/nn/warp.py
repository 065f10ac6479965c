"""Warp, compose, integrate, resize: the one place that knows grid_sample's reversed order of axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@lru_cache(maxsize=8)
def _identity(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Float[Tensor, "1 d *grid"]:
    axes = [torch.arange(n, device=device, dtype=dtype) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def identity_like(field: Float[Tensor, "b d *grid"]) -> Float[Tensor, "1 d *grid"]:
    """The voxel index of every voxel, one channel per axis."""
    return _identity(tuple(field.shape[2:]), field.device, field.dtype)


def sample(
    image: Float[Tensor, "b c *grid"], index: Float[Tensor, "b d *out"], *, padding: str = "border"
) -> Float[Tensor, "b c *out"]:
    """``image`` read linearly at continuous voxel indices (index 0 = centre of the first voxel)."""
    size = image.shape[2:]
    scale = torch.tensor([2.0 / max(n - 1, 1) for n in size], device=index.device, dtype=index.dtype)
    # an axis of one voxel has no extent: every index on it is its centre
    flat = torch.tensor([float(n == 1) for n in size], device=index.device, dtype=index.dtype)
    normal = index.movedim(1, -1) * (scale * (1 - flat)) - (1 - flat)
    return functional.grid_sample(image, normal.flip(-1), mode="bilinear", padding_mode=padding, align_corners=True)


def warp(
    image: Float[Tensor, "b c *grid"], field: Float[Tensor, "b d *grid"], *, padding: str = "border"
) -> Float[Tensor, "b c *grid"]:
    """``moved(x) = image(x + u(x))``, u in voxels."""
    return sample(image, identity_like(field) + field, padding=padding)


def compose(first: Float[Tensor, "b d *grid"], second: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b d *grid"]:
    """The field of "``first``, then ``second``": ``u(x) = first(x) + second(x + first(x))``."""
    return first + warp(second, first)


def integrate(velocity: Float[Tensor, "b d *grid"], squarings: int = 7) -> Float[Tensor, "b d *grid"]:
    """The displacement of flowing along ``velocity`` for a unit of time: ``2^squarings`` equal steps, by squaring.

    Source: Arsigny et al., MICCAI 2006, doi:10.1007/11866565_113.
    """
    field = velocity / 2**squarings
    for _ in range(squarings):
        field = compose(field, field)
    return field


def resize_field(field: Float[Tensor, "b d *grid"], shape: Sequence[int]) -> Float[Tensor, "b d *out"]:
    """The field on a grid of ``shape`` voxels over the same corners, its values turned into the new voxels."""
    old = field.shape[2:]
    if tuple(old) == tuple(shape):
        return field
    mode = "trilinear" if len(old) == 3 else "bilinear"
    moved = functional.interpolate(field, size=tuple(shape), mode=mode, align_corners=True)
    ratio = [(new - 1) / (was - 1) if was > 1 else 1.0 for new, was in zip(shape, old, strict=True)]
    return moved * torch.tensor(ratio, device=field.device, dtype=field.dtype).view(1, -1, *(1,) * len(old))
