"""SDDIR: two images help each other to be labelled, and the labels choose whose velocity moves which voxel.

Chen, Xia, Ravikumar, Frangi: Joint segmentation and discontinuity-preserving deformable registration: Application to cardiac
cine-MR images. arXiv:2211.13828, 2022. Departures: docs/methods/sddir.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jrscli.errors import UsageError
from jrscli.nn.attention import CoAttention
from jrscli.nn.overlap import cross_entropy, soft_dice
from jrscli.nn.regions import cut, hard, pasted
from jrscli.nn.similarity import mean_square
from jrscli.nn.smoothness import diffusion_mean
from jrscli.nn.unet import conv_block, half_unet, head
from jrscli.nn.warp import integrate, resize_field, warp
from jrscli.recipe import Batch, FieldKind, Graph, Method, Stage, Terms, Turn

LARGEST_ATTENTION = 4096
"""Voxels between which the attention looks: it keeps the square of their number."""
COMPOSITIONS = ("regions", "none")
SIDES = ("fixed", "moving")


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 4
    """Channels of the labels, background included (R = K + 1)."""
    channels: int = 1
    """Channels of an image."""
    dims: int = 3
    """Axes of the grid."""
    size: tuple[int, ...] = (96, 96, 16)
    """Voxels of the grid: the attention fixes it."""
    segment_widths: tuple[int, int] = (16, 32)
    """Channels of the segmenter at full and at half resolution."""
    widths: tuple[int, ...] = (16, 32, 32, 32)
    """Channels at 1/2, 1/4 … of the resolution, of the network that registers."""
    coattention: bool = True
    """Whether the images are labelled together; false is the paper's ablation -CA."""
    share_encoder: bool = False
    """One encoder, attention and decoder for both images; the paper has one for each."""
    composition: str = "regions"
    """regions; or none, the paper's ablation -DC: one field from whole images."""
    compose_with: str = "fixed"
    """Whose labels choose the region."""
    fallback: bool = True
    """Learn one smooth field from whole images too, for pairs whose labels are doubtful."""
    similarity: float = 1.0
    """Of the mean squared difference of fixed and warped image."""
    supervision: float = 0.1
    """Of the cross entropy of each image's labels."""
    overlap: float = 0.1
    """Of the Dice between warped and fixed probabilities."""
    given_labels: bool = False
    """Cut, paste and compare along the given labels, where both images have them; the paper takes what it sees, always."""
    smoothness: float = 0.01
    """Of the mean of ‖∇u_k‖²."""
    squarings: int = 7
    """Of each velocity."""
    segment_rounds: int = 0
    """Steps of the segmenter alone before (0: the paper)."""
    rounds: int = 1500
    """Steps of both."""
    rate: float = 1e-3
    """Step size."""


class Encoder(nn.Module):
    """An image to its features at full, half and a quarter of the resolution."""

    def __init__(self, channels: int, widths: Sequence[int], dims: int) -> None:
        super().__init__()
        pool: Any = {2: nn.AvgPool2d, 3: nn.AvgPool3d}[dims]
        self.fine = conv_block(channels, widths[0], dims=dims, norm="instance")
        self.middle = conv_block(widths[0], widths[1], dims=dims, norm="instance")
        self.pool = pool(2)

    def forward(self, image: Float[Tensor, "b c *grid"]) -> tuple[Tensor, Tensor, Tensor]:
        """Finest first."""
        fine = self.fine(image)
        middle = self.middle(self.pool(fine))
        return fine, middle, self.pool(middle)


