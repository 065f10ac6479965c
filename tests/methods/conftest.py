"""A training step's data, made in code."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from jrscli.recipe import Batch

SHAPE = (16, 16, 16)


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """A pair of two classes besides the background; labels that are not known are NaN, so that reading them shows."""

    def make(knows_fixed: bool = True, knows_moving: bool = True) -> Batch:
        generator = torch.Generator().manual_seed(3)

        def one(known: bool) -> tuple[Tensor, Tensor, Tensor]:
            image = torch.rand(1, 1, *SHAPE, generator=generator)
            numbers = torch.randint(0, 3, (1, *SHAPE), generator=generator)
            labels = functional.one_hot(numbers, 3).movedim(-1, 1).float()
            return image, labels if known else torch.full_like(labels, torch.nan), torch.tensor([known])

        fixed, fixed_labels, has_fixed = one(knows_fixed)
        moving, moving_labels, has_moving = one(knows_moving)
        present = torch.ones(1, 2, dtype=torch.bool)
        return Batch(fixed, fixed_labels, has_fixed, present, torch.ones(1, 3), moving, moving_labels, has_moving)

    return make
