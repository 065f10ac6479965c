"""A light network for heads and necks: a template finds each organ, a crop of it is labelled, and the labels help the template.

Huang, Ye, Xu, et al.: 3D Lightweight Network for Simultaneous Registration and Segmentation of Organs-at-Risk in CT Images of
Head and Neck Cancer. IEEE TMI 41(4):951–964, 2022. Departures: docs/methods/hnlight.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from jrscli.errors import UsageError
from jrscli.nn.overlap import EPSILON, binary_cross_entropy, centroid_distance, soft_dice
from jrscli.nn.regions import middles_of
from jrscli.nn.similarity import mean_square
from jrscli.nn.smoothness import bending
from jrscli.nn.unet import head
from jrscli.nn.warp import warp
from jrscli.recipe import Batch, Graph, Method, Seen, Stage, Terms, Turn
from jrscli.spatial.boxes import Box, box_about, fallen_back

KIND = 0.1
"""Weight of telling which organ a crop shows."""


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 8
    """Channels of the labels, background included (K + 1)."""
    channels: int = 3
    """Channels of an image: its CT windows."""
    dims: int = 3
    """Axes of the grid: 3."""
    width: float = 1.0
    """Of all channels; 1 is the paper."""
    iterations: int = 2
    """Passes of the context loop; the first one knows no labels of the image."""
    similarity: float = 0.5
    """Of the mean squared difference of images."""
    centroids: float = 0.1
    """Of the distance of centroids, voxels of the grid."""
    smoothness: float = 0.0
    """Of the bending of displacements in voxels (0: the paper)."""
    entropy: float = 0.25
    """Of the binary cross entropy."""
    registration: float = 0.5
    """Of the registration's loss where both are counted."""
    crops: int = 2
    """Organs per pass that the segmentation learns from."""
    jitter: float = 2.0
    """How far, in voxels, the middles of crops are off while the segmentation learns alone."""
    segment_rounds: int = 300
    """Steps of the segmentation alone, on true regions."""
    register_rounds: int = 300
    """Steps of the registration alone."""
    frozen_rounds: int = 100
    """Steps of the registration in the loop, the segmentation frozen."""
    joint_rounds: int = 150
    """Steps of both."""
    rate: float = 5e-4
    """Step size."""

    def wide(self, channels: int) -> int:
        """So many channels, at this width; an even number."""
        return max(2 * round(channels * self.width / 2), 2)


