"""The U-Net of every recipe, in two or three dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Norm = Literal["none", "batch", "instance", "group"]

GROUPS = 8
"""Of group norm, where the channels can be divided so."""

_CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_NORM: dict[str, dict[int, Any]] = {
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
}


def conv_block(
    inputs: int, outputs: int, *, dims: int = 3, norm: Norm = "none", slope: float = 0.2, stride: int | tuple[int, ...] = 1
) -> nn.Module:
    """A 3^d convolution, its norm and LeakyReLU; ``stride`` 2 halves the grid, a stride per axis those axes."""
    layers: list[nn.Module] = [_CONV[dims](inputs, outputs, 3, stride=stride, padding=1)]
    if norm == "group":
        layers.append(nn.GroupNorm(math.gcd(GROUPS, outputs), outputs))
    elif norm != "none":
        layers.append(_NORM[norm][dims](outputs, **({"affine": True} if norm == "instance" else {})))
    layers.append(nn.LeakyReLU(slope))
    return nn.Sequential(*layers)


def head(inputs: int, outputs: int, *, dims: int = 3, size: int = 1, spread: float | None = None) -> nn.Module:
    """A last convolution of ``size``^d; with ``spread`` its weights start with that SD and no bias: a field near zero."""
    conv = _CONV[dims](inputs, outputs, size, padding=size // 2)
    if spread is not None:
        nn.init.normal_(conv.weight, std=spread)
        nn.init.zeros_(conv.bias)
    return conv


def halving(level: int, flat: int, dims: int) -> tuple[int, ...]:
    """The factor per axis of the halving to ``level`` (from 1): the first ``flat`` ones leave the last axis as it is.

    Thick slices: an axis that is sampled coarsely already is not halved before the others are as coarse.
    """
    return (*[2] * (dims - 1), 1 if level <= flat else 2)


def codes_of(levels: Iterable[nn.Module], x: Float[Tensor, "b c *grid"]) -> list[Tensor]:
    """What each level of an encoder gives, one after the other."""
    codes = []
    for level in levels:
        x = level(x)
        codes.append(x)
    return codes


class UNet(nn.Module):
    """An encoder-decoder with skips from every level; returns features at the resolution of its last decoder level.

    encoder: widths of the convolutions of each level, finest first; every level after the first halves the grid, by max pooling
    (``down="pool"``) or by the stride of its first convolution (``"stride"``). A first level without any hands on the input.
    decoder: widths of each level on the way up; with ``up="transpose"`` the first number of each is the width of the 2^d
    transposed convolution, with ``"nearest"`` the grid is doubled by repetition. Fewer decoder levels than the encoder has
    leave the output at a lower resolution. flat: so many halvings, the finest ones, leave the last axis as it is.
    """

    def __init__(
        self,
        inputs: int,
        encoder: Sequence[Sequence[int]],
        decoder: Sequence[Sequence[int]],
        *,
        dims: int = 3,
        norm: Norm = "none",
        down: Literal["pool", "stride"] = "stride",
        up: Literal["nearest", "transpose"] = "nearest",
        slope: float = 0.2,
        flat: int = 0,
    ) -> None:
        super().__init__()
        self.down, self.ups, self.up_blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width, skips = inputs, list[int]()
        for level, widths in enumerate(encoder):
            halves = level > 0
            factor = halving(level, flat, dims)
            layers: list[nn.Module] = [_POOL[dims](factor)] if halves and down == "pool" else []
            for n, (a, b) in enumerate(pairwise((width, *widths))):
                stride = factor if halves and down == "stride" and n == 0 else 1
                layers.append(conv_block(a, b, dims=dims, norm=norm, slope=slope, stride=stride))
            self.down.append(nn.Sequential(*layers))
            width = widths[-1] if widths else width
            skips.insert(0, width)
        for level, (widths, skip) in enumerate(zip(decoder, skips[1:], strict=False)):
            factor = halving(len(encoder) - 1 - level, flat, dims)
            if up == "transpose":
                self.ups.append(_UP[dims](width, widths[0], factor, stride=factor))
                width, widths = widths[0], widths[1:]
            else:
                self.ups.append(nn.Upsample(scale_factor=factor, mode="nearest"))
            steps = pairwise((width + skip, *widths))
            self.up_blocks.append(nn.Sequential(*(conv_block(a, b, dims=dims, norm=norm, slope=slope) for a, b in steps)))
            width = widths[-1]
        self.width = width

    def pyramid(self, x: Float[Tensor, "b c *grid"]) -> list[Tensor]:
        """The encoder's features, finest first."""
        return codes_of(self.down, x)

    def climb(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The decoder's features from those of the encoder, coarsest first: the encoder's last, then one per decoder level."""
        found = [levels[-1]]
        skips = list(levels[:-1])[::-1]
        for up, block, skip in zip(self.ups, self.up_blocks, skips, strict=False):
            found.append(block(torch.cat([up(found[-1]), skip], dim=1)))
        return found

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Tensor:
        """The features of the last decoder level."""
        return self.climb(self.pyramid(x))[-1]


def voxelmorph_unet(inputs: int, *, dims: int = 3) -> UNet:
    """The registration U-Net of VoxelMorph as DeepAtlas uses it, with skips from all levels, the full resolution included.

    Source: Balakrishnan et al., CVPR 2018, doi:10.1109/CVPR.2018.00964.
    """
    return UNet(inputs, ((16,), (32,), (32,), (32,), (32,)), ((32,), (32,), (32,), (8, 8)), dims=dims)


def voxelmorph2_unet(inputs: int, *, dims: int = 3, norm: Norm = "none", slope: float = 0.2) -> UNet:
    """The larger registration U-Net of VoxelMorph (VoxelMorph-2): two convolutions more, and the images as the first skip.

    Source: Balakrishnan et al., CVPR 2018, doi:10.1109/CVPR.2018.00964.
    """
    encoder = ((), (16,), (32,), (32,), (32, 32))
    return UNet(inputs, encoder, ((32,), (32,), (32, 32), (16, 16)), dims=dims, norm=norm, slope=slope)


def half_unet(inputs: int, widths: Sequence[int] = (16, 32, 32, 32), *, dims: int = 3) -> UNet:
    """The U-Net of VoxelMorph-diff: ``widths`` at 1/2, 1/4 … of the resolution, and back up to 1/2.

    Source: Dalca et al., MICCAI 2018, doi:10.1007/978-3-030-00928-1_82.
    """
    *upper, deepest = widths
    encoder = ((), *((width,) for width in upper), (deepest, deepest))
    decoder = (*((width,) for width in upper[:0:-1]), (upper[1], upper[0]))
    return UNet(inputs, encoder, decoder, dims=dims)


def light_unet(inputs: int, *, dims: int = 3) -> UNet:
    """The light segmentation U-Net of DeepAtlas: max pooling down, transposed convolutions up.

    Source: Xu, Niethammer, MICCAI 2019, doi:10.1007/978-3-030-32245-8_47.
    """
    encoder, decoder = ((8, 16), (16, 32), (32, 64), (64, 64)), ((64, 64, 64), (64, 32, 32), (32, 16, 16))
    return UNet(inputs, encoder, decoder, dims=dims, norm="batch", down="pool", up="transpose", slope=0.01)