class Decoder(nn.Module):
    """Features at a quarter of the resolution, and those above as skips, to logits."""

    def __init__(self, classes: int, widths: Sequence[int], dims: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.middle = conv_block(2 * widths[1], widths[1], dims=dims, norm="instance")
        self.fine = conv_block(widths[1] + widths[0], widths[0], dims=dims, norm="instance")
        self.logits = head(widths[0], classes, dims=dims, size=3)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Float[Tensor, "b k *grid"]:
        """Logits, background first."""
        x = self.middle(torch.cat([self.up(coarse), middle], dim=1))
        return self.logits(self.fine(torch.cat([self.up(x), fine], dim=1)))


class Segmenter(nn.Module):
    """Both images to the logits of both."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c, dims = config, config.dims
        sides = 1 if c.share_encoder else 2
        self.encoders = nn.ModuleList(Encoder(c.channels, c.segment_widths, dims) for _ in range(sides))
        self.decoders = nn.ModuleList(Decoder(c.classes, c.segment_widths, dims) for _ in range(sides))
        quarter = math.prod(n // 4 for n in c.size[:dims])
        coarser = 1 if quarter <= LARGEST_ATTENTION else 2
        self.attention = (
            CoAttention(c.segment_widths[1], dims, alike=c.share_encoder, coarser=coarser) if c.coattention else None
        )

    def forward(self, fixed: Float[Tensor, "b c *grid"], moving: Float[Tensor, "b c *grid"]) -> tuple[Tensor, Tensor]:
        """Ŝ_F and Ŝ_M as logits."""
        *above_m, of_moving = self.encoders[0](moving)
        *above_f, of_fixed = self.encoders[-1](fixed)
        if self.attention is not None:
            of_moving, of_fixed = self.attention(of_moving, of_fixed)
        return self.decoders[-1](*above_f, of_fixed), self.decoders[0](*above_m, of_moving)


class Velocity(nn.Module):
    """One pair of images, whole or cut to a region, to a velocity at half resolution; the same weights for all of them."""

    def __init__(self, channels: int, widths: Sequence[int], dims: int) -> None:
        super().__init__()
        self.features = half_unet(2 * channels, widths, dims=dims)
        self.velocity = head(self.features.width, dims, dims=dims, size=3, spread=1e-5)

    def forward(self, fixed: Float[Tensor, "b c *grid"], moving: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *half"]:
        """In voxels of its own grid."""
        return self.velocity(self.features(torch.cat([moving, fixed], dim=1)))

    def within(
        self, fixed: Tensor, moving: Tensor, of_fixed: Float[Tensor, "b r *grid"], of_moving: Float[Tensor, "b r *grid"]
    ) -> Float[Tensor, "b r d *half"]:
        """Of every region, each image cut along its own labels; the regions go through as one batch."""
        rows = of_fixed.shape[:2]
        found = self(cut(fixed, of_fixed).flatten(0, 1), cut(moving, of_moving).flatten(0, 1))
        return found.unflatten(0, rows)


class Joint(nn.Module):
    """What the graph ``joint`` does."""

    def __init__(self, segment: Segmenter, register: Velocity, *, regions: bool) -> None:
        super().__init__()
        self.segment, self.register, self.regions = segment, register, regions

    def forward(self, fixed: Float[Tensor, "b c *grid"], moving: Float[Tensor, "b c *grid"]) -> tuple[Tensor, Tensor, Tensor]:
        """Velocities, one region after the other, and the logits of both images."""
        of_fixed, of_moving = self.segment(fixed, moving)
        if not self.regions:
            return self.register(fixed, moving), of_fixed, of_moving
        return self.register.within(fixed, moving, hard(of_fixed), hard(of_moving)).flatten(1, 2), of_fixed, of_moving


class Alone(nn.Module):
    """What the graph ``segment`` does: the image is its own partner."""

    def __init__(self, segment: Segmenter) -> None:
        super().__init__()
        self.segment = segment

    def forward(self, image: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b k *grid"]:
        """Logits, background first."""
        return self.segment(image, image)[0]


class Sddir(Method):
    """The recipe: ``segment`` and ``register``, trained together in one stage."""

    dynamic = False
    departures = ("a", "b", "c", "d", "e")

    def __init__(self, config: Config) -> None:
        super().__init__()
        for value, known in ((config.composition, COMPOSITIONS), (config.compose_with, SIDES)):
            if value not in known:
                raise UsageError(f"{value} is not known", code="settings.value", hint=f"known: {', '.join(known)}")
        self.config = c = config
        self.parted = c.composition == "regions"
        self.field = FieldKind(
            "region_velocity" if self.parted else "velocity", c.squarings, 2, "fixed" if c.compose_with == "fixed" else "moving"
        )
        self.multiple = 2 ** max(len(c.widths), 3)
        segment, register = Segmenter(c), Velocity(c.channels, c.widths, c.dims)
        self.networks = nn.ModuleDict({"segment": segment, "register": register})
        # views of the same weights under the graphs' names: no list of modules may hold them twice
        self._segment, self._register = [segment], [register]
        self._joint, self._alone = [Joint(segment, register, regions=self.parted)], [Alone(segment)]

    def stages(self) -> list[Stage]:
        """One stage in the paper; here the segmenter may have a start."""
        c = self.config
        both = Stage("joint", (Turn(("segment", "register"), self.loss, rate=c.rate),), c.rounds, decay=(0.7,))
        alone = Turn(("segment",), self.segmentation_loss, rate=c.rate)
        first = Stage("segment", (alone,), c.segment_rounds, batches="labelled-pairs")
        return [first, both] if c.segment_rounds else [both]

    def graphs(self) -> list[Graph]:
        """``joint``; ``segment`` for one image; ``smooth`` for pairs whose labels are doubtful."""
        c = self.config
        channels = {"velocity": (c.classes if self.parted else 1) * c.dims}
        outputs = ("velocity", "fixed_logits", "moving_logits")
        graphs = [
            Graph("joint", self._joint[0], ("fixed", "moving"), outputs, channels),
            Graph("segment", self._alone[0], ("image",), ("logits",)),
        ]
        if self.parted and c.fallback:
            graphs.append(Graph("smooth", self._register[0], ("fixed", "moving"), ("velocity",)))
        return graphs

    def loss(self, batch: Batch) -> Terms:
        """``0.1 [CE + CE] + mse(W(M, u), F) + 0.1 dice(W(Ŝ_M, u), Ŝ_F) + 0.01 mean_k ‖∇u_k‖²``; also of u_smooth."""
        c = self.config
        fixed, moving = batch.pair()
        logits = self._segment[0](fixed, moving)
        terms = {name: c.supervision * value for name, value in self._supervision(batch, logits).items()}
        of_fixed, of_moving = self._compared(batch, logits)
        fields: dict[str, tuple[Tensor, Tensor]] = {}
        if self.parted:
            regions = hard(of_fixed), hard(of_moving)
            velocities = self._register[0].within(fixed, moving, *regions)
            parts = self._displacements(velocities.flatten(0, 1), fixed).unflatten(0, velocities.shape[:2])
            fields[""] = parts.flatten(0, 1), pasted(parts, regions[SIDES.index(c.compose_with)])
        if not self.parted or c.fallback:
            whole = self._displacements(self._register[0](fixed, moving), fixed)
            fields["smooth_" if self.parted else ""] = whole, whole
        for name, (each, field) in fields.items():
            self.watch(**{f"{name}field_voxels": field.detach().norm(dim=1).mean()})
            terms |= {
                f"{name}similarity": c.similarity * mean_square(warp(moving, field), fixed),
                f"{name}overlap": c.overlap * soft_dice(warp(of_moving, field), of_fixed, background=False),
                f"{name}smoothness": c.smoothness * c.dims**2 * diffusion_mean(each),
            }
        return terms

    def segmentation_loss(self, batch: Batch) -> Terms:
        """``0.1 [CE + CE]``."""
        found = self._supervision(batch, self._segment[0](*batch.pair()))
        return {name: self.config.supervision * value for name, value in found.items()}

    def _supervision(self, batch: Batch, logits: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """The cross entropy of both images, and of the fixed one as its own partner, where they have labels."""
        terms = {}
        known = batch.has_fixed_labels
        if bool(known.any()):
            terms["fixed_entropy"] = cross_entropy(logits[0][known], batch.fixed_labels[known])
            alone = self._alone[0](batch.fixed[known])
            terms["alone_entropy"] = cross_entropy(alone, batch.fixed_labels[known])
        labelled = batch.has_moving_labels
        if labelled is not None and batch.moving_labels is not None and bool(labelled.any()):
            terms["moving_entropy"] = cross_entropy(logits[1][labelled], batch.moving_labels[labelled])
        return terms

    def _compared(self, batch: Batch, logits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """S_F and S_M, what the registration is to bring onto one another and is parted by."""
        of_fixed, of_moving = (one.softmax(1) for one in logits)
        known = batch.has_moving_labels
        if not self.config.given_labels or batch.moving_labels is None or known is None:
            return of_fixed, of_moving
        both = (known & batch.has_fixed_labels).view(-1, *(1,) * (of_fixed.ndim - 1))
        return torch.where(both, batch.fixed_labels, of_fixed), torch.where(both, batch.moving_labels, of_moving)

    def _displacements(self, velocities: Tensor, image: Tensor) -> Tensor:
        return resize_field(integrate(velocities, self.config.squarings), image.shape[2:])


METHOD = Sddir
