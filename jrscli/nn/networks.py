"""The two plain networks of many recipes: a pair to a field, an image to logits."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jrscli.nn.unet import UNet, head


class PairToField(nn.Module):
    """A U-Net of both images, moving first, and a convolution to a field that starts near zero.

    features: takes the channels of both images.
    """

    def __init__(self, features: UNet, dims: int) -> None:
        super().__init__()
        self.features = features
        self.field = head(features.width, dims, dims=dims, size=3, spread=1e-5)

    def forward(self, fixed: Float[Tensor, "b c *grid"], moving: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """u on the fixed grid, in voxels."""
        return self.field(self.features(torch.cat([moving, fixed], dim=1)))


class ImageToLogits(nn.Module):
    """A U-Net and a convolution to ``outputs`` logits. dropout: of its coarsest and of its last features, while it learns."""

    def __init__(self, features: UNet, outputs: int, dims: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.features = features
        self.logits = head(features.width, outputs, dims=dims)
        self.drop = nn.Dropout(dropout)

    def forward(self, image: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b k *grid"]:
        """Logits, background first."""
        levels = self.features.pyramid(image)
        levels[-1] = self.drop(levels[-1])
        return self.logits(self.drop(self.features.climb(levels)[-1]))
