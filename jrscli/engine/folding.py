"""Folds found and mended, on the grid where they are counted."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from jrscli.nn.filters import gaussian

TIGHTEST = 0.1
"""Determinants below this count as folds to mend: a margin for resampling onto other grids."""


def gradient(field: Tensor, scheme: str) -> list[Tensor]:
    """∂u/∂(axis) for the three axes, each (1, 3, i, j, k); one-sided schemes repeat the last difference at the border."""
    parts = []
    for axis in range(2, 5):
        if field.shape[axis] < 2:
            parts.append(torch.zeros_like(field))
            continue
        step = field.diff(dim=axis)
        first, last = step.narrow(axis, 0, 1), step.narrow(axis, step.shape[axis] - 1, 1)
        if scheme == "forward":
            parts.append(torch.cat([step, last], dim=axis))
        elif scheme == "backward":
            parts.append(torch.cat([first, step], dim=axis))
        else:
            parts.append((torch.cat([step, last], dim=axis) + torch.cat([first, step], dim=axis)) / 2)
    return parts


def determinant(field: Float[Tensor, "1 3 i j k"], scheme: str = "central") -> Float[Tensor, "1 1 i j k"]:
    """det(I + ∂u/∂x) of a field in voxels, by "central", "forward" or "backward" differences."""
    a, b, c = gradient(field, scheme)
    a0, a1, a2 = a[:, 0] + 1, a[:, 1], a[:, 2]
    b0, b1, b2 = b[:, 0], b[:, 1] + 1, b[:, 2]
    c0, c1, c2 = c[:, 0], c[:, 1], c[:, 2] + 1
    det = a0 * (b1 * c2 - b2 * c1) - b0 * (a1 * c2 - a2 * c1) + c0 * (a1 * b2 - a2 * b1)
    return det[:, None]


def unfolded(field: Float[Tensor, "1 3 i j k"], rounds: int = 40) -> Float[Tensor, "1 3 i j k"]:
    """The field, smoothed round every voxel where a determinant is below `TIGHTEST`, until none is left."""
    sigma = [1.0 if n > 1 else 0.0 for n in field.shape[2:]]
    whole = gaussian(torch.ones_like(field[:, :1]), sigma)
    for turn in range(rounds):
        worst = torch.stack([determinant(field, scheme) for scheme in ("central", "forward", "backward")]).amin(0)
        bad = (worst < TIGHTEST).float()
        if not bad.any():
            break
        reach = 2 + turn // 8
        size = [2 * min(reach, n - 1) + 1 for n in field.shape[2:]]
        near = functional.max_pool3d(bad, size, stride=1, padding=[s // 2 for s in size])
        blend = gaussian(near, sigma) / whole
        field = field + blend * (gaussian(field, sigma) / whole - field)
    return field
