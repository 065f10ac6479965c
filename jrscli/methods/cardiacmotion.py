"""Joint cardiac motion and segmentation: one encoder serves a recurrent estimator of motion and a segmenter of each frame.

Qin, Bai, Schlemper, Petersen, Piechnik, Neubauer, Rueckert: Joint Learning of Motion Estimation and Segmentation for Cardiac MR
Image Sequences. MICCAI 2018, arXiv:1806.04066, doi:10.1007/978-3-030-00934-2_53. Departures: docs/methods/cardiacmotion.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from jrscli.nn.overlap import cross_entropy, soft_dice
from jrscli.nn.similarity import mean_square
from jrscli.nn.smoothness import huber_in_plane, huber_in_time
from jrscli.nn.unet import codes_of, conv_block, head
from jrscli.nn.warp import warp
from jrscli.recipe import Batch, Graph, Method, Stage, Terms, Turn

DEPTHS = (2, 2, 3, 3, 3)
"""Convolutions of each level of the encoder; every level after the first halves the grid."""
WIDTHS = (64, 128, 256, 512, 512)
"""Their channels in the paper."""
MERGED = 64
"""Channels of each level in a head, in the paper."""


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 4
    """Channels of the labels, background included."""
    channels: int = 1
    """Channels of a frame."""
    dims: int = 2
    """Axes of the grid."""
    width: float = 0.25
    """Of all channels; 1 is the paper."""
    smooth_space: float = 1e-3
    """α, of the Huber-like norm of each field's slope in the plane, voxels."""
    smooth_time: float = 1e-4
    """β, of the same norm of the fields' change from frame to frame."""
    supervision: float = 0.01
    """λ₁, of the cross entropy of frames with labels."""
    carried: float = 1e-3
    """λ₂, of the cross entropy between the labels of frame 0 and the warped segmentation of frames without labels."""
    overlap: float = 0.0
    """Of the Dice between the labels of frame 0 and the warped labels of the other labelled frame (0: the paper)."""
    motion_rounds: int = 600
    """Steps of the motion alone."""
    segment_rounds: int = 400
    """Steps of the segmenter's head, the encoder frozen."""
    joint_rounds: int = 600
    """Steps of both."""
    rate: float = 1e-4
    """Step size."""

    def wide(self, channels: int) -> int:
        """So many channels, at this width."""
        return max(int(channels * self.width), 1)


class Encoder(nn.Module):
    """A frame to its codes at 1, 1/2 … 1/16 of the resolution."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        before = config.channels
        for level, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
            layers = []
            for n in range(depth):
                stride = 2 if level and n == 0 else 1
                layers.append(_block(before, config.wide(width), config, stride=stride))
                before = config.wide(width)
            self.levels.append(nn.Sequential(*layers))

    def forward(self, image: Float[Tensor, "b c *grid"]) -> list[Tensor]:
        """Finest first."""
        return codes_of(self.levels, image)


class Merge(nn.Module):
    """Codes of all levels, each enlarged to the full resolution, to one map of features. images: whose codes come together."""

    def __init__(self, config: Config, images: int) -> None:
        super().__init__()
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[config.dims]
        width = config.wide(MERGED)
        self.width = width
        self.mode = {2: "bilinear", 3: "trilinear"}[config.dims]
        self.levels = nn.ModuleList(_block(images * config.wide(w), width, config) for w in WIDTHS)
        self.together = nn.Sequential(
            conv(len(WIDTHS) * width, width, 1), nn.LeakyReLU(0.01), conv(width, width, 1), nn.LeakyReLU(0.01)
        )

    def forward(self, *codes: Sequence[Tensor]) -> Float[Tensor, "b w *grid"]:
        """The features."""
        wide = []
        for level, (block, *of_images) in enumerate(zip(self.levels, *codes, strict=True)):
            x = block(torch.cat(of_images, dim=1))
            wide.append(functional.interpolate(x, scale_factor=float(2**level), mode=self.mode) if level else x)
        return self.together(torch.cat(wide, dim=1))


class Motion(nn.Module):
    """Codes of two frames and the flow of the frame before to the flow of this one, in [-1, 1] units of the image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dims = config.dims
        self.merge = Merge(config, 2)
        self.seen = head(self.merge.width, dims, dims=dims, size=3, spread=1e-4)
        self.before = head(dims, dims, dims=dims, size=3, spread=0.05)

    def forward(
        self, fixed: Sequence[Tensor], moving: Sequence[Tensor], hidden: Float[Tensor, "b d *grid"]
    ) -> Float[Tensor, "b d *grid"]:
        """``h_k = tanh(W_x ∗ x_k + W_h ∗ h_{k−1} + b)``: the flow is its own memory."""
        return torch.tanh(self.seen(self.merge(fixed, moving)) + self.before(hidden))


