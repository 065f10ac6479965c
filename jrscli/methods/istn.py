"""ISTN: a small network turns each image into a map of the structures of interest, a second one aligns the maps.

Lee, Oktay, Schuh, Schaap, Glocker: Image-and-Spatial Transformer Networks for Structure-Guided Image Registration. MICCAI 2019,
arXiv:1907.09200. Departures: docs/methods/istn.md.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from jrscli.errors import UsageError
from jrscli.nn.parametric import AffineField, SplineField, rotation, zero_linear
from jrscli.nn.similarity import mean_square
from jrscli.nn.warp import warp
from jrscli.recipe import Batch, Graph, Method, Stage, Terms, Turn

LOSSES = ("explicit", "implicit", "supervised", "unsupervised")
SLOPE = 0.2
"""Below zero, in the image transformer: with the paper's ReLU its two last channels die, a map is then the same everywhere."""


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 3
    """Channels of the labels, background included (K + 1)."""
    channels: int = 1
    """Channels of an image."""
    dims: int = 3
    """Axes of the grid."""
    size: tuple[int, ...] = (48, 64, 48)
    """Voxels of the grid: the fully connected layer fixes it."""
    spacing_mm: tuple[float, ...] = (1.0, 1.0, 1.0)
    """Of the grid: what makes a rotation a rotation in the patient."""
    loss: str = "explicit"
    """explicit, implicit; or the baselines without maps: supervised (STN-s), unsupervised (STN-u)."""
    affine: bool = False
    """An affine map in place of a B-spline field."""
    width: int = 1
    """Channels of the image transformer, as a multiple of the paper's 2, 4, 8, 8, 16, 16."""
    union: bool = True
    """One map for the union of all labels, or else one for each."""
    map_rounds: int = 0
    """Steps of the image transformer by itself, before both (the paper: none)."""
    map_rate: float = 3e-3
    """Step size of these."""
    rounds: int = 800
    """Steps of both."""
    rate: float = 5e-4
    """Step size (the paper: 1e-3 for affine maps)."""


