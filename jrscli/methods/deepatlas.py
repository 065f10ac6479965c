"""DeepAtlas: two separate networks teach each other; a missing label is replaced by the segmenter's guess.

Xu, Niethammer: DeepAtlas: Joint Semi-Supervised Learning of Image Registration and Segmentation. MICCAI 2019,
doi:10.1007/978-3-030-32245-8_47, arXiv:1904.08465. Departures: docs/methods/deepatlas.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jrscli.nn.networks import ImageToLogits, PairToField
from jrscli.nn.overlap import soft_dice
from jrscli.nn.similarity import global_correlation
from jrscli.nn.smoothness import bending
from jrscli.nn.unet import light_unet, voxelmorph_unet
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
    smoothness: float = 1.0
    """λ_r, for displacements in voxels (the paper's 20,000 is for coordinates in [−1, 1]: about 3 here)."""
    anatomy: float = 3.0
    """λ_a, of the Dice between warped and fixed labels."""
    supervision: float = 3.0
    """λ_sp, of the segmenter's Dice against given labels."""
    pretrain_register: int = 400
    """Steps of the registration network alone."""
    pretrain_segment: int = 600
    """Steps of the segmentation network alone."""
    joint_rounds: int = 50
    """Rounds of the alternation."""
    register_repeats: int = 20
    """Registration steps for one segmentation step."""
    pretrain_rate: float = 1e-3
    """Step size while each network learns alone."""
    register_rate: float = 5e-4
    """Step size of the registration network in the alternation."""
    segment_rate: float = 1e-4
    """Step size of the segmentation network in the alternation."""


class Given(NamedTuple):
    """Labels of one image: given, or the segmenter's guess."""

    labels: Tensor
    known: bool


class DeepAtlas(Method):
    """The recipe: ``register`` and ``segment``, first alone, then in turns of 20 : 1."""

    multiple = 16
    departures = ("a", "b", "c", "e")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleDict(
            {
                "register": PairToField(voxelmorph_unet(2 * config.channels, dims=config.dims), config.dims),
                "segment": ImageToLogits(light_unet(config.channels, dims=config.dims), config.classes, config.dims),
            }
        )

    def stages(self) -> list[Stage]:
        """Both networks alone until they over-fit (the best by validation is kept), then the alternation."""
        c = self.config
        register = Turn(("register",), self.registration_loss, repeats=c.register_repeats, rate=c.register_rate)
        segment = Turn(("segment",), self.segmentation_loss, rate=c.segment_rate)
        alone = Turn(("register",), self.unsupervised_loss, rate=c.pretrain_rate)
        supervised = Turn(("segment",), self.supervised_loss, rate=c.pretrain_rate)
        return [
            Stage("pretrain registration", (alone,), c.pretrain_register, decay=(0.7,)),
            Stage("pretrain segmentation", (supervised,), c.pretrain_segment, batches="labelled", decay=(0.7,)),
            Stage("joint", (segment, register), c.joint_rounds, decay=(0.7,)),
        ]

    def graphs(self) -> list[Graph]:
        """``register`` and ``segment``, each usable alone."""
        return [
            Graph("register", self.networks["register"], ("fixed", "moving"), ("displacement",)),
            Graph("segment", self.networks["segment"], ("image",), ("logits",)),
        ]

    def unsupervised_loss(self, batch: Batch) -> Terms:
        """``L_i + λ_r L_r``: similarity and bending of the registration alone."""
        fixed, moving = batch.pair()
        field = self.networks["register"](fixed, moving)
        return self._image_terms(fixed, moving, field)

    def supervised_loss(self, batch: Batch) -> Terms | None:
        """``λ_sp L_sp(Ŝ, S)`` of a labelled image; None where its labels are missing."""
        if not _all(batch.has_fixed_labels):
            return None
        guess = self._guess(batch.fixed)
        return {"supervision": self.config.supervision * self._dice(guess, batch.fixed_labels, batch)}

    def registration_loss(self, batch: Batch) -> Terms:
        """``L_i + λ_r L_r + λ_a L_a(W(S*_M, u), S*_F)``, S* = the labels, or the guess where they are missing."""
        fixed, moving = batch.pair()
        field = self.networks["register"](fixed, moving)
        with torch.no_grad():
            of_fixed, of_moving = self._given(batch)
        terms = self._image_terms(fixed, moving, field)
        present = batch if of_fixed.known or of_moving.known else None
        overlap = self._dice(warp(of_moving.labels, field), of_fixed.labels, present)
        return {**terms, "anatomy": self.config.anatomy * overlap}

    def segmentation_loss(self, batch: Batch) -> Terms | None:
        """The four cases: the guess meets the warped or fixed label of its partner, and its own label where there is one."""
        fixed, moving = batch.pair()
        knows_fixed, knows_moving = _all(batch.has_fixed_labels), _all(batch.has_moving_labels)
        if not (knows_fixed or knows_moving):
            return None
        with torch.no_grad():
            field = self.networks["register"](fixed, moving)
        c = self.config
        of_fixed, of_moving = self._given(batch)
        anatomy = c.anatomy * self._dice(warp(of_moving.labels, field), of_fixed.labels, batch)
        if knows_moving:
            own = self._dice(self._guess(moving), _labels(batch.moving_labels), batch)
        else:
            own = self._dice(self._guess(fixed), batch.fixed_labels, batch)
        return {"anatomy": anatomy, "supervision": c.supervision * own}

    def _image_terms(self, fixed: Tensor, moving: Tensor, field: Tensor) -> dict[str, Tensor]:
        return {
            "similarity": global_correlation(warp(moving, field), fixed),
            "smoothness": self.config.smoothness * bending(field),
        }

    def _guess(self, image: Tensor) -> Tensor:
        """Ŝ."""
        return self.networks["segment"](image).softmax(1)

    def _given(self, batch: Batch) -> tuple[Given, Given]:
        """S* of the fixed and of the moving image."""
        fixed, moving = batch.pair()
        knows_fixed, knows_moving = _all(batch.has_fixed_labels), _all(batch.has_moving_labels)
        return (
            Given(batch.fixed_labels if knows_fixed else self._guess(fixed), knows_fixed),
            Given(_labels(batch.moving_labels) if knows_moving else self._guess(moving), knows_moving),
        )

    def _dice(self, p: Tensor, q: Tensor, batch: Batch | None) -> Tensor:
        return soft_dice(p, q, present=batch.classes_present if batch else None)


def _all(known: Tensor | None) -> bool:
    """Whether every row has labels: the rows of a batch are drawn alike."""
    return known is not None and bool(known.all())


def _labels(labels: Tensor | None) -> Tensor:
    if labels is None:
        raise ValueError("this loss needs the field 'moving_labels'; draw the stage's batches as 'pairs'")
    return labels


METHOD = DeepAtlas
