"""Vocal tract: the masks of a frozen segmenter enter the registration network, so that it can follow what touches and parts.

Ruthven, Miquel, King: A segmentation-informed deep learning framework to register dynamic two-dimensional magnetic resonance
images of the vocal tract during speech. Biomedical Signal Processing and Control 80:104290, 2023,
doi:10.1016/j.bspc.2022.104290. Departures: docs/methods/vocaltract.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jrscli.nn.networks import PairToField
from jrscli.nn.overlap import cross_entropy, rare_weights, soft_dice
from jrscli.nn.similarity import mean_square
from jrscli.nn.smoothness import diffusion_mean
from jrscli.nn.unet import UNet, head, voxelmorph2_unet
from jrscli.nn.warp import warp
from jrscli.recipe import Batch, Graph, Method, Stage, Terms, Turn

PAPER_WIDTHS = (64, 128, 256, 512, 1024)
"""Of the segmenter in the paper: 31 million weights."""


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 7
    """Channels of the labels, background included (K + 1)."""
    channels: int = 1
    """Channels of an image."""
    dims: int = 2
    """Axes of the grid."""
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Channels of the segmenter at 1, 1/2, 1/4 … of the resolution; the paper: `PAPER_WIDTHS`."""
    dropout: float = 0.5
    """Of the segmenter's features at its two coarsest levels, while it learns."""
    masks: bool = True
    """Whether masks enter the registration network; false is the plain network they are compared with."""
    clean_up: float = 0.1
    """Parts of a mask smaller than this share of its largest one are dropped before the registration sees them."""
    smoothness: float = 0.01
    """λ, of the diffusion of the displacement, voxels."""
    overlap: float = 1.0
    """γ, of the Dice between warped and fixed labels."""
    segment_rounds: int = 800
    """Steps of the segmenter."""
    register_rounds: int = 1500
    """Steps of the registration."""
    segment_rate: float = 1e-3
    """Step size of the segmenter."""
    register_rate: float = 3e-4
    """Step size of the registration."""


class Segmenter(nn.Module):
    """An image to logits: two 3^d convolutions per level, dropout where it is coarsest."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = config
        encoder, decoder = [(w, w) for w in c.widths], [(w, w, w) for w in c.widths[-2::-1]]
        self.features = UNet(c.channels, encoder, decoder, dims=c.dims, norm="batch", down="pool", up="transpose", slope=0.0)
        self.drop = nn.Dropout(c.dropout)
        self.logits = head(self.features.width, c.classes, dims=c.dims)

    def forward(self, image: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b k *grid"]:
        """Logits, background first."""
        *upper, fourth, fifth = self.features.pyramid(image)
        return self.logits(self.features.climb([*upper, self.drop(fourth), self.drop(fifth)])[-1])


class Informed(PairToField):
    """Both images, and the K masks of each where there are masks, to a displacement."""

    def forward(
        self,
        fixed: Float[Tensor, "b c *grid"],
        moving: Float[Tensor, "b c *grid"],
        fixed_labels: Float[Tensor, "b m *grid"] | None = None,
        moving_labels: Float[Tensor, "b m *grid"] | None = None,
    ) -> Float[Tensor, "b d *grid"]:
        """u on the fixed grid, in voxels."""
        if fixed_labels is not None and moving_labels is not None:
            fixed, moving = torch.cat([fixed, fixed_labels], dim=1), torch.cat([moving, moving_labels], dim=1)
        return super().forward(fixed, moving)


class VocalTract(Method):
    """The recipe: ``segment``, then ``register`` with ``segment`` frozen."""

    departures = ("a", "c", "d", "e")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = c = config
        self.multiple = 2 ** max(len(c.widths) - 1, 4)
        self.clean_up = c.clean_up
        self.requires = ("fixed_labels", "moving_labels") if c.masks else ()
        inputs = 2 * c.channels + (2 * (c.classes - 1) if c.masks else 0)
        features = voxelmorph2_unet(inputs, dims=c.dims, norm="batch", slope=0.0)
        self.networks = nn.ModuleDict({"segment": Segmenter(c), "register": Informed(features, c.dims)})

    def stages(self) -> list[Stage]:
        """The segmenter; then the registration, which sees what the segmenter finds and is judged by the true labels."""
        c = self.config
        segment = Turn(("segment",), self.segmentation_loss, rate=c.segment_rate)
        register = Turn(("register",), self.registration_loss, rate=c.register_rate)
        return [
            Stage("segment", (segment,), c.segment_rounds, batches="labelled", decay=(0.7,)),
            Stage("register", (register,), c.register_rounds, batches="labelled-pairs", decay=(0.7,)),
        ]

    def graphs(self) -> list[Graph]:
        """``register``, which looks at the masks of both images, and ``segment``, which finds them."""
        masks = dict.fromkeys(self.requires, self.config.classes - 1)
        return [
            Graph("register", self.networks["register"], ("fixed", "moving", *self.requires), ("displacement",), masks),
            Graph("segment", self.networks["segment"], ("image",), ("logits",)),
        ]

    def segmentation_loss(self, batch: Batch) -> Terms:
        """Cross entropy, rare classes weighing more."""
        labels = batch.fixed_labels
        return {"entropy": cross_entropy(self.networks["segment"](batch.fixed), labels, rare_weights(labels))}

    def registration_loss(self, batch: Batch) -> Terms:
        """``mse(W(M, u), F) + λ diffusion(u) + γ dice(W(S_M, u), S_F)``: true labels here, found ones at the input."""
        c = self.config
        fixed, moving = batch.pair()
        of_fixed, of_moving = batch.both_labels()
        field = self.networks["register"](fixed, moving, *self._masks(fixed, moving))
        self.watch(field_voxels=field.detach().norm(dim=1).mean())
        return {
            "similarity": mean_square(warp(moving, field), fixed),
            "smoothness": c.smoothness * diffusion_mean(field),
            "overlap": c.overlap * soft_dice(warp(of_moving, field), of_fixed, background=False),
        }

    def _masks(self, *images: Tensor) -> Sequence[Tensor]:
        """K masks of each image as they will be in use: found by the frozen segmenter, cleaned up."""
        if not self.config.masks:
            return ()
        with torch.no_grad():
            return [self.own_labels(self.networks["segment"](image))[:, 1:] for image in images]


METHOD = VocalTract
