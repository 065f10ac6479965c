"""Attention between the features of two images."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Listening(nn.Module):
    """What one image takes from a message of the other: a gate, 0 … 1 at every voxel, times the message.

    ``O = BNact(conv(cat(C, σ(A) · A)))`` with ``σ(A) = sigmoid(conv(A))``, all convolutions of one voxel.
    """

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        norm: Any = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims]
        self.openness = conv(channels, 1, 1)
        self.joined = nn.Sequential(conv(2 * channels, channels, 1), norm(channels), nn.LeakyReLU(0.2))

    def gate(self, message: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b 1 *grid"]:
        """σ(A)."""
        return torch.sigmoid(self.openness(message))

    def forward(self, own: Float[Tensor, "b c *grid"], message: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b c *grid"]:
        """O."""
        return self.joined(torch.cat([own, self.gate(message) * message], dim=1))


class CoAttention(nn.Module):
    """Two images' features, each enriched by what the other one shows where it looks alike.

    ``S = f(C_M) g(C_F)ᵀ`` between all N voxels of one and all of the other; ``A_M = softmax(S) h₂(C_F)``,
    ``A_F = softmax(Sᵀ) h₁(C_M)`` along the rows. alike: f = g, h₁ = h₂ and one way of listening: neither image has a role.
    coarser: the attention looks at means over so many voxels along each axis (N² weights have to be kept).

    Source: Chen et al., arXiv:2211.13828, section 3; after Lu et al., CVPR 2019, arXiv:2001.06810.
    """

    def __init__(self, channels: int, dims: int, *, alike: bool = False, coarser: int = 1) -> None:
        super().__init__()
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        pool: Any = {2: nn.AvgPool2d, 3: nn.AvgPool3d}[dims]
        count = 1 if alike else 2
        self.look = nn.ModuleList(conv(channels, channels, 1) for _ in range(count))
        self.say = nn.ModuleList(conv(channels, channels, 1) for _ in range(count))
        self.hear = nn.ModuleList(Listening(channels, dims) for _ in range(count))
        self.down = pool(coarser) if coarser > 1 else nn.Identity()
        self.up = nn.Upsample(scale_factor=coarser, mode="nearest") if coarser > 1 else nn.Identity()

    def weights(
        self, of_moving: Float[Tensor, "b c *grid"], of_fixed: Float[Tensor, "b c *grid"]
    ) -> tuple[Float[Tensor, "b n n"], Float[Tensor, "b n n"]]:
        """softmax(S) and softmax(Sᵀ): how much each voxel of the moving image looks at each of the fixed one, and back."""
        a, b = self.look[0](of_moving).flatten(2), self.look[-1](of_fixed).flatten(2)
        return torch.softmax(a.transpose(1, 2) @ b, dim=2), torch.softmax(b.transpose(1, 2) @ a, dim=2)

    def forward(self, of_moving: Float[Tensor, "b c *grid"], of_fixed: Float[Tensor, "b c *grid"]) -> tuple[Tensor, Tensor]:
        """O_M and O_F."""
        small_m, small_f = self.down(of_moving), self.down(of_fixed)
        to_fixed, to_moving = self.weights(small_m, small_f)
        from_fixed = self.say[-1](small_f).flatten(2) @ to_fixed.transpose(1, 2)
        from_moving = self.say[0](small_m).flatten(2) @ to_moving.transpose(1, 2)
        message_m = self.up(from_fixed.view_as(small_m))
        message_f = self.up(from_moving.view_as(small_f))
        return self.hear[0](of_moving, message_m), self.hear[-1](of_fixed, message_f)
