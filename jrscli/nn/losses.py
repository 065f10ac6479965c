"""Similarity and smoothness terms; all are minimised."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from jrscli.nn.filters import box_sum


class LocalCorrelation:
    """Local squared correlation of a fixed image with others; the fixed image's own sums are taken once.

    ``cc = C² / ((V_f + e)(V_m + e))`` in a box of ``2·radius + 1`` voxels: 1 where the images agree up to a local scale and
    shift of their grey values, of either sign. ``e`` is a noise floor: texture weaker than ``noise`` (an SD) hardly counts.

    Source: Avants et al., Medical Image Analysis 12(1), 2008, doi:10.1016/j.media.2007.06.004; the noise floor is ours.
    """

    def __init__(
        self,
        fixed: Float[Tensor, "b c i j k"],
        radius: Sequence[int],
        noise: float,
        weight: Float[Tensor, "b 1 i j k"] | None = None,
    ) -> None:
        self.fixed = fixed
        self.radius = tuple(min(r, n - 1) for r, n in zip(radius, fixed.shape[2:], strict=True))
        self.floor = noise**2
        self.count = box_sum(torch.ones_like(fixed[:1, :1]), self.radius)
        self.mean = box_sum(fixed, self.radius) / self.count
        self.variance = (box_sum(fixed * fixed, self.radius) / self.count - self.mean**2).clamp_min(0)
        self.weight = weight

    def _moments(self, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Local covariance with the fixed image, and the product of both variances."""
        batch, channels = moved.shape[:2]
        sums = box_sum(torch.cat([moved, moved * moved, moved * self.fixed], dim=1), self.radius) / self.count
        mean, square, product = sums.view(batch, 3, channels, *moved.shape[2:]).unbind(1)
        variance = (square - mean**2).clamp_min(0)
        return product - mean * self.mean, (self.variance + self.floor) * (variance + self.floor)

    def map(self, moved: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c i j k"]:
        """cc at every voxel, 0 … 1."""
        covariance, variances = self._moments(moved)
        return covariance**2 / variances

    def signed_map(self, moved: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c i j k"]:
        """cc with the sign of the covariance, −1 … 1."""
        covariance, variances = self._moments(moved)
        return covariance * covariance.abs() / variances

    def __call__(self, moved: Float[Tensor, "b c i j k"]) -> Float[Tensor, ""]:
        """1 − mean cc."""
        cc = self.map(moved)
        if self.weight is None:
            return 1 - cc.mean()
        return 1 - (cc * self.weight).sum() / self.weight.sum().clamp_min(1e-6) / cc.shape[1]


class MutualInformation:
    """Normalised mutual information ``2 (H_f + H_m − H_fm) / (H_f + H_m)`` of a fixed image with others, 0 … 1.

    Grey values lie between 0 and 1 and are spread linearly over the two nearest of ``bins`` bins, so that it has a slope.

    Source: Maes et al., IEEE TMI 16(2), 1997, doi:10.1109/42.563664.
    """

    def __init__(self, fixed: Float[Tensor, "n"], bins: int = 20) -> None:
        self.bins = torch.arange(bins, device=fixed.device, dtype=fixed.dtype)
        self.fixed = self._spread(fixed)

    def _spread(self, grey: Float[Tensor, "*n"]) -> Float[Tensor, "*n bins"]:
        return (1 - (grey[..., None] * (len(self.bins) - 1) - self.bins).abs()).clamp_min(0)

    def __call__(self, moved: Float[Tensor, "b n"], weight: Float[Tensor, "b n"]) -> Float[Tensor, "b"]:
        """The information of each row, every voxel counting by its weight."""
        joint = self.fixed.T @ (self._spread(moved) * weight[..., None])
        joint = joint / joint.sum((1, 2), keepdim=True).clamp_min(1e-6)
        one, other, both = _entropy(joint.sum(2)), _entropy(joint.sum(1)), _entropy(joint.flatten(1))
        return 2 * (one + other - both) / (one + other + 1e-3)


def _entropy(p: Float[Tensor, "b n"]) -> Float[Tensor, "b"]:
    return -(p * (p + 1e-9).log()).sum(1)


class FeatureDistance:
    """Mean squared distance of feature channels, the fixed ones given once; ``weight`` says how much each voxel counts."""

    def __init__(self, fixed: Float[Tensor, "b c i j k"], weight: Float[Tensor, "b 1 i j k"] | None = None) -> None:
        self.fixed = fixed
        self.weight = weight

    def __call__(self, moved: Float[Tensor, "b c i j k"]) -> Float[Tensor, ""]:
        """The weighted mean over voxels of the channels' mean squared difference."""
        distance = (moved - self.fixed) ** 2
        if self.weight is None:
            return distance.mean()
        return (distance * self.weight).sum() / self.weight.sum().clamp_min(1e-6) / distance.shape[1]


def diffusion(field: Float[Tensor, "b 3 i j k"], spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Float[Tensor, ""]:
    """Mean squared forward difference per ``spacing`` of every component along every axis."""
    total = field.new_zeros(())
    for axis in range(3):
        if field.shape[axis + 2] > 1:
            total = total + ((field.diff(dim=axis + 2) / spacing[axis]) ** 2).mean()
    return total


def diffusion_slope(
    field: Float[Tensor, "b 3 i j k"], spacing: Sequence[float] = (1.0, 1.0, 1.0)
) -> Float[Tensor, "b 3 i j k"]:
    """The gradient of `diffusion` in the field, written out: five times faster than leaving it to autograd."""
    slope = torch.zeros_like(field)
    for axis in range(2, 5):
        size = field.shape[axis]
        if size > 1:
            step = field.diff(dim=axis)
            step *= 2 / (step.numel() * spacing[axis - 2] ** 2)
            slope.narrow(axis, 1, size - 1).add_(step)
            slope.narrow(axis, 0, size - 1).sub_(step)
    return slope
