"""Hybrid CNN: a segmenter and a registration network learn together; what is found in one visit, warped, must meet the other.

Li, Niessen, Klein, de Groot, Ikram, Vernooij, Bron: A Hybrid Deep Learning Framework for Integrated Segmentation and
Registration: Evaluation on Longitudinal White Matter Tract Changes. MICCAI 2019, arXiv:1908.10219. Successor: Segis-Net,
NeuroImage 2021, arXiv:2012.14230. Departures: docs/methods/hybridcnn.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from jrscli.errors import UsageError
from jrscli.nn.networks import ImageToLogits, PairToField
from jrscli.nn.overlap import soft_dice, weighted_inner_product
from jrscli.nn.similarity import mean_square
from jrscli.nn.smoothness import diffusion_mean
from jrscli.nn.unet import UNet
from jrscli.nn.warp import warp
from jrscli.recipe import Batch, Graph, Method, Stage, Terms, Turn

LOSSES = ("wip", "dice")


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 3
    """Channels of the labels, background included (K + 1)."""
    channels: int = 1
    """Channels of an image."""
    dims: int = 3
    """Axes of the grid."""
    looks_at: int = 0
    """How many of the first contrasts the registration sees, the segmenter seeing all; 0: all."""
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Channels of both networks at 1, 1/2, 1/4 … of the resolution."""
    depth: int = 1
    """Convolutions per level."""
    loss: str = "wip"
    """How labels are compared: wip, the weighted inner product; or dice, as in Segis-Net."""
    similarity: float = 10.0
    """α, of the mean squared difference of fixed and warped image."""
    smoothness: float = 0.1
    """β, of the mean of ‖∇u‖², voxels."""
    consistency: float = 1.0
    """γ, of the warped segmentation of the moving image against the labels of the fixed one."""
    rounds: int = 2000
    """Steps."""
    rate: float = 1e-4
    """Step size."""


class FirstContrasts(nn.Module):
    """A registration network that sees the first ``count`` contrasts of each image (0: all)."""

    def __init__(self, register: PairToField, count: int) -> None:
        super().__init__()
        self.register, self.count = register, count or None

    def forward(self, fixed: Float[Tensor, "b c *grid"], moving: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """u on the fixed grid, in voxels."""
        return self.register(fixed[:, : self.count], moving[:, : self.count])


class HybridCnn(Method):
    """The recipe: ``segment`` and ``register``, of one shape and without common weights, in one stage."""

    departures = ("a", "b", "d", "e")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = c = config
        if c.loss not in LOSSES:
            raise UsageError(f"{c.loss} is not known", code="settings.value", hint=f"known: {', '.join(LOSSES)}")
        self.multiple = 2 ** (len(c.widths) - 1)
        encoder = [(width,) * c.depth for width in c.widths]

        def unet(inputs: int) -> UNet:
            return UNet(inputs, encoder, encoder[-2::-1], dims=c.dims, norm="batch", down="pool")

        register = PairToField(unet(2 * (c.looks_at or c.channels)), c.dims)
        self.networks = nn.ModuleDict(
            {
                "segment": ImageToLogits(unet(c.channels), c.classes, c.dims),
                "register": FirstContrasts(register, c.looks_at),
            }
        )

    def stages(self) -> list[Stage]:
        """One stage of one turn; without labels on a side the terms that need them are left out."""
        c = self.config
        return [Stage("joint", (Turn(("segment", "register"), self.loss, rate=c.rate),), c.rounds, decay=(0.7,))]

    def graphs(self) -> list[Graph]:
        """``register`` and ``segment``, each usable alone; of data without labels ``register``."""
        graphs = [Graph("register", self.networks["register"], ("fixed", "moving"), ("displacement",))]
        if self.config.classes > 1:
            graphs.append(Graph("segment", self.networks["segment"], ("image",), ("logits",)))
        return graphs

    def loss(self, batch: Batch) -> Terms:
        """``wip(Ŝ_M, S_M) + α mse(W(M, u), F) + β mean ‖∇u‖² + γ wip(W(Ŝ_M, u), S_F)``."""
        c = self.config
        fixed, moving = batch.pair()
        field = self.networks["register"](fixed, moving)
        self.watch(field_voxels=field.detach().norm(dim=1).mean())
        shown = c.looks_at or c.channels
        terms = {
            "similarity": c.similarity * mean_square(warp(moving, field)[:, :shown], fixed[:, :shown]),
            "smoothness": c.smoothness * c.dims**2 * diffusion_mean(field),
        }
        of_moving = self.networks["segment"](moving).softmax(1)
        known = batch.has_moving_labels
        if known is not None and batch.moving_labels is not None and bool(known.any()):
            terms["segmentation"] = self.compared(of_moving[known], batch.moving_labels[known])
        known = batch.has_fixed_labels
        if bool(known.any()):
            terms["consistency"] = c.consistency * self.consistency(of_moving[known], field[known], batch.fixed_labels[known])
        return terms

    def consistency(
        self, of_moving: Float[Tensor, "b k *grid"], field: Float[Tensor, "b d *grid"], labels: Float[Tensor, "b k *grid"]
    ) -> Float[Tensor, ""]:
        """``wip(W(Ŝ_M, u), S_F)``: what ties both networks to one another."""
        return self.compared(warp(of_moving, field), labels)

    def compared(self, p: Float[Tensor, "b k *grid"], y: Float[Tensor, "b k *grid"]) -> Float[Tensor, ""]:
        """The weighted inner product, or the Dice, of the foreground classes."""
        if self.config.loss == "dice":
            return soft_dice(p, y, background=False)
        return weighted_inner_product(p[:, 1:], y[:, 1:])


METHOD = HybridCnn
