"""One U-Net reads both images alike; its features segment each, and a second decoder turns both into an antisymmetric velocity.

Our own recipe, made of published parts: shared features for both tasks, symmetric training (Estienne et al., Learn2Reg 2020), a
stationary velocity (Arsigny et al., MICCAI 2006), Dice on warped labels (Balakrishnan et al., IEEE TMI 2019,
doi:10.1109/TMI.2019.2897538). Design and scores: docs/methods/siamese.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jrscli.nn.overlap import cross_entropy, merged_undrawn, soft_dice
from jrscli.nn.similarity import local_correlation
from jrscli.nn.smoothness import diffusion_mean
from jrscli.nn.unet import UNet, conv_block, halving, head
from jrscli.nn.warp import integrate, resize_field, warp
from jrscli.recipe import Batch, FieldKind, Graph, Method, Stage, Terms, Turn


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 3
    """Channels of the labels, background included."""
    channels: int = 1
    """Channels of an image."""
    dims: int = 3
    """Axes of the grid."""
    widths: tuple[int, ...] = (24, 40, 64, 64)
    """Channels at 1/2, 1/4, 1/8 … of the resolution."""
    fine: int = 0
    """Channels at the full resolution, where the features meet the image once more before the logits (0: none)."""
    flat: int = 0
    """So many halvings, the finest ones, leave the last axis as it is: for slices much thicker than their pixels are wide."""
    similarity: float = 0.3
    """Weight of the local correlation of fixed and warped image."""
    smoothness: float = 0.1
    """Weight of the diffusion of the velocity."""
    overlap: float = 1.0
    """Weight of the Dice of fixed and warped labels."""
    supervision: float = 1.0
    """Weight of cross entropy and Dice of the segmentation."""
    squarings: int = 7
    """Of the velocity."""
    segment_rounds: int = 1500
    """Steps of the segmentation alone."""
    joint_rounds: int = 900
    """Steps of both tasks."""
    segment_rate: float = 2e-3
    """Step size of the segmentation alone."""
    joint_rate: float = 1e-3
    """Step size of both tasks."""


class Backbone(nn.Module):
    """An image to its features at 1/2, 1/4 … of the resolution, and to logits at full resolution."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        dims, first = config.dims, config.widths[0]
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        up: Any = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]
        stride = halving(1, config.flat, dims)
        size = tuple(step + 2 for step in stride)
        self.stem = nn.Sequential(conv(config.channels, first, size, stride=stride, padding=1), nn.LeakyReLU(0.1))
        widths = [(width, width) for width in config.widths]
        flat = max(config.flat - 1, 0)
        self.features = UNet(first, widths, widths[-2::-1], dims=dims, norm="instance", slope=0.1, flat=flat)
        self.logits = up(first, config.classes + config.fine, size, stride=stride, padding=1)
        if config.fine:
            self.finest = Finest(config)

    def forward(self, image: Float[Tensor, "b c *grid"]) -> list[Tensor]:
        """Decoder features, coarsest first."""
        return self.features.climb(self.features.pyramid(self.stem(image)))

    def labelled(self, image: Float[Tensor, "b c *grid"], features: Sequence[Tensor]) -> Float[Tensor, "b classes *grid"]:
        """Logits of an image whose features are at hand."""
        enlarged = self.logits(features[-1])
        return enlarged[:, : self.config.classes] + self.finest(image, enlarged) if self.config.fine else enlarged


class Finest(nn.Module):
    """The level of full resolution: the image itself beside what comes from below, for what is thinner than voxels there.

    Nothing is normalised: what it adds to the logits has to grow fast where nearly everything is background.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, classes, dims = config.fine, config.classes, config.dims
        self.seen = conv_block(config.channels, width, dims=dims, slope=0.1)
        self.joined = conv_block(2 * width + classes, width, dims=dims, slope=0.1)
        self.last = head(width, classes, dims=dims)

    def forward(self, image: Float[Tensor, "b c *grid"], below: Float[Tensor, "b w *grid"]) -> Float[Tensor, "b classes *grid"]:
        """What is added to the logits."""
        return self.last(self.joined(torch.cat([self.seen(image), below], dim=1)))


class Matcher(nn.Module):
    """Both images' features, coarse to fine, to a velocity at half resolution in that grid's voxels."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dims = config.dims
        self.blocks, self.ups = nn.ModuleList(), nn.ModuleList()
        below = 0
        for level, width in enumerate(config.widths[::-1]):
            if level:
                factor = halving(len(config.widths) - level + 1, config.flat, dims)
                self.ups.append(nn.Upsample(scale_factor=factor, mode="nearest"))
            self.blocks.append(
                nn.Sequential(
                    conv_block(below + 2 * width, width, dims=dims, norm="instance", slope=0.1),
                    conv_block(width, width, dims=dims, norm="instance", slope=0.1),
                )
            )
            below = width
        self.velocity = head(below, dims, dims=dims, size=3, spread=1e-3)
        # the velocity lies on the grid of half the resolution of every axis, whatever the features lie on
        thin: Any = {2: nn.AvgPool2d, 3: nn.AvgPool3d}[dims]
        self.thin = thin((*[1] * (dims - 1), 2)) if config.flat else nn.Identity()

    def forward(self, fixed: Sequence[Tensor], moving: Sequence[Tensor]) -> Float[Tensor, "b d *half"]:
        """The velocity of one order of the images."""
        x = self.blocks[0](torch.cat([fixed[0], moving[0]], dim=1))
        for up, block, f, m in zip(self.ups, list(self.blocks)[1:], fixed[1:], moving[1:], strict=True):
            x = block(torch.cat([up(x), f, m], dim=1))
        return self.thin(self.velocity(x))