def in_voxels(flow: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b d *grid"]:
    """``u = h (n − 1) / 2`` along each axis of n voxels."""
    dims = flow.ndim - 2
    return torch.cat([flow[:, n : n + 1] * ((flow.shape[n + 2] - 1) / 2) for n in range(dims)], dim=1)


class SegmentHead(nn.Module):
    """Codes of one frame to its logits."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.merge = Merge(config, 1)
        self.logits = head(self.merge.width, config.classes, dims=config.dims)

    def forward(self, codes: Sequence[Tensor]) -> Float[Tensor, "b k *grid"]:
        """Logits, background first."""
        return self.logits(self.merge(codes))


class Step(nn.Module):
    """What the graph ``step`` does: one frame of the loop, which the runtime runs over the sequence."""

    def __init__(self, encoder: Encoder, motion: Motion, segment: SegmentHead) -> None:
        super().__init__()
        self.encoder, self.motion, self.segment = encoder, motion, segment

    def forward(
        self, fixed: Float[Tensor, "b c *grid"], moving: Float[Tensor, "b c *grid"], hidden: Float[Tensor, "b d *grid"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The displacement that takes the frame onto the fixed one, the frame's logits, and what the next step wants back."""
        codes = self.encoder(moving)
        flow = self.motion(self.encoder(fixed), codes, hidden)
        return in_voxels(flow), self.segment(codes), flow


class Segment(nn.Module):
    """What the graph ``segment`` does."""

    def __init__(self, encoder: Encoder, segment: SegmentHead) -> None:
        super().__init__()
        self.encoder, self.segment = encoder, segment

    def forward(self, image: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b k *grid"]:
        """Logits, background first."""
        return self.segment(self.encoder(image))


class CardiacMotion(Method):
    """The recipe: ``encoder``, ``motion`` and ``segment``."""

    multiple = 2 ** (len(DEPTHS) - 1)
    requires = ("sequence",)
    departures = ("a", "b", "c", "d", "e", "f")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        encoder, motion, segment = Encoder(config), Motion(config), SegmentHead(config)
        self.networks = nn.ModuleDict({"encoder": encoder, "motion": motion, "segment": segment})
        # views of the same weights under the graphs' names: no list of modules may hold them twice
        self._step, self._segment = [Step(encoder, motion, segment)], [Segment(encoder, segment)]

    def stages(self) -> list[Stage]:
        """Motion on all data; the segmenter's head on the frozen encoder; both."""
        c = self.config
        motion = Turn(("encoder", "motion"), self.motion_loss, rate=c.rate)
        segment = Turn(("segment",), self.segmentation_loss, rate=c.rate)
        joint = Turn(("encoder", "motion", "segment"), self.joint_loss, rate=c.rate)
        return [
            Stage("motion", (motion,), c.motion_rounds, batches="sequences", decay=(0.7,)),
            Stage("segment", (segment,), c.segment_rounds, batches="labelled", decay=(0.7,)),
            Stage("joint", (joint,), c.joint_rounds, batches="sequences", decay=(0.7,)),
        ]

    def graphs(self) -> list[Graph]:
        """``step`` and ``segment``; each holds the encoder."""
        return [
            Graph(
                "step",
                self._step[0],
                ("fixed", "moving", "hidden"),
                ("displacement", "logits", "hidden"),
                {"hidden": self.config.dims},
            ),
            Graph("segment", self._segment[0], ("image",), ("logits",)),
        ]

    def through(
        self, frames: Float[Tensor, "b t c *grid"]
    ) -> tuple[Float[Tensor, "b n d *grid"], list[Float[Tensor, "b t w *coarse"]]]:
        """u_1 … u_T, each taking its frame onto frame 0, and the codes of all frames; the loop of the runtime, in torch."""
        count = frames.shape[:2]
        codes = [level.unflatten(0, count) for level in self.networks["encoder"](frames.flatten(0, 1))]
        fixed = [level[:, 0] for level in codes]
        hidden = torch.zeros_like(frames[:, 0, :1]).repeat(1, self.config.dims, *(1,) * self.config.dims)
        fields = []
        for k in range(1, count[1]):
            hidden = self.networks["motion"](fixed, [level[:, k] for level in codes], hidden)
            fields.append(in_voxels(hidden))
        return torch.stack(fields, dim=1), codes

    def motion_loss(self, batch: Batch) -> Terms:
        """``L_m = (1/T) Σ_k [mse(W(I_k, u_k), I_0) + α huber_xy(u_k)] + β huber_t(u)``."""
        frames = _sequence(batch)
        return self._motion(batch, frames, self.through(frames)[0])

    def segmentation_loss(self, batch: Batch) -> Terms:
        """``CE`` of single frames with labels."""
        return {"entropy": cross_entropy(self._segment[0](batch.fixed), batch.fixed_labels)}

    def joint_loss(self, batch: Batch) -> Terms:
        """``L = L_m + λ₁ L_s + λ₂ L_w``."""
        c = self.config
        frames = _sequence(batch)
        fields, codes = self.through(frames)
        terms = dict(self._motion(batch, frames, fields))
        logits = self.networks["segment"]([level.flatten(0, 1) for level in codes]).unflatten(0, frames.shape[:2])
        labelled = {0: (batch.fixed_labels, batch.has_fixed_labels)}
        if batch.moving_labels is not None and batch.has_moving_labels is not None:
            labelled[batch.moving_frame] = (batch.moving_labels, batch.has_moving_labels)
        for k, (labels, known) in labelled.items():
            if bool(known.any()):
                terms[f"entropy_{'moving' if k else 'fixed'}"] = c.supervision * cross_entropy(logits[known, k], labels[known])
        known = batch.has_fixed_labels
        others = [k for k in range(1, frames.shape[1]) if k not in labelled]
        if others and bool(known.any()):
            carried = []
            for k in others:
                warped = warp(logits[known, k].softmax(1), fields[known, k - 1])
                carried.append(cross_entropy(warped.clamp_min(1e-6).log(), batch.fixed_labels[known]))
            terms["carried"] = c.carried * torch.stack(carried).mean()
        return terms

    def _motion(self, batch: Batch, frames: Tensor, fields: Tensor) -> Terms:
        c = self.config
        warped = warp(frames[:, 1:].flatten(0, 1), fields.flatten(0, 1))
        self.watch(field_voxels=fields.detach().norm(dim=2).mean())
        terms = {
            "similarity": mean_square(warped, frames[:, :1].expand_as(frames[:, 1:]).flatten(0, 1)),
            "smooth_space": c.smooth_space * huber_in_plane(fields.flatten(0, 1)),
        }
        if fields.shape[1] > 1:
            terms["smooth_time"] = c.smooth_time * huber_in_time(fields)
        labels, known = batch.moving_labels, batch.has_moving_labels
        if c.overlap and labels is not None and known is not None and bool((both := known & batch.has_fixed_labels).any()):
            carried = warp(labels[both], fields[both, batch.moving_frame - 1])
            terms["overlap"] = c.overlap * soft_dice(carried, batch.fixed_labels[both], background=False)
        return terms


def _block(inputs: int, outputs: int, config: Config, *, stride: int = 1) -> nn.Module:
    return conv_block(inputs, outputs, dims=config.dims, norm="batch", slope=0.0, stride=stride)


def _sequence(batch: Batch) -> Float[Tensor, "b t c *grid"]:
    if batch.sequence is None:
        raise ValueError("this loss needs the field 'sequence'; draw the stage's batches as 'sequences'")
    return batch.sequence


METHOD = CardiacMotion
