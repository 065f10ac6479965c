"""Terms of networks that judge others; judges put out logits, per voxel or per patch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def judge_loss(real: Float[Tensor, "b 1 *grid"], fake: Float[Tensor, "b 1 *grid"]) -> Float[Tensor, ""]:
    """``−mean log D(real) − mean log(1 − D(fake))`` from logits."""
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()


def fooling_loss(fake: Float[Tensor, "b 1 *grid"]) -> Float[Tensor, ""]:
    """``−mean log D(fake)`` from logits: the generator's non-saturating term.

    Source: Goodfellow et al., NeurIPS 2014, arXiv:1406.2661, section 3.
    """
    return functional.softplus(-fake).mean()


def halfway(psi: Float[Tensor, "b 1 *grid"]) -> Float[Tensor, ""]:
    """``mean |Ψ − ½|``, 0 … ½ (``gradient L1``)."""
    return torch.abs(psi - 0.5).mean()
