"""One case as tensors: rows of a batch, one-hot labels, and what is simulated of a case."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from jrscli.training.cases import DataList
from jrscli.training.prepared import Prepared
from jrscli.training.simulated.fractions import Contrast, Fraction, Simulated, simulated_pair


def as_batch(case: Prepared, data: DataList, device: torch.device) -> tuple[Tensor, Tensor]:
    """Image and one-hot labels as a network takes them: one row, or one row per slice for a method for slices."""
    image, labels = torch.from_numpy(case.image).to(device), one_hot_of(case, len(data.labels), device)
    if data.grid.dims == 2:
        return image.movedim(-1, 0), labels.movedim(-1, 0)
    return image[None], labels[None]


def one_hot_of(case: Prepared, classes: int, device: torch.device) -> Tensor:
    """The labels as one channel per class, background first; all NaN where the case has none, so that no loss reads them.

    Labels that are not to be trusted count as background.
    """
    if case.labels is None:
        return torch.full((classes, *case.image.shape[1:]), torch.nan, device=device)
    numbers = torch.from_numpy(case.labels).to(device).long()
    if not all(case.drawn):
        kept = torch.tensor([0, *(n * drawn for n, drawn in enumerate(case.drawn, start=1))], device=device)
        numbers = kept[numbers]
    return functional.one_hot(numbers, classes).movedim(-1, 0).float()


def drawn_in(cases: Sequence[Prepared], classes: int, device: torch.device) -> Bool[Tensor, "b foreground"]:
    """Which foreground labels were drawn in each case; all of them in one without labels."""
    rows = [case.drawn if case.labels is not None and case.drawn else (True,) * (classes - 1) for case in cases]
    return torch.tensor(rows, dtype=torch.bool, device=device).reshape(len(rows), max(classes - 1, 0))


def in_unit(image: Float[Tensor, "*b c *grid"], data: DataList) -> Tensor:
    """Values of the data list's range as 0 … 1."""
    low, high = data.range
    return image if (low, high) == (0.0, 1.0) else (image - low) / (high - low)


def in_range(image: Float[Tensor, "*b c *grid"], data: DataList) -> Tensor:
    """Values 0 … 1 in the data list's range."""
    low, high = data.range
    return image if (low, high) == (0.0, 1.0) else image * (high - low) + low


def simulated_of(
    image: Float[Tensor, "c *grid"],
    labels: Float[Tensor, "k *grid"],
    data: DataList,
    fraction: Fraction,
    contrast: Contrast,
    generator: torch.Generator,
) -> Simulated:
    """What the data list registers an image (0 … 1) with: a daily image, and another contrast if it says so."""
    spacing = data.grid.spacing_mm or (1.0, 1.0, 1.0)
    other = contrast if data.pairs == "modalities" else None
    return simulated_pair(image, labels, spacing, fraction, other, generator)
