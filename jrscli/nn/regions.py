"""Regions: an image cut along labels, and fields of several regions pasted together along labels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def hard(maps: Float[Tensor, "b r *grid"]) -> Float[Tensor, "b r *grid"]:
    """1 where a map is the largest one, 0 elsewhere; without gradient. At every voxel the channels sum to one."""
    number = torch.arange(maps.shape[1], device=maps.device).view(1, -1, *(1,) * (maps.ndim - 2))
    return (maps.argmax(1, keepdim=True) == number).to(maps)


def cut(image: Float[Tensor, "b c *grid"], regions: Float[Tensor, "b r *grid"]) -> Float[Tensor, "b r c *grid"]:
    """The image within each region, zero outside it."""
    return image.unsqueeze(1) * regions.unsqueeze(2)


def pasted(fields: Float[Tensor, "b r d *grid"], regions: Float[Tensor, "b r *grid"]) -> Float[Tensor, "b d *grid"]:
    """``Σ_k 1_k u_k``: each region's own field where that region is, free to jump at the border.

    A pull field lives on the fixed grid, so the regions must be those of the fixed image.
    Source: Chen et al., MICCAI 2021, doi:10.1007/978-3-030-87202-1_5.
    """
    return (fields * regions.unsqueeze(2)).sum(1)
