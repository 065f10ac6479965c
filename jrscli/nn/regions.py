"""Regions: an image cut along labels, and fields of several regions pasted together along labels."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def hard(maps: Float[Tensor, "b r *grid"]) -> Float[Tensor, "b r *grid"]:
    """1 where a map is the largest one, 0 elsewhere; without gradient. At every voxel the channels sum to one."""
    return one_hot(maps.argmax(1), maps.shape[1]).to(maps)


def one_hot(numbers: Int[Tensor, "b *grid"], count: int) -> Bool[Tensor, "b r *grid"]:
    """Which of ``count`` labels each voxel has, one channel per label."""
    return numbers.unsqueeze(1) == torch.arange(count, device=numbers.device).view(1, -1, *(1,) * (numbers.ndim - 1))


def cut(image: Float[Tensor, "b c *grid"], regions: Float[Tensor, "b r *grid"]) -> Float[Tensor, "b r c *grid"]:
    """The image within each region, zero outside it."""
    return image.unsqueeze(1) * regions.unsqueeze(2)


def pasted(fields: Float[Tensor, "b r d *grid"], regions: Float[Tensor, "b r *grid"]) -> Float[Tensor, "b d *grid"]:
    """``Σ_k 1_k u_k``: each region's own field where that region is, free to jump at the border.

    A pull field lives on the fixed grid, so the regions must be those of the fixed image.
    Source: Chen et al., MICCAI 2021, doi:10.1007/978-3-030-87202-1_5.
    """
    return (fields * regions.unsqueeze(2)).sum(1)
