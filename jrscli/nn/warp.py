"""Warp, compose, resize: the one place that knows grid_sample's reversed order of axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@lru_cache(maxsize=8)
def _identity(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype) -> Float[Tensor, "1 3 i j k"]:
    axes = [torch.arange(n, device=device, dtype=dtype) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def identity_like(field: Float[Tensor, "b 3 i j k"]) -> Float[Tensor, "1 3 i j k"]:
    """The voxel index of every voxel, one channel per axis."""
    shape = (field.shape[2], field.shape[3], field.shape[4])
    return _identity(shape, field.device, field.dtype)


def sample(
    image: Float[Tensor, "b c i j k"], index: Float[Tensor, "b 3 l m n"], *, padding: str = "border"
) -> Float[Tensor, "b c l m n"]:
    """``image`` read linearly at continuous voxel indices (index 0 = centre of the first voxel)."""
    size = image.shape[2:]
    scale = torch.tensor([2.0 / max(n - 1, 1) for n in size], device=index.device, dtype=index.dtype)
    # an axis of one voxel has no extent: every index on it is its centre
    flat = torch.tensor([float(n == 1) for n in size], device=index.device, dtype=index.dtype)
    normal = index.movedim(1, -1) * (scale * (1 - flat)) - (1 - flat)
    return functional.grid_sample(image, normal.flip(-1), mode="bilinear", padding_mode=padding, align_corners=True)


def warp(
    image: Float[Tensor, "b c i j k"], field: Float[Tensor, "b 3 i j k"], *, padding: str = "border"
) -> Float[Tensor, "b c i j k"]:
    """``moved(x) = image(x + u(x))``, u in voxels."""
    return sample(image, identity_like(field) + field, padding=padding)


def compose(first: Float[Tensor, "b 3 i j k"], second: Float[Tensor, "b 3 i j k"]) -> Float[Tensor, "b 3 i j k"]:
    """The field of "``first``, then ``second``": ``u(x) = first(x) + second(x + first(x))``."""
    return first + warp(second, first)


def resize_field(field: Float[Tensor, "b 3 i j k"], shape: Sequence[int]) -> Float[Tensor, "b 3 l m n"]:
    """The field on a grid of ``shape`` voxels over the same corners, its values turned into the new voxels."""
    old = field.shape[2:]
    if tuple(old) == tuple(shape):
        return field
    moved = functional.interpolate(field, size=tuple(shape), mode="trilinear", align_corners=True)
    ratio = [(new - 1) / (was - 1) if was > 1 else 1.0 for new, was in zip(shape, old, strict=True)]
    return moved * torch.tensor(ratio, device=field.device, dtype=field.dtype).view(1, 3, 1, 1, 1)
