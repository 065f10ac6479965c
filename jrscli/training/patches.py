"""Parts of the grid drawn instead of the whole: as often round each label as round nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

ON_GRID = ("fixed", "moving", "fixed_labels", "moving_labels", "true_displacement")
"""The parts of a batch that lie on the grid."""


def cropped(found: Mapping[str, Any], patch: Sequence[int], generator: torch.Generator) -> dict[str, Any]:
    """The parts of a batch with all that lies on the grid cut to ``patch`` voxels, row by row at one place."""
    shape = found["fixed"].shape[2:]
    size = [min(n, p) for n, p in zip(shape, patch, strict=False)]
    places = []
    for row in range(len(found["fixed"])):
        known = bool(found["has_fixed_labels"][row])
        middle = middle_of(found["fixed_labels"][row] if known else None, shape, generator)
        starts = [min(max(c - p // 2, 0), n - p) for c, p, n in zip(middle, size, shape, strict=True)]
        places.append(tuple(slice(s, s + p) for s, p in zip(starts, size, strict=True)))
    out = dict(found)
    for name in ON_GRID:
        if name in found:
            out[name] = torch.stack([part[(slice(None), *place)] for part, place in zip(found[name], places, strict=True)])
    return out


def middle_of(labels: Tensor | None, shape: Sequence[int], generator: torch.Generator) -> list[int]:
    """A voxel of a label that occurs, each label (background included) as likely as the others; without labels any voxel."""
    if labels is None:
        return [int(torch.randint(n, (), generator=generator)) for n in shape]
    numbers = labels.argmax(0).cpu()
    occurring = numbers.unique()
    label = occurring[int(torch.randint(len(occurring), (), generator=generator))]
    voxels = (numbers == label).nonzero()
    return [int(n) for n in voxels[int(torch.randint(len(voxels), (), generator=generator))]]
