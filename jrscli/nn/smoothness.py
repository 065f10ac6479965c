"""How rough a field is, in voxels, in two or three dimensions; all are minimised."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def diffusion_mean(field: Float[Tensor, "b d *grid"]) -> Float[Tensor, ""]:
    """``(1/d) Σ_axis mean (D_axis u)²`` with forward differences, as VoxelMorph has it."""
    dims = field.ndim - 2
    terms = [(field.diff(dim=axis) ** 2).mean() for axis in range(2, field.ndim)]
    return torch.stack(terms).sum() / dims


def bending(field: Float[Tensor, "b d *grid"]) -> Float[Tensor, ""]:
    """Bending energy ``mean_x Σ_c Σ_ab (D_ab u_c)²`` over the interior: zero for every affine field.

    ``D_aa = u(+1) − 2u + u(−1)``, ``D_ab`` the central difference divided by 4; mixed terms count twice.
    Source: Rueckert et al., IEEE TMI 18(8), 1999, doi:10.1109/42.796284.
    """
    axes = range(2, field.ndim)
    total = field.new_zeros(())
    for a in axes:
        for b in axes:
            if b < a:
                continue
            if a == b:
                second = _slice(field, {a: 2}, axes) - 2 * _slice(field, {}, axes) + _slice(field, {a: 0}, axes)
                total = total + (second**2).sum(1).mean()
            else:
                corners = (
                    _slice(field, {a: 2, b: 2}, axes)
                    - _slice(field, {a: 2, b: 0}, axes)
                    - _slice(field, {a: 0, b: 2}, axes)
                    + _slice(field, {a: 0, b: 0}, axes)
                )
                total = total + 2 * ((corners / 4) ** 2).sum(1).mean()
    return total


def _slice(field: Tensor, start: dict[int, int], axes: Sequence[int]) -> Tensor:
    """The interior of the field, shifted by −1 (start 0), 0 (1, the default) or +1 (2) along each axis."""
    for axis in axes:
        field = field.narrow(axis, start.get(axis, 1), field.shape[axis] - 2)
    return field


def velocity_divergence(
    mean: Float[Tensor, "b d *grid"], log_variance: Float[Tensor, "b d *grid"], precision: float
) -> Float[Tensor, ""]:
    """The KL divergence of a diagonal Gaussian velocity from a smooth prior, up to a constant (``velocity KL``).

    ``½ d [mean(λ deg(x) e^s − s) + ½ λ (1/d) Σ_axis mean (D_axis μ)²]``; ``deg`` = number of grid neighbours, λ = precision.
    Source: Dalca et al., MICCAI 2018, doi:10.1007/978-3-030-00928-1_82, eq. 5.
    """
    dims = mean.ndim - 2
    degree = torch.zeros_like(mean[:1, :1])
    for axis in range(2, mean.ndim):
        size = mean.shape[axis]
        degree.narrow(axis, 1, size - 1).add_(1)
        degree.narrow(axis, 0, size - 1).add_(1)
    spread = (precision * degree * log_variance.exp() - log_variance).mean()
    return 0.5 * dims * (spread + precision * 0.5 * diffusion_mean(mean))


def huber_in_plane(field: Float[Tensor, "b d *grid"], floor: float = 0.01) -> Float[Tensor, ""]:
    """``mean_x √(ε + Σ_c Σ_{a∈{x,y}} (D_a u_c)²)`` over the first two axes, ε = ``floor`` (``huber_xy``)."""
    size_i, size_j = field.shape[2] - 1, field.shape[3] - 1
    along_i = field.diff(dim=2).narrow(3, 0, size_j)
    along_j = field.diff(dim=3).narrow(2, 0, size_i)
    return (floor + (along_i**2 + along_j**2).sum(1)).sqrt().mean()


def huber_in_time(fields: Float[Tensor, "b t d *grid"], floor: float = 0.01) -> Float[Tensor, ""]:
    """The same with the difference from frame to frame, mean over frames (``huber_t``)."""
    return (floor + (fields.diff(dim=1) ** 2).sum(2)).sqrt().mean()
