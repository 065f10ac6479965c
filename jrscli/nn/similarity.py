"""How well two images agree, in two or three dimensions; all are minimised, per sample and then averaged."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from jrscli.nn.filters import box_sum

EPSILON = 1e-5


def global_correlation(a: Float[Tensor, "b c *grid"], b: Float[Tensor, "b c *grid"]) -> Float[Tensor, ""]:
    """``1 − r`` with Pearson's r over the whole image, 0 … 2: blind to gain and offset, not to sign (``gncc``)."""
    a, b = a.flatten(1), b.flatten(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    # the smallest number under the root keeps its slope finite where an image is constant
    scale = ((a * a).sum(1) * (b * b).sum(1)).clamp_min(1e-12).sqrt()
    return (1 - (a * b).sum(1) / (scale + EPSILON)).mean()


def local_correlation(a: Float[Tensor, "b c *grid"], b: Float[Tensor, "b c *grid"], width: int = 9) -> Float[Tensor, ""]:
    """``1 − mean C² / (V_a V_b + ε)`` over boxes of ``width`` voxels, 0 … 1 (``lncc``).

    Squared: blind to inverted contrast. Beyond the border lie zeros, which count.
    Source: Balakrishnan et al., IEEE TMI 2019, doi:10.1109/TMI.2019.2897538.
    """
    dims = a.ndim - 2
    size = width**dims

    def total(x: Tensor) -> Tensor:
        return box_sum(x, (width // 2,) * dims)

    sum_a, sum_b = total(a), total(b)
    cross = total(a * b) - sum_a * sum_b / size
    var_a = (total(a * a) - sum_a**2 / size).clamp_min(0)
    var_b = (total(b * b) - sum_b**2 / size).clamp_min(0)
    return 1 - (cross**2 / (var_a * var_b + EPSILON)).mean()


def mean_square(
    a: Float[Tensor, "b c *grid"], b: Float[Tensor, "b c *grid"], mask: Float[Tensor, "b 1 *grid"] | None = None
) -> Float[Tensor, ""]:
    """Mean squared difference; with a mask ``Σ m (a − b)² / max(1, Σ m)``."""
    if mask is None:
        return ((a - b) ** 2).mean()
    mask = mask.expand_as(a)
    return (mask * (a - b) ** 2).sum() / mask.sum().clamp_min(1)


def mean_absolute(a: Float[Tensor, "b c *grid"], b: Float[Tensor, "b c *grid"]) -> Float[Tensor, ""]:
    """Mean absolute difference (``l1``)."""
    return (a - b).abs().mean()
