"""Concurrent: one encoder reads both images; its codes are subtracted to register, and taken singly to find tumours.

Estienne, Lerousseau, Vakalopoulou and others: Deep Learning-Based Concurrent Brain Registration and Tumor Segmentation.
Frontiers in Computational Neuroscience 14:17, 2020, doi:10.3389/fncom.2020.00017. Departures: docs/methods/concurrent.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jrscli.errors import UsageError
from jrscli.nn.adversarial import halfway
from jrscli.nn.overlap import cross_entropy, rare_weights
from jrscli.nn.similarity import mean_square
from jrscli.nn.unet import codes_of, conv_block, head
from jrscli.nn.warp import warp
from jrscli.recipe import Batch, Graph, Method, Stage, Terms, Turn

DEPTHS = (1, 2, 3, 3, 3)
"""3^d convolutions of each level of the encoder."""
CLIMBS = (3, 3, 2, 1)
"""The same of the decoders, coarsest first."""
MERGES = ("subtract", "concat")


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 4
    """Channels of the labels, background included (the paper: three classes of tumour)."""
    channels: int = 2
    """Channels of an image: contrasts of one visit."""
    dims: int = 3
    """Axes of the grid."""
    width: int = 8
    """Channels at full resolution; they double with each of four halvings."""
    merge: str = "subtract"
    """How the codes of both images meet: subtract or concat."""
    masked: bool = True
    """Whether images need not match where a tumour is predicted; false is the paper's ablation."""
    supervision: float = 1.0
    """Of the cross entropy of each image's labels."""
    similarity: float = 1.0
    """β, of the (masked) mean squared difference of fixed and warped image."""
    evenness: float = 1e-3
    """α, of the mean of |Ψ − ½|."""
    rounds: int = 2000
    """Steps."""
    rate: float = 2e-3
    """Step size."""


class Block(nn.Module):
    """``first``, then convolutions; what they give is added to the first activated map."""

    def __init__(self, first: nn.Module, widths: Sequence[int], dims: int) -> None:
        super().__init__()
        self.first = nn.Sequential(first, nn.ReLU())
        self.convolutions = nn.Sequential(*(conv_block(a, b, dims=dims, slope=0.0) for a, b in pairwise(widths)))

    def forward(self, x: Tensor, *beside: Tensor) -> Tensor:
        """The block's map; ``beside``: what the convolutions see besides."""
        start = self.first(x)
        return start + self.convolutions(torch.cat([start, *beside], dim=1))


class Encoder(nn.Module):
    """An image to its codes at 1, 1/2 … 1/16 of the resolution."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dims, before = config.dims, config.channels
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        self.levels = nn.ModuleList()
        for level, depth in enumerate(DEPTHS):
            width = config.width * 2**level
            first = conv(before, width, 2, stride=2) if level else conv(before, width, 1)
            self.levels.append(Block(first, [width] * (depth + 1), dims))
            before = width

    def forward(self, image: Float[Tensor, "b c *grid"]) -> list[Tensor]:
        """Finest first."""
        return codes_of(self.levels, image)


class Decoder(nn.Module):
    """Codes of all levels to a map at full resolution. times: how many times as wide as the encoder's they are."""

    def __init__(self, config: Config, outputs: int, times: int = 1) -> None:
        super().__init__()
        dims = config.dims
        up: Any = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]
        self.levels = nn.ModuleList()
        before = times * config.width * 2 ** len(CLIMBS)
        for level, depth in zip(range(len(CLIMBS) - 1, -1, -1), CLIMBS, strict=True):
            width = config.width * 2**level
            self.levels.append(Block(up(before, width, 2, stride=2), [(1 + times) * width, *[width] * depth], dims))
            before = width
        self.out = head(before, outputs, dims=dims)

    def forward(self, codes: Sequence[Tensor]) -> Float[Tensor, "b o *grid"]:
        """What the last convolution gives."""
        *upper, x = codes
        for level, code in zip(self.levels, upper[::-1], strict=True):
            x = level(x, code)
        return self.out(x)


def subtracted(fixed: Tensor, moving: Tensor) -> Tensor:
    """Nothing where the codes agree, and its own negative where the images are exchanged."""
    return fixed - moving


def joined(fixed: Tensor, moving: Tensor) -> Tensor:
    """Both codes."""
    return torch.cat([fixed, moving], dim=1)


