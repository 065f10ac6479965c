"""Regions: an image cut along labels, and fields of several regions pasted together along labels."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LEAST = 0.5
"""A mask of fewer voxels in all has no middle."""


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


def middles_of(masks: Float[Tensor, "n i j k"]) -> Float[np.ndarray, "n 3"]:
    """The centroid of each mask, voxels; NaN where hardly anything is left of it."""
    masks = masks.detach().double()
    total = masks.sum(dim=(1, 2, 3))
    out = []
    for axis in range(3):
        others = tuple(a + 1 for a in range(3) if a != axis)
        out.append(masks.sum(dim=others) @ torch.arange(masks.shape[axis + 1], device=masks.device, dtype=masks.dtype) / total)
    return torch.where(total >= LEAST, torch.stack(out), torch.nan).T.cpu().numpy()
