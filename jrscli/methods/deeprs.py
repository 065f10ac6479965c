"""DeepRS: scaled deformations augment the segmenter, a judge says where warped labels may be trusted, regions guide the field.

He et al.: Deep Complementary Joint Model for Complex Scene Registration and Few-shot Segmentation on Medical Images. ECCV 2020,
arXiv:2008.00710. Departures: docs/methods/deeprs.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jrscli.nn.adversarial import fooling_loss, judge_loss
from jrscli.nn.networks import ImageToLogits, PairToField
from jrscli.nn.overlap import confidence_weighted_cross_entropy, cross_entropy, region_consistency
from jrscli.nn.similarity import local_correlation
from jrscli.nn.smoothness import diffusion_mean
from jrscli.nn.unet import UNet, voxelmorph2_unet
from jrscli.nn.warp import warp
from jrscli.recipe import Batch, Graph, Method, Stage, Terms, Turn


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 3
    """Channels of the labels, background included (K + 1)."""
    channels: int = 1
    """Channels of an image."""
    dims: int = 3
    """Axes of the grid."""
    width: int = 16
    """Channels of the first level of segmenter and judge; they double on each of four levels."""
    sampling: bool = True
    """DSS: displacements are scaled by α, drawn from 0 … 1 for each pair (off: α = 1)."""
    adversarial: float = 1.0
    """λ_adv, of the judge's word in the registration."""
    region: float = 10.0
    """λ_drc, of the region constraint (DRC)."""
    similarity: float = 1.0
    """λ_cc, of the local correlation."""
    smoothness: float = 1.0
    """λ_R, of the diffusion of the displacement."""
    confidence: float = 1.0
    """λ_acm, of the entropy on the fixed image, weighted by the alignment confidence map (ACM)."""
    supervision: float = 1.0
    """λ_ce, of the entropy on the warped image."""
    blend: float = 0.1
    """β: how much of the moving image is in what the judge is to take for aligned."""
    warm_up: int = 500
    """Steps of the registration by similarity and smoothness alone."""
    rounds: int = 600
    """Rounds of one step each of registration, segmentation and judge."""
    rate: float = 2e-4
    """Step size of all three."""
    segment_rate: float = 0.0
    """Of the segmenter, where it has one of its own (0: that of all)."""


