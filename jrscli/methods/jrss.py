"""JRSS: a teacher labels the unlabelled images, but for doubtful ones; registration learns from these labels and perturbs them.

Shi et al.: Joint few-shot registration and segmentation self-training of 3D medical images. Biomedical Signal Processing and
Control 80:104294, 2023, doi:10.1016/j.bspc.2022.104294. Made from its abstract and published summaries; what is ours is said in
docs/methods/jrss.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from jrscli.errors import UsageError
from jrscli.nn.averaging import approach
from jrscli.nn.networks import ImageToLogits, PairToField
from jrscli.nn.overlap import cross_entropy, rectified_cross_entropy, soft_dice
from jrscli.nn.similarity import global_correlation
from jrscli.nn.smoothness import bending
from jrscli.nn.unet import light_unet, voxelmorph_unet
from jrscli.nn.warp import warp
from jrscli.recipe import Batch, Graph, Method, Stage, Terms, Turn

REMEMBERED = 20
"""How many of the last unlabelled images tell the share that is accepted."""
SAMPLING = ("whole", "dss")


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
    """λ_r, of the bending of displacements in voxels."""
    anatomy: float = 3.0
    """λ_d, of the Dice between warped and fixed labels."""
    threshold: float = 0.9
    """τ: how sure the teacher must be of a voxel, and on the mean of the foreground of an image."""
    share: float = 0.3
    """The joint rounds begin when this share of the unlabelled images is accepted."""
    keep: float = 0.99
    """m: how much of the teacher stays in each round."""
    dropout: float = 0.3
    """Of the student."""
    sampling: str = "whole"
    """The student sees images warped by u (whole), or by α·u with α drawn from 0 … 1 (dss)."""
    pretrain_register: int = 400
    """Steps of the registration network alone."""
    pretrain_teacher: int = 600
    """Steps of the teacher on the labelled images."""
    self_training: int = 300
    """Rounds of the segmentation alone, at most."""
    joint_rounds: int = 400
    """Rounds of registration and student."""
    register_repeats: int = 1
    """Registration steps for one step of the student."""
    pretrain_rate: float = 1e-3
    """Step size while a network learns alone."""
    register_rate: float = 5e-4
    """Step size of the registration network in the joint rounds."""
    student_rate: float = 5e-4
    """Step size of the student."""


class Target(NamedTuple):
    """What an image is to be labelled, row by row.

    labels: given where known, else the teacher's. weight: 1 where they count: everywhere, or where the teacher is sure of an
    image that was accepted. teacher: its probabilities.
    """

    labels: Float[Tensor, "b k *grid"]
    weight: Float[Tensor, "b 1 *grid"]
    teacher: Float[Tensor, "b k *grid"]
    known: Bool[Tensor, "b"]

    def warped(self, field: Float[Tensor, "b d *grid"]) -> Target:
        """All of it after a displacement."""
        return Target(warp(self.labels, field), warp(self.weight, field), warp(self.teacher, field), self.known)


class Jrss(Method):
    """The recipe: ``register``; ``teacher`` and ``student``, the same network but for the student's dropout."""

    recent: Tensor
    multiple = 16
    departures = ("a", "b", "c", "d", "f")

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.sampling not in SAMPLING:
            raise UsageError(f"no sampling is called {config.sampling}", code="settings.value", hint=f"known: {SAMPLING}")
        self.config = config
        c, dims = config, config.dims
        self.networks = nn.ModuleDict(
            {
                "register": PairToField(voxelmorph_unet(2 * c.channels, dims=dims), dims),
                "teacher": ImageToLogits(light_unet(c.channels, dims=dims), c.classes, dims),
                "student": ImageToLogits(light_unet(c.channels, dims=dims), c.classes, dims, c.dropout),
            }
        )
        self.register_buffer("recent", torch.zeros(REMEMBERED))

    def stages(self) -> list[Stage]:
        """Both alone; the segmentation by itself until enough pseudo-labels pass; then both."""
        c = self.config
        alone = Turn(("register",), self.unsupervised_loss, rate=c.pretrain_rate)
        teach = Turn(("teacher",), self.teacher_loss, rate=c.pretrain_rate)
        learn = Turn(("student",), self.student_loss, rate=c.student_rate)
        register = Turn(("register",), self.registration_loss, repeats=c.register_repeats, rate=c.register_rate)
        warped = Turn(("student",), self.perturbed_loss, rate=c.student_rate)
        return [
            Stage("pretrain registration", (alone,), c.pretrain_register, decay=(0.7,)),
            Stage("pretrain teacher", (teach,), c.pretrain_teacher, batches="labelled", decay=(0.7,)),
            Stage(
                "self-training",
                (learn,),
                c.self_training,
                before=self.begin,
                after_round=self.average,
                until=lambda: float(self.recent.mean()) >= c.share,
            ),
            Stage("joint", (register, warped), c.joint_rounds, decay=(0.7,), after_round=self.average),
        ]

    def graphs(self) -> list[Graph]:
        """``register``, and the teacher as ``segment``."""
        return [
            Graph("register", self.networks["register"], ("fixed", "moving"), ("displacement",)),
            Graph("segment", self.networks["teacher"], ("image",), ("logits",)),
        ]

    def begin(self) -> None:
        """The student starts as what the teacher has learned from the labels."""
        approach(self.networks["student"], self.networks["teacher"], keep=0)

    def average(self, _: int) -> None:
        """``teacher ← m·teacher + (1 − m)·student``."""
        approach(self.networks["teacher"], self.networks["student"], self.config.keep)

    def unsupervised_loss(self, batch: Batch) -> Terms:
        """``L_i + λ_r L_r``."""
        return self._registered(batch)[1]

    def teacher_loss(self, batch: Batch) -> Terms | None:
        """The Dice of all classes on a labelled image; None where its labels are missing."""
        if not bool(batch.has_fixed_labels.all()):
            return None
        guess = self.networks["teacher"](batch.fixed).softmax(1)
        return {"dice": soft_dice(guess, batch.fixed_labels, present=batch.classes_present)}

    def registration_loss(self, batch: Batch) -> Terms:
        """``L_i + λ_r L_r + λ_d L_d(W(S*_M, u), S*_F)``, S* = the labels, or the pseudo-labels that pass."""
        field, terms = self._registered(batch)
        fixed, moving = self.targets(batch)
        moved = moving.warped(field)
        weight = (fixed.weight * moved.weight).detach()
        rows = weight.flatten(1).sum(1) > 0
        if not bool(rows.any()):
            return terms
        p, q = (moved.labels * weight)[rows], (fixed.labels * weight)[rows]
        return {**terms, "anatomy": self.config.anatomy * soft_dice(p, q, present=batch.classes_present[rows])}

    def student_loss(self, batch: Batch) -> Terms | None:
        """Both images of a pair as they are; None where nothing is known of either."""
        fixed, moving = self.targets(batch, remember=True)
        return self._taught(batch, list(batch.pair()), [fixed, moving])

    def perturbed_loss(self, batch: Batch) -> Terms | None:
        """The same, and the moving image after the registration with its labels warped alike."""
        images = batch.pair()
        fixed, moving = self.targets(batch, remember=True)
        with torch.no_grad():
            field = self.networks["register"](*images)
            if self.config.sampling == "dss":
                field = field * torch.rand(len(field)).to(field).view(-1, *(1,) * (field.ndim - 1))
            warped = warp(images[1], field)
        return self._taught(batch, [*images, warped], [fixed, moving, moving.warped(field)])

    @torch.no_grad()
    def targets(self, batch: Batch, *, remember: bool = False) -> tuple[Target, Target]:
        """Of the fixed and of the moving image. remember: count how many unlabelled images are accepted."""
        fixed, moving = batch.pair()
        if batch.moving_labels is None or batch.has_moving_labels is None:
            raise ValueError("this loss needs the field 'moving_labels'; draw the stage's batches as 'pairs'")
        known = torch.cat([batch.has_fixed_labels, batch.has_moving_labels])
        given = torch.cat([batch.fixed_labels, batch.moving_labels])
        t = self.networks["teacher"](torch.cat([fixed, moving])).softmax(1)
        hard, sure, accepted = self.screened(t)
        if remember and not bool(known.all()):
            self.recent.copy_(torch.cat([self.recent, accepted[~known].float()])[-REMEMBERED:])
            self.watch(accepted=self.recent.mean(), sure_voxels=sure[~known].mean())
        rows = known.view(-1, *(1,) * (t.ndim - 1))
        labels = torch.where(rows, given, hard)
        weight = torch.where(rows, 1.0, sure * accepted.view_as(rows))
        both = Target(labels, weight, t, known)
        one, other = zip(*(part.chunk(2) for part in both), strict=True)
        return Target(*one), Target(*other)

    def screened(self, t: Float[Tensor, "b k *grid"]) -> tuple[Tensor, Tensor, Tensor]:
        """Pseudo-labels (one-hot), where the teacher is sure of them (1 or 0), and which images it may label at all."""
        confidence, label = t.max(1, keepdim=True)
        hard = functional.one_hot(label.squeeze(1), t.shape[1]).movedim(-1, 1).to(t)
        inside = (label > 0).to(t).flatten(1)
        mean = (confidence.flatten(1) * inside).sum(1) / inside.sum(1).clamp_min(1)
        return hard, (confidence > self.config.threshold).to(t), mean > self.config.threshold

    def _registered(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        fixed, moving = batch.pair()
        field = self.networks["register"](fixed, moving)
        self.watch(field_voxels=field.detach().norm(dim=1).mean())
        terms = {
            "similarity": global_correlation(warp(moving, field), fixed),
            "smoothness": self.config.smoothness * bending(field),
        }
        return field, terms

    def _taught(self, batch: Batch, images: list[Tensor], targets: list[Target]) -> Terms | None:
        """CE and Dice where labels are given, rectified CE on the pseudo-labels that pass."""
        labels, weight, teacher, known = (torch.cat(parts) for parts in zip(*targets, strict=True))
        pseudo = ~known & (weight.flatten(1).sum(1) > 0)
        if not bool((known | pseudo).any()):
            return None
        logits = self.networks["student"](torch.cat(images))
        terms = {}
        if bool(known.any()):
            present = torch.cat([batch.classes_present] * len(images))[known]
            terms["entropy"] = cross_entropy(logits[known], labels[known])
            terms["dice"] = soft_dice(logits[known].softmax(1), labels[known], present=present)
        if bool(pseudo.any()):
            terms["rectified"] = rectified_cross_entropy(logits[pseudo], labels[pseudo], teacher[pseudo], weight[pseudo])
        return terms


METHOD = Jrss
