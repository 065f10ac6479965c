"""How well label maps agree: soft Dice, cross entropy and their relatives; all are minimised.

Probabilities and one-hot labels are ``(b, classes, …)`` with the background first; logits are named so.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5


def soft_dice(
    p: Float[Tensor, "b k *grid"],
    q: Float[Tensor, "b k *grid"],
    *,
    background: bool = True,
    squared: bool = False,
    present: Bool[Tensor, "b n"] | None = None,
) -> Float[Tensor, ""]:
    """``1 − mean_k (2 Σ p q + ε) / (Σ p + Σ q + ε)``, 0 … 1; a class absent in both costs 0.

    background: whether class 0 is among the k. squared: the denominator is ``Σ p² + Σ q²``.
    present: the foreground classes of each row that count (the others were never drawn).
    Source: Milletari et al., 3DV 2016, doi:10.1109/3DV.2016.79.
    """
    if not background:
        p, q = p[:, 1:], q[:, 1:]
    p, q = p.flatten(2), q.flatten(2)
    size = (p * p).sum(2) + (q * q).sum(2) if squared else p.sum(2) + q.sum(2)
    dice = (2 * (p * q).sum(2) + EPSILON) / (size + EPSILON)
    if present is None:
        return 1 - dice.mean()
    weight = present.to(dice.dtype)
    if background:
        weight = torch.cat([torch.ones_like(weight[:, :1]), weight], dim=1)
    return ((1 - dice) * weight).sum() / weight.sum().clamp_min(1)


def cross_entropy(
    logits: Float[Tensor, "b k *grid"], y: Float[Tensor, "b k *grid"], weights: Float[Tensor, "k"] | None = None
) -> Float[Tensor, ""]:
    """``−mean_x Σ_k w_k y_k log p_k`` from logits; y may be soft; weights are normalised to mean 1."""
    loss = -y * functional.log_softmax(logits, dim=1)
    if weights is not None:
        loss = loss * (weights / weights.mean()).view(1, -1, *(1,) * (logits.ndim - 2))
    return loss.sum(1).mean()


def merged_undrawn(
    logits: Float[Tensor, "b k *grid"], y: Float[Tensor, "b k *grid"], present: Bool[Tensor, "b n"]
) -> tuple[Float[Tensor, "b k *grid"], Float[Tensor, "b k *grid"]]:
    """Logits and labels in which the foreground classes that were never drawn in a row are part of its background.

    So a voxel that nobody called an organ may be either; the classes themselves are left with no probability.
    Source: Shi et al., Medical Image Analysis 70, 2021, doi:10.1016/j.media.2021.101979 (marginal loss).
    """
    if bool(present.all()):
        return logits, y
    drawn = present.view(*present.shape, *(1,) * (logits.ndim - 2))
    nothing = torch.finfo(logits.dtype).min / 2
    rest = torch.cat([logits[:, :1], logits[:, 1:].masked_fill(drawn, nothing)], dim=1)
    seen = logits[:, 1:].masked_fill(~drawn, nothing)
    labelled = torch.cat([y[:, :1] + (y[:, 1:] * ~drawn).sum(1, keepdim=True), y[:, 1:] * drawn], dim=1)
    return torch.cat([rest.logsumexp(1, keepdim=True), seen], dim=1), labelled


def rare_weights(y: Float[Tensor, "b k *grid"], most: float = 10.0) -> Float[Tensor, "k"]:
    """Weights for `cross_entropy`: the size of the largest class over that of each, at most ``most``; 1 for an absent one."""
    size = y.detach().transpose(0, 1).flatten(1).sum(1)
    return torch.where(size > 0, (size.max() / size.clamp_min(1e-6)).clamp_max(most), 1.0)


def binary_cross_entropy(logits: Float[Tensor, "b k *grid"], y: Float[Tensor, "b k *grid"]) -> Float[Tensor, ""]:
    """``−mean_kx [y log p + (1 − y) log(1 − p)]`` from logits, each class on its own."""
    return functional.binary_cross_entropy_with_logits(logits, y)


def weighted_inner_product(p: Float[Tensor, "b k *grid"], y: Float[Tensor, "b k *grid"]) -> Float[Tensor, ""]:
    """``−(3 mean(y p) + mean((1 − y)(1 − p)))``, −3 … 0 (``wip``)."""
    return -(3 * (y * p).mean() + ((1 - y) * (1 - p)).mean())


def confidence_weighted_cross_entropy(
    logits: Float[Tensor, "b k *grid"], y: Float[Tensor, "b k *grid"], confidence: Float[Tensor, "b 1 *grid"]
) -> Float[Tensor, ""]:
    """``−mean_x c(x) Σ_k y_k log p_k``; the confidence c of a judge gets no gradient."""
    loss = -(y * functional.log_softmax(logits, dim=1)).sum(1, keepdim=True)
    return (confidence.detach() * loss).mean()


def region_consistency(p: Float[Tensor, "b k *grid"], q: Float[Tensor, "b k *grid"]) -> Float[Tensor, ""]:
    """``mean_kx (p_k − q_k)²`` over all classes of two softmax maps, 0 … 1 (``DRC``)."""
    return ((p - q) ** 2).mean()


def rectified_cross_entropy(
    logits: Float[Tensor, "b k *grid"],
    y: Float[Tensor, "b k *grid"],
    teacher: Float[Tensor, "b k *grid"],
    mask: Float[Tensor, "b 1 *grid"] | None = None,
) -> Float[Tensor, ""]:
    """``mean_x [e^−κ CE + κ]`` with ``κ = Σ_k t_k log(t_k / p_k)``; the teacher's probabilities t get no gradient.

    mask: how much each voxel counts in the mean.
    Source: Zheng, Yang, International Journal of Computer Vision 129, 2021, arXiv:2003.03773.
    """
    log_p = functional.log_softmax(logits, dim=1)
    t = teacher.detach()
    kappa = (t * (t.clamp_min(1e-8).log() - log_p)).sum(1)
    entropy = -(y * log_p).sum(1)
    loss = (-kappa).exp() * entropy + kappa
    if mask is None:
        return loss.mean()
    return (loss * mask.squeeze(1)).sum() / mask.sum().clamp_min(1)


def centroid_distance(p: Float[Tensor, "b k *grid"], q: Float[Tensor, "b k *grid"]) -> Float[Tensor, ""]:
    """The mean distance, in voxels, of the centroids of each class; a class absent in either costs 0."""
    axes = [torch.arange(n, device=p.device, dtype=p.dtype) for n in p.shape[2:]]
    where = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    p, q = p.flatten(2), q.flatten(2)
    mass_p, mass_q = p.sum(2, keepdim=True), q.sum(2, keepdim=True)
    gap = (p @ where.T) / (mass_p + EPSILON) - (q @ where.T) / (mass_q + EPSILON)
    # 1e-12 under the root: its slope stays finite where the centroids agree
    distance = ((gap**2).sum(2) + 1e-12).sqrt()
    both = ((mass_p > 0) & (mass_q > 0)).squeeze(2)
    return (distance * both).sum() / both.sum().clamp_min(1)