def accumulated(psi: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b d *grid"]:
    """``u_n = Σ_{i ≤ x_n} (2 Ψ_n − 1)`` along each axis n, voxels: nothing for Ψ = ½, monotone for Ψ > 0.

    It is the grid of increments 2Ψ less the identity and less one: without the one everything would be shifted by a voxel.
    """
    step = 2 * psi - 1
    return torch.cat([step[:, n : n + 1].cumsum(n + 2) for n in range(psi.shape[1])], dim=1)


class Joint(nn.Module):
    """What the graph ``joint`` does."""

    def __init__(self, encoder: Encoder, segment: Decoder, register: Decoder, merge: str) -> None:
        super().__init__()
        self.encoder, self.segment, self.register = encoder, segment, register
        self.merge = {"subtract": subtracted, "concat": joined}[merge]

    def increments(self, fixed: Sequence[Tensor], moving: Sequence[Tensor]) -> Float[Tensor, "b d *grid"]:
        """Ψ, 0 … 1, from the codes of both images."""
        return torch.sigmoid(self.register([self.merge(a, b) for a, b in zip(fixed, moving, strict=True)]))

    def forward(self, fixed: Float[Tensor, "b c *grid"], moving: Float[Tensor, "b c *grid"]) -> tuple[Tensor, Tensor, Tensor]:
        """The displacement, and the logits of both images."""
        of_fixed, of_moving = self.encoder(fixed), self.encoder(moving)
        return accumulated(self.increments(of_fixed, of_moving)), self.segment(of_fixed), self.segment(of_moving)


class Alone(nn.Module):
    """What the graph ``segment`` does."""

    def __init__(self, encoder: Encoder, segment: Decoder) -> None:
        super().__init__()
        self.encoder, self.segment = encoder, segment

    def forward(self, image: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b k *grid"]:
        """Logits, background first."""
        return self.segment(self.encoder(image))


class Concurrent(Method):
    """The recipe: ``encoder``, ``segment`` and ``register``, trained together."""

    multiple = 2 ** len(CLIMBS)
    departures = ("a", "c", "e", "f")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = c = config
        if c.merge not in MERGES:
            raise UsageError(f"{c.merge} is not known", code="settings.value", hint=f"known: {', '.join(MERGES)}")
        encoder, segment = Encoder(c), Decoder(c, c.classes)
        register = Decoder(c, c.dims, times=2 if c.merge == "concat" else 1)
        # Ψ starts at ½ all but exactly: a fresh network moves nothing, however many increments are summed up
        nn.init.normal_(register.out.get_parameter("weight"), std=1e-4)
        nn.init.zeros_(register.out.get_parameter("bias"))
        self.networks = nn.ModuleDict({"encoder": encoder, "segment": segment, "register": register})
        # views of the same weights under the graphs' names: no list of modules may hold them twice
        self._joint, self._alone = [Joint(encoder, segment, register, c.merge)], [Alone(encoder, segment)]

    def stages(self) -> list[Stage]:
        """One stage of one turn."""
        c = self.config
        every = Turn(("encoder", "segment", "register"), self.loss, rate=c.rate)
        return [Stage("joint", (every,), c.rounds, decay=(0.6, 0.85))]

    def graphs(self) -> list[Graph]:
        """``joint``, and ``segment`` for one image."""
        return [
            Graph("joint", self._joint[0], ("fixed", "moving"), ("displacement", "fixed_logits", "moving_logits")),
            Graph("segment", self._alone[0], ("image",), ("logits",)),
        ]

    def loss(self, batch: Batch) -> Terms:
        """``CE(Ŝ_M, S_M) + CE(Ŝ_F, S_F) + β masked-mse(F, W(M, u)) + α mean |Ψ − ½|``; labels that are missing cost nothing."""
        c = self.config
        fixed, moving = batch.pair()
        of_fixed, of_moving = (self.networks["encoder"](image) for image in (fixed, moving))
        logits = {"fixed": self.networks["segment"](of_fixed), "moving": self.networks["segment"](of_moving)}
        psi = self._joint[0].increments(of_fixed, of_moving)
        field = accumulated(psi)
        self.watch(field_voxels=field.detach().norm(dim=1).mean())
        mask = self.healthy(logits["fixed"], logits["moving"], field) if c.masked else None
        terms = {
            "similarity": c.similarity * mean_square(warp(moving, field), fixed, mask),
            "evenness": c.evenness * halfway(psi),
        }
        given = {
            "fixed": (batch.fixed_labels, batch.has_fixed_labels),
            "moving": (batch.moving_labels, batch.has_moving_labels),
        }
        for side, (labels, known) in given.items():
            if labels is not None and known is not None and bool(known.any()):
                true = labels[known]
                terms[f"{side}_entropy"] = c.supervision * cross_entropy(logits[side][known], true, rare_weights(true))
        return terms

    @torch.no_grad()
    def healthy(self, fixed: Tensor, moving: Tensor, field: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b 1 *grid"]:
        """``W(1_M, u) · 1_F``, 1 where the logits of an image say background: where both images have to match."""
        background = [(logits.argmax(1, keepdim=True) == 0).to(field) for logits in (fixed, moving)]
        return warp(background[1], field) * background[0]


METHOD = Concurrent