class Register(nn.Module):
    """What the graph ``register`` does: ``v(F, M) − v(M, F)``, so that swapping the images turns the flow round exactly."""

    def __init__(self, backbone: Backbone, matcher: Matcher) -> None:
        super().__init__()
        self.backbone, self.matcher = backbone, matcher

    def forward(self, fixed: Float[Tensor, "b c *grid"], moving: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *half"]:
        """The velocity from fixed to moving."""
        return self.between(self.backbone(torch.cat([fixed, moving])))

    def between(self, features: Sequence[Tensor]) -> Float[Tensor, "b d *half"]:
        """The velocity from the features of a batch whose first half is fixed and whose second half is moving."""
        swapped = [torch.cat(level.chunk(2)[::-1]) for level in features]
        forth, back = self.matcher(features, swapped).chunk(2)
        return forth - back


class Segment(nn.Module):
    """What the graph ``segment`` does."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b classes *grid"]:
        """Logits, background first."""
        return self.backbone.labelled(image, self.backbone(image))


class Siamese(Method):
    """The recipe: the segmentation alone, then both tasks on pairs in both directions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.multiple = 2 ** len(config.widths)
        self.field = FieldKind("velocity", squarings=config.squarings, scale=2)
        backbone, matcher = Backbone(config), Matcher(config)
        self.networks = nn.ModuleDict({"backbone": backbone, "matcher": matcher})
        # views of the same weights under the graphs' names: no list of modules may hold them twice
        self._register, self._segment = [Register(backbone, matcher)], [Segment(backbone)]

    def stages(self) -> list[Stage]:
        """Segmentation first: it makes the features that both tasks share."""
        c = self.config
        alone = Turn(("backbone",), self.segmentation_loss, rate=c.segment_rate)
        joint = Turn(("backbone", "matcher"), self.joint_loss, rate=c.joint_rate)
        return [
            Stage("segmentation", (alone,), c.segment_rounds, cosine=True),
            Stage("joint", (joint,), c.joint_rounds, cosine=True),
        ]

    def graphs(self) -> list[Graph]:
        """``register`` and ``segment``; each holds the backbone."""
        return [
            Graph("register", self._register[0], ("fixed", "moving"), ("velocity",)),
            Graph("segment", self._segment[0], ("image",), ("logits",)),
        ]

    def segmentation_loss(self, batch: Batch) -> Terms | None:
        """Cross entropy and Dice of every labelled image of the pair."""
        images, labels, known = _both(batch)
        if not bool(known.any()):
            return None
        present = torch.cat([batch.classes_present] * 2)[known]
        return self._supervision(self._segment[0](images[known]), labels[known], present)

    def joint_loss(self, batch: Batch) -> Terms:
        """Similarity, smoothness, and the overlap of warped labels, in both directions; and the segmentation of both images."""
        c = self.config
        images, labels, known = _both(batch)
        features = self.networks["backbone"](images)
        velocity = self._register[0].between(features)
        # row by row: u moves the moving image onto the fixed one, and its inverse the fixed onto the moving one
        field = resize_field(integrate(torch.cat([velocity, -velocity]), c.squarings), images.shape[2:])
        others = torch.cat(images.chunk(2)[::-1])
        terms = {
            "similarity": c.similarity * local_correlation(images, warp(others, field)),
            "smoothness": c.smoothness * diffusion_mean(velocity),
        }
        fixed_known, moving_known = known.chunk(2)
        present = torch.cat([batch.classes_present] * 2)
        pairs = torch.cat([fixed_known & moving_known] * 2)
        if bool(pairs.any()):
            swapped = torch.cat(labels.chunk(2)[::-1])[pairs]
            overlap = soft_dice(warp(swapped, field[pairs]), labels[pairs], background=False, present=present[pairs])
            terms["overlap"] = c.overlap * overlap
        if bool(known.any()):
            logits = self._segment[0].backbone.labelled(images, features)
            terms |= self._supervision(logits[known], labels[known], present[known])
        return terms

    def _supervision(self, logits: Tensor, labels: Tensor, present: Tensor) -> dict[str, Tensor]:
        """present: the labels that were drawn; voxels of the others may lie in what is called background."""
        weight = self.config.supervision
        return {
            "entropy": weight * cross_entropy(*merged_undrawn(logits, labels, present)),
            "dice": weight * soft_dice(logits.softmax(1), labels, background=False, present=present),
        }


def _both(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels and who has labels: first the fixed rows, then the moving ones."""
    fixed, moving = batch.pair()
    if batch.moving_labels is None or batch.has_moving_labels is None:
        raise ValueError("this loss needs the field 'moving_labels'; draw the stage's batches as 'pairs'")
    known = torch.cat([batch.has_fixed_labels, batch.has_moving_labels])
    return torch.cat([fixed, moving]), torch.cat([batch.fixed_labels, batch.moving_labels]), known


METHOD = Siamese