class Transform(nn.Module):
    """The image transformer (ITN): an image to the map of its structures."""

    def __init__(self, channels: int, maps: int, dims: int, width: int = 1) -> None:
        super().__init__()
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        up: Any = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]

        def block(*widths: int, halves: bool = False) -> nn.Sequential:
            layers: list[nn.Module] = []
            for n, (a, b) in enumerate(pairwise(widths)):
                layers += [conv(a, b, 2, stride=2) if halves and n == 0 else conv(a, b, 3, padding=1), nn.LeakyReLU(SLOPE)]
            return nn.Sequential(*layers)

        a, b, c, d = (width * n for n in (2, 4, 8, 16))
        self.fine, self.middle, self.coarse = block(channels, a, b), block(b, c, c, halves=True), block(c, d, d, halves=True)
        self.up_middle, self.up_fine = up(d, c, 2, stride=2), up(c, b, 2, stride=2)
        self.after_middle, self.after_fine = block(c, c), block(b, a, a)
        self.map = conv(a, maps, 3, padding=1)

    def forward(self, image: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b k *grid"]:
        """M′ or F′: near 1 where a structure is, near 0 elsewhere; the skips are added."""
        fine = self.fine(image)
        middle = self.middle(fine)
        x = self.after_middle(leaky_relu(self.up_middle(self.coarse(middle)), SLOPE) + middle)
        return self.map(self.after_fine(leaky_relu(self.up_fine(x), SLOPE) + fine))


class Features(nn.Module):
    """The convolutions of the spatial transformer, unpadded, each with a mean over 2^d voxels; then everything in one row."""

    def __init__(self, inputs: int, size: Sequence[int]) -> None:
        super().__init__()
        dims = len(size)
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        pool: Any = {2: nn.AvgPool2d, 3: nn.AvgPool3d}[dims]
        layers: list[nn.Module] = []
        left = list(size)
        for a, b in ((inputs, 8), (8, 16), (16, 32)):
            left = [n - 4 for n in left]
            if min(left) < 1:
                raise UsageError(f"a grid of {tuple(size)} is too small for istn", code="data.grid", hint="32 voxels or more")
            kernel = tuple(min(2, n) for n in left)
            left = [n // k for n, k in zip(left, kernel, strict=True)]
            layers += [conv(a, b, 5), nn.ReLU(), pool(kernel)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.count = 32 * math.prod(left)

    def forward(self, maps: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b n"]:
        """The features."""
        return self.layers(maps)


class Affine(nn.Module):
    """Features to ``T = M_t R Sᵀ D S``; in units of the largest half-extent, the same length along every axis."""

    def __init__(self, features: int, size: Sequence[int], spacing_mm: Sequence[float]) -> None:
        super().__init__()
        dims, angles = len(size), 3 if len(size) == 3 else 1
        self.counts = [dims, dims, angles, angles]
        self.dense = AffineField(size, spacing_mm)
        self.hidden = nn.Linear(features, 32)
        self.values = zero_linear(32, sum(self.counts))

    def forward(self, features: Float[Tensor, "b n"]) -> Float[Tensor, "b d *grid"]:
        """u in voxels."""
        values = torch.tanh(self.values(torch.relu(self.hidden(features))))
        shift, scale, turn, shear = values.split(self.counts, dim=1)
        s = rotation(math.pi / 4 * shear)
        stretched = s.transpose(1, 2) @ (torch.exp(0.2 * scale)[:, :, None] * s)
        return self.dense(rotation(math.pi / 4 * turn) @ stretched, 0.1 * shift)


class BSpline(nn.Module):
    """Features to control points every 10 voxels, up to 0.2 of a half-extent, and by cubic splines to a dense field."""

    def __init__(self, features: int, size: Sequence[int]) -> None:
        super().__init__()
        self.dense = SplineField(size, stride=10)
        self.reach = [0.2 * (n - 1) / 2 for n in size]
        self.points = zero_linear(features, len(size) * math.prod(self.dense.grid))

    def forward(self, features: Float[Tensor, "b n"]) -> Float[Tensor, "b d *grid"]:
        """u in voxels."""
        points = torch.tanh(self.points(features)).unflatten(1, (len(self.reach), *self.dense.grid))
        return self.dense(points * points.new_tensor(self.reach).view(1, -1, *(1,) * len(self.reach)))


class Align(nn.Module):
    """The spatial transformer (STN): two maps to a displacement on the fixed grid."""

    def __init__(self, config: Config, maps: int) -> None:
        super().__init__()
        size, spacing_mm = config.size[: config.dims], config.spacing_mm[: config.dims]
        self.features = Features(2 * maps, size)
        count = self.features.count
        self.field = Affine(count, size, spacing_mm) if config.affine else BSpline(count, size)

    def forward(self, fixed: Float[Tensor, "b k *grid"], moving: Float[Tensor, "b k *grid"]) -> Float[Tensor, "b d *grid"]:
        """u in voxels."""
        return self.field(self.features(torch.cat([moving, fixed], dim=1)))


class Istn(Method):
    """The recipe: ``transform`` and ``align``, trained together in one stage; the baselines have ``align`` alone."""

    multiple = 4
    dynamic = False
    departures = ("a", "b", "e", "f", "g", "h")

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.loss not in LOSSES:
            raise UsageError(f"no loss is called {config.loss}", code="settings.value", hint=f"known: {', '.join(LOSSES)}")
        self.config = config
        self.maps = 1 if config.union else config.classes - 1
        self.networks = nn.ModuleDict()
        if config.loss in LOSSES[:2]:
            self.networks["transform"] = Transform(config.channels, self.maps, config.dims, config.width)
        self.networks["align"] = Align(config, self.maps if "transform" in self.networks else config.channels)

    def stages(self) -> list[Stage]:
        """Both networks in one stage, after the maps' own if any; only the loss that looks at images can do without labels."""
        c = self.config
        turn = Turn(tuple(self.networks), self.loss, rate=c.rate)
        both = Stage("register", (turn,), c.rounds, batches="pairs" if c.loss == "unsupervised" else "labelled-pairs")
        if not c.map_rounds or "transform" not in self.networks:
            return [both]
        return [Stage("maps", (Turn(("transform",), self.map_loss, rate=c.map_rate),), c.map_rounds, batches="labelled"), both]

    def graphs(self) -> list[Graph]:
        """``transform`` of each image, ``align`` of their maps; a baseline is one graph that looks at the images."""
        align = self.networks["align"]
        if "transform" not in self.networks:
            return [Graph("register", align, ("fixed", "moving"), ("displacement",))]
        maps = {"fixed": self.maps, "moving": self.maps}
        return [
            Graph("transform", self.networks["transform"], ("image",), ("structure_map",), {"structure_map": self.maps}),
            Graph("align", align, ("fixed", "moving"), ("displacement",), maps),
        ]

    def map_loss(self, batch: Batch) -> Terms:
        """How far the map of one labelled image is from its labels."""
        return {"fixed_map": mean_square(self.networks["transform"](batch.fixed), self._wanted(batch.fixed_labels))}

    def loss(self, batch: Batch) -> Terms:
        """The terms of the loss that the config names."""
        fixed, moving = self._seen(batch)
        field = self.networks["align"](fixed, moving)
        self.watch(field_voxels=field.detach().norm(dim=1).mean())
        if self.config.loss == "unsupervised":
            return {"images": mean_square(warp(batch.pair()[1], field), batch.fixed)}
        of_fixed, of_moving = (self._wanted(labels) for labels in batch.both_labels())
        warped = warp(of_moving, field)
        terms = {"labels": mean_square(warped, of_fixed)}
        if self.config.loss == "explicit":
            terms |= {"moving_map": mean_square(moving, of_moving), "fixed_map": mean_square(fixed, of_fixed)}
        elif self.config.loss == "implicit":
            terms |= {"warped_map": mean_square(warp(moving, field), of_fixed), "fixed_map": mean_square(warped, fixed)}
        return terms

    def refined(self, batch: Batch, steps: int = 50, intensity_weight: float = 0.0) -> tuple[Tensor, list[float]]:
        """The displacement after ``steps`` steps of a copy of ``align`` down ``mse(W(M′), F′)``, and the least loss so far.

        intensity_weight: of ``mse(W(M), F)`` beside it (0: the paper). Neither network of the method changes.
        """
        with torch.no_grad():
            fixed, moving = self._seen(batch)
        align = copy.deepcopy(self.networks["align"]).requires_grad_()
        optimiser = torch.optim.Adam(align.parameters(), lr=self.config.rate)
        best, course = torch.empty(0), [math.inf]
        for _ in range(steps + 1):
            field = align(fixed, moving)
            loss = mean_square(warp(moving, field), fixed)
            if intensity_weight:
                loss = loss + intensity_weight * mean_square(warp(batch.pair()[1], field), batch.fixed)
            best = field.detach() if float(loss.detach()) < course[-1] else best
            course.append(min(course[-1], float(loss.detach())))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return best, course[1:]

    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """F′ and M′, what ``align`` looks at; the images themselves in a baseline."""
        fixed, moving = batch.pair()
        if "transform" not in self.networks:
            return fixed, moving
        return self.networks["transform"](fixed), self.networks["transform"](moving)

    def _wanted(self, labels: Tensor) -> Tensor:
        """S: the union of the labels, or one channel each."""
        return labels[:, 1:].sum(1, keepdim=True) if self.config.union else labels[:, 1:]


METHOD = Istn