class Deeprs(Method):
    """The recipe: ``register``, ``segment`` and ``judge``, one step each per round; the judge is not exported."""

    multiple = 16
    departures = ("a", "d", "e", "f", "g", "h")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        c, dims = config, config.dims
        widths = [(c.width * n, c.width * n) for n in (1, 2, 4, 8)]

        def unet(inputs: int) -> UNet:
            return UNet(inputs, widths, widths[-2::-1], dims=dims, norm="group", down="pool")

        self.networks = nn.ModuleDict(
            {
                "register": PairToField(voxelmorph2_unet(2 * c.channels, dims=dims), dims),
                "segment": ImageToLogits(unet(c.channels), c.classes, dims),
                "judge": ImageToLogits(unet(2 * c.channels), 1, dims),
            }
        )

    def stages(self) -> list[Stage]:
        """The registration by itself, then all three; every moving image is labelled, the fixed ones are not."""
        c = self.config
        alone = Turn(("register",), self.warm_up_loss, rate=c.rate, optimiser="rmsprop")
        turns = (
            Turn(("register",), self.registration_loss, rate=c.rate, optimiser="rmsprop"),
            Turn(("segment",), self.segmentation_loss, rate=c.segment_rate or c.rate),
            Turn(("judge",), self.judge_loss, rate=c.rate, optimiser="rmsprop"),
        )
        return [
            Stage("warm-up", (alone,), c.warm_up, batches="pairs"),
            Stage("joint", turns, c.rounds, batches="labelled-moving"),
        ]

    def graphs(self) -> list[Graph]:
        """``register`` and ``segment``, each usable alone."""
        return [
            Graph("register", self.networks["register"], ("fixed", "moving"), ("displacement",)),
            Graph("segment", self.networks["segment"], ("image",), ("logits",)),
        ]

    def warm_up_loss(self, batch: Batch) -> Terms:
        """The registration's terms without λ_adv and λ_drc."""
        return self._registered(batch)[1]

    def registration_loss(self, batch: Batch) -> Terms:
        """``−λ_adv log D(x_w, F) + λ_drc DRC(Seg(x_w), Seg(F)) + λ_cc L_cc(x_w, F) + λ_R L_R(u)``."""
        c = self.config
        x_w, terms = self._registered(batch)
        with torch.no_grad():
            of_fixed = self.networks["segment"](batch.fixed).softmax(1)
        terms["adversarial"] = c.adversarial * fooling_loss(self._judged(x_w, batch.fixed))
        terms["region"] = c.region * region_consistency(self.networks["segment"](x_w).softmax(1), of_fixed)
        return terms

    def segmentation_loss(self, batch: Batch) -> Terms | None:
        """``λ_acm ACM-CE(D(x_w, F), W(S_M, û), Seg(F)) + λ_ce CE(Seg(x_w), W(S_M, û))``; None without labels of M."""
        if batch.moving_labels is None or batch.has_moving_labels is None:
            raise ValueError("this loss needs the field 'moving_labels'; draw the stage's batches as 'labelled-moving'")
        if not bool(batch.has_moving_labels.all()):
            return None
        with torch.no_grad():
            field = self._sampled(self._field(batch))
            x_w, labels = warp(batch.pair()[1], field), warp(batch.moving_labels, field)
            trust = torch.sigmoid(self._judged(x_w, batch.fixed))
        self.watch(confidence=trust.mean())
        of_fixed, of_warped = self.networks["segment"](torch.cat([batch.fixed, x_w])).chunk(2)
        return {
            "confidence": self.config.confidence * confidence_weighted_cross_entropy(of_fixed, labels, trust),
            "supervision": self.config.supervision * cross_entropy(of_warped, labels),
        }

    def judge_loss(self, batch: Batch) -> Terms:
        """``−log D(x_r, F) − log(1 − D(x_w, F))`` with ``x_r = βM + (1 − β)F``."""
        fixed, moving = batch.pair()
        with torch.no_grad():
            x_w = warp(moving, self._sampled(self._field(batch)))
        x_r = self.config.blend * moving + (1 - self.config.blend) * fixed
        real, fake = self._judged(torch.cat([x_r, x_w]), torch.cat([fixed, fixed])).chunk(2)
        right = torch.cat([real > 0, fake < 0]).float().mean()
        self.watch(accuracy=right, real=torch.sigmoid(real.detach()).mean(), fake=torch.sigmoid(fake.detach()).mean())
        return {"judge": judge_loss(real, fake)}

    def _registered(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """``x_w = W(M, û)``, and the terms that need nobody else."""
        field = self._field(batch)
        self.watch(field_voxels=field.detach().norm(dim=1).mean())
        x_w = warp(batch.pair()[1], self._sampled(field))
        return x_w, {
            "similarity": self.config.similarity * local_correlation(x_w, batch.fixed),
            "smoothness": self.config.smoothness * diffusion_mean(field),
        }

    def _field(self, batch: Batch) -> Float[Tensor, "b d *grid"]:
        """u."""
        return self.networks["register"](*batch.pair())

    def _sampled(self, field: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b d *grid"]:
        """``û = α·u``."""
        if not self.config.sampling:
            return field
        return field * torch.rand(len(field)).to(field).view(-1, *(1,) * (field.ndim - 1))

    def _judged(self, first: Tensor, fixed: Tensor) -> Float[Tensor, "b 1 *grid"]:
        """Logits of D(first, F): how likely each voxel is aligned."""
        return self.networks["judge"](torch.cat([first, fixed], dim=1))


METHOD = Deeprs