class Block(nn.Module):
    """``conv → 1³ conv → squeeze-excitation``, the input added, then a last 1³ conv. flat: a 3×3×1 branch beside the 3³ one."""

    def __init__(self, inputs: int, width: int, *, groups: int = 1, flat: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, width, 3, padding=1, groups=groups)
        self.flat = nn.Conv3d(inputs, width, (3, 3, 1), padding=(1, 1, 0)) if flat else None
        self.then = nn.Sequential(
            nn.InstanceNorm3d(width, affine=True),
            nn.LeakyReLU(0.01),
            nn.Conv3d(width, width, 1),
            nn.InstanceNorm3d(width, affine=True),
            nn.LeakyReLU(0.01),
        )
        self.squeeze = nn.Sequential(nn.Linear(width, max(width // 4, 1)), nn.ReLU(), nn.Linear(max(width // 4, 1), width))
        self.past = nn.Identity() if inputs == width else nn.Conv3d(inputs, width, 1)
        self.last = nn.Conv3d(width, width, 1)

    def forward(self, x: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b w i j k"]:
        """The features."""
        found = self.first(x)
        if self.flat is not None:
            found = found + self.flat(x)
        found = self.then(found)
        gate = torch.sigmoid(self.squeeze(found.mean(dim=(2, 3, 4))))
        return self.last(found * gate[:, :, None, None, None] + self.past(x))


class Register(nn.Module):
    """The image with the maps of its labels, and the template with its masks, as two groups, to a displacement."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        a, b = config.wide(16), config.wide(32)
        inputs = 2 * (config.channels + config.classes - 1)
        self.down = nn.ModuleList([Block(inputs, a, groups=2), Block(a, b), Block(b, b)])
        self.deep = Block(b, b)
        self.up = nn.ModuleList([Block(2 * b, b), Block(2 * b, b), Block(a + b, a)])
        self.shrink, self.grow = nn.MaxPool3d(2), nn.Upsample(scale_factor=2, mode="nearest")
        self.field = head(a, 3, spread=1e-4)

    def forward(self, fixed: Tensor, fixed_probabilities: Tensor, moving: Tensor, moving_labels: Tensor) -> Tensor:
        """u on the fixed grid, in voxels."""
        x = torch.cat([fixed, fixed_probabilities, moving, moving_labels], dim=1)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = self.shrink(x)
        x = self.deep(x)
        for block, skip in zip(self.up, skips[::-1], strict=True):
            x = block(torch.cat([self.grow(x), skip], dim=1))
        return self.field(x)


class Segment(nn.Module):
    """A crop and the map that its organ had before, to logits of all organs; the background's are zero."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        a, b, c, d = (config.wide(n) for n in (20, 40, 60, 80))

        def blocks(*widths: int) -> nn.Sequential:
            return nn.Sequential(*(Block(one, other, flat=True) for one, other in pairwise(widths)))

        self.fine = blocks(config.channels + 1, a, a)
        self.coarse, self.after = blocks(a, b, b, c, c, d, d, d), blocks(d, c, b)
        self.rising = blocks(a + b, b, a)
        self.shrink, self.grow = nn.MaxPool3d(2), nn.Upsample(scale_factor=2, mode="nearest")
        self.logits = head(a, config.classes - 1)
        self.kind = nn.Linear(d, config.classes - 1)

    def forward(self, image: Tensor, fixed_probabilities: Tensor) -> Float[Tensor, "b classes i j k"]:
        """Logits, background first: an organ's probability is the sigmoid of its own."""
        found = self.both(image, fixed_probabilities)[0]
        return torch.cat([torch.zeros_like(found[:, :1]), found], dim=1)

    def both(self, image: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """The organs' logits, and those of which organ the crop shows."""
        fine = self.fine(torch.cat([image, before], dim=1))
        deep = self.coarse(self.shrink(fine))
        found = self.rising(torch.cat([self.grow(self.after(deep)), fine], dim=1))
        return self.logits(found), self.kind(deep.mean(dim=(2, 3, 4)))


class HnLight(Method):
    """The recipe: ``register`` and ``segment``; between them boxes as large as the organs of the training cases ask for."""

    reach: Tensor
    multiple = 8
    requires = ("template", "template_labels")
    departures = ("a", "b", "c", "h", "i", "j", "k", "l")

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.dims != 3:
            raise UsageError("hnlight is for volumes", code="settings.value", hint="use a data list with dims: 3")
        self.config = config
        self.iterations = config.iterations
        self.networks = nn.ModuleDict({"register": Register(config), "segment": Segment(config)})
        self.register_buffer("reach", torch.full((config.classes - 1, 6), 8.0))

    def informed(self, reach: Float[Tensor, "k sides"]) -> None:
        """The boxes of this training."""
        self.reach.copy_(reach)

    def regions(self) -> Float[Tensor, "k sides"]:
        """How far the box of each organ reaches, voxels."""
        return self.reach

    def stages(self) -> list[Stage]:
        """The segmentation on true regions; the registration; the registration in the loop; both."""
        c = self.config
        segment = Turn(("segment",), self.segmentation_loss, rate=c.rate)
        register = Turn(("register",), self.registration_loss, rate=c.rate)
        frozen = Turn(("register",), self.frozen_loss, rate=c.rate)
        both = Turn(("register", "segment"), self.cascade_loss, rate=c.rate)
        return [
            Stage("segment", (segment,), c.segment_rounds, batches="labelled", decay=(0.5,)),
            Stage("register", (register,), c.register_rounds, batches="template", decay=(0.5,)),
            Stage("frozen", (frozen,), c.frozen_rounds, batches="template"),
            Stage("joint", (both,), c.joint_rounds, batches="template", decay=(0.5,)),
        ]

    def graphs(self) -> list[Graph]:
        """``register`` (of the whole image) and ``segment`` (of crops)."""
        c = self.config
        whole = {
            "fixed": c.channels,
            "moving": c.channels,
            "fixed_probabilities": c.classes - 1,
            "moving_labels": c.classes - 1,
        }
        crop = {"image": c.channels, "fixed_probabilities": 1}
        roles = ("fixed", "fixed_probabilities", "moving", "moving_labels")
        return [
            Graph("register", self.networks["register"], roles, ("displacement",), whole),
            Graph("segment", self.networks["segment"], tuple(crop), ("logits",), crop, multiple=2),
        ]

    def on_pair(self, fixed: Tensor, moving: Tensor, labels: Mapping[str, Tensor] | None = None) -> Seen | None:
        """The last pass of the context loop; ``moving`` is the template, whose labels it needs."""
        of_template = (labels or {}).get("moving")
        if of_template is None:
            return None
        maps = torch.zeros_like(of_template[:, 1:])
        field = maps
        for _ in range(self.iterations):
            field = self.networks["register"](fixed, maps, moving, of_template[:, 1:])
            boxes = self.boxes(of_template[:, 1:], warp(of_template[:, 1:], field))
            maps = torch.stack([self._found(fixed[row], maps[row], of_row) for row, of_row in enumerate(boxes)])
        background = 1 - maps.max(dim=1, keepdim=True).values
        return Seen(field, torch.cat([background, maps], dim=1).clamp_min(1e-6).log())

    def boxes(self, masks: Float[Tensor, "b k i j k"], carried: Float[Tensor, "b k i j k"]) -> list[list[Box | None]]:
        """The box of each organ in each row, about its carried mask; None where the template does not have it."""
        out = []
        for one, other in zip(masks, carried, strict=True):
            middles = fallen_back(middles_of(other), middles_of(one))
            shape = other.shape[1:]
            out.append([None if np.isnan(m).any() else self._box(k, m.tolist(), shape) for k, m in enumerate(middles)])
        return out

    def segmentation_loss(self, batch: Batch) -> Terms | None:
        """L_seg of some organs in boxes about their true middles: with an empty map before, then with what that gave."""
        losses = []
        for row in range(len(batch.fixed)):
            masks = batch.fixed_labels[row, 1:]
            middles = middles_of(masks)
            drawn = [k for k in range(len(masks)) if bool(batch.classes_present[row, k]) and not np.isnan(middles[k]).any()]
            for n in torch.randperm(len(drawn))[: self.config.crops].tolist():
                k = drawn[n]
                off = (2 * torch.rand(3) - 1) * self.config.jitter
                box = self._box(k, (middles[k] + off.numpy()).tolist(), masks.shape[1:])
                before = torch.zeros_like(masks[k])
                for _ in range(2):
                    loss, guess = self._crop_loss(batch, row, k, box, before)
                    losses.append(loss)
                    before = torch.zeros_like(before)
                    before[box] = guess.detach()
        return {"segmentation": torch.stack(losses).mean()} if losses else None

    def registration_loss(self, batch: Batch) -> Terms:
        """L_reg of the first pass."""
        _, template = batch.pair()
        masks = batch.both_labels()[1]
        field = self.networks["register"](batch.fixed, torch.zeros_like(masks[:, 1:]), template, masks[:, 1:])
        return self._registration_terms(batch, field)

    def frozen_loss(self, batch: Batch) -> Terms:
        """L_cascade over the passes while the segmentation is frozen."""
        return self._cascade(batch, learns=False)

    def cascade_loss(self, batch: Batch) -> Terms:
        """``L_cascade = 0.5 L_reg + L_seg``, mean over the passes; each pass starts from the last one's maps, detached."""
        return self._cascade(batch, learns=True)

    def _cascade(self, batch: Batch, *, learns: bool) -> Terms:
        _, template = batch.pair()
        masks = batch.both_labels()[1]
        maps = torch.zeros_like(masks[:, 1:])
        found: dict[str, list[Tensor]] = {}
        for _ in range(self.iterations):
            field = self.networks["register"](batch.fixed, maps, template, masks[:, 1:])
            terms = {name: self.config.registration * value for name, value in self._registration_terms(batch, field).items()}
            boxes = self.boxes(masks[:, 1:], warp(masks[:, 1:], field.detach()))
            loss, maps = self._labelled(batch, boxes, maps, learns=learns)
            for name, value in {**terms, "segmentation": loss}.items():
                found.setdefault(name, []).append(value)
        return {name: torch.stack(values).mean() for name, values in found.items()}

    def _labelled(self, batch: Batch, boxes: list[list[Box | None]], before: Tensor, *, learns: bool) -> tuple[Tensor, Tensor]:
        """L_seg of organs that were drawn, and the new maps of all that have a box; ``crops`` of them have a slope."""
        maps, losses = torch.zeros_like(before), []
        for row, of_row in enumerate(boxes):
            drawn = batch.classes_present[row]
            known = [k for k, box in enumerate(of_row) if box is not None and bool(drawn[k])]
            taught = {known[n] for n in torch.randperm(len(known))[: self.config.crops].tolist()} if learns else set()
            for k, box in enumerate(of_row):
                if box is not None:
                    with torch.set_grad_enabled(k in taught):
                        loss, guess = self._crop_loss(batch, row, k, box, before[row, k])
                    maps[row, k][box] = guess.detach()
                    losses += [loss] if k in (taught or known) else []
        return torch.stack(losses).mean() if losses else before.new_zeros(()), maps

    def _registration_terms(self, batch: Batch, field: Tensor) -> dict[str, Tensor]:
        c = self.config
        fixed, template = batch.pair()
        of_fixed, of_template = batch.both_labels()
        carried = warp(of_template, field)
        drawn = batch.classes_present.to(carried)[:, :, None, None, None]
        terms = {
            "overlap": soft_dice(carried, of_fixed, background=False, present=batch.classes_present),
            "similarity": c.similarity * mean_square(warp(template, field), fixed),
            "centroids": c.centroids * centroid_distance(drawn * carried[:, 1:], drawn * of_fixed[:, 1:]),
        }
        self.watch(field_voxels=field.detach().norm(dim=1).mean())
        return terms | ({"smoothness": c.smoothness * bending(field)} if c.smoothness else {})

    def _crop_loss(self, batch: Batch, row: int, k: int, box: Box, before: Tensor) -> tuple[Tensor, Tensor]:
        """L_seg of organ k in a box, and the organ's map there."""
        part = (slice(None), *box)
        network = self.networks["segment"]
        logits, kind = network.both(batch.fixed[row][part][None], before[box][None, None])  # type: ignore[operator]
        y, drawn = batch.fixed_labels[row, 1:][part][None], batch.classes_present[row]
        p, q = torch.sigmoid(logits[0, k]), y[0, k]
        overlap = 1 - (2 * (p * q).sum() + EPSILON) / (p.sum() + q.sum() + EPSILON)
        loss = overlap + KIND * cross_entropy(kind, torch.tensor([k], device=kind.device))
        if bool(drawn.any()):
            loss = loss + self.config.entropy * binary_cross_entropy(logits[:, drawn], y[:, drawn])
        return loss, p

    def _found(self, image: Tensor, before: Tensor, boxes: Sequence[Box | None]) -> Tensor:
        """The map of each organ of one image, zero outside its box."""
        maps = torch.zeros_like(before)
        for k, box in enumerate(boxes):
            if box is not None:
                crop = image[(slice(None), *box)][None]
                maps[k][box] = torch.sigmoid(self.networks["segment"](crop, before[k][box][None, None])[0, k + 1])
        return maps

    def _box(self, k: int, middle: Sequence[float], shape: Sequence[int]) -> Box:
        return box_about(middle, self.reach[k].tolist(), shape)


METHOD = HnLight
