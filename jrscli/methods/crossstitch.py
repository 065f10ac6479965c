"""Cross-stitch: a segmenting and a registering U-Net run side by side and learn, channel by channel, what to borrow.

Beljaards, Elmahdy, Verbeek, Staring: A Cross-Stitch Architecture for Joint Registration and Segmentation in Adaptive
Radiotherapy. MIDL 2020, PMLR 121, arXiv:2004.08122. Departures: docs/methods/crossstitch.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, avg_pool3d

from jrscli.errors import UsageError
from jrscli.nn.overlap import cross_entropy, merged_undrawn, soft_dice
from jrscli.nn.similarity import global_correlation, local_correlation
from jrscli.nn.smoothness import bending
from jrscli.nn.warp import warp
from jrscli.recipe import Batch, Graph, Method, Stage, Terms, Turn

CHOICES = {
    "segmentation_inputs": ("fixed", "all"),
    "similarity": ("global", "local"),
    "mixing": ("learned", "separate"),
    "optimiser": ("radam", "adam"),
}
SCALES = 3
"""Resolutions that have heads: 1/4, 1/2 and the full one, in this order."""


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 5
    """Channels of the labels, background included (K + 1)."""
    channels: int = 1
    """Channels of an image."""
    dims: int = 3
    """Axes of the grid."""
    widths: tuple[int, int, int] = (16, 32, 64)
    """Channels at 1, 1/2 and 1/4 of the resolution, in both paths."""
    segmentation_inputs: str = "fixed"
    """What the segmenting path sees: the fixed image, or all that the registering one does."""
    similarity: str = "global"
    """Correlation over the whole image, or in boxes of 9 voxels."""
    smoothness: float = 0.5
    """Of the bending of displacements in voxels."""
    entropy: float = 0.0
    """Of the cross entropy of the segmentation beside its Dice (0: the paper)."""
    mixing: str = "learned"
    """learned, or separate: two networks that borrow nothing (the baseline)."""
    rounds: int = 1000
    """Steps."""
    rate: float = 1e-3
    """Step size (the paper: 1e-4 for 200,000 steps)."""
    optimiser: str = "radam"
    """radam (the paper), whose first thousand steps are short ones, or adam."""


class CrossStitch(nn.Module):
    """``X'_S = α_SS X_S + α_SR X_R``, ``X'_R = α_RS X_S + α_RR X_R``, a 2 × 2 matrix for each channel."""

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(2, 2, channels, *(1,) * dims))
        nn.init.trunc_normal_(self.alpha, mean=0.5, std=0.25, a=0.0, b=1.0)

    def forward(self, s: Float[Tensor, "b c *grid"], r: Float[Tensor, "b c *grid"]) -> tuple[Tensor, Tensor]:
        """X'_S and X'_R."""
        a = self.alpha
        return a[0, 0] * s + a[0, 1] * r, a[1, 0] * s + a[1, 1] * r


class Apart(nn.Module):
    """In place of a cross-stitch: nothing is borrowed."""

    def forward(self, s: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        """Both as they are."""
        return s, r


class Path(nn.Module):
    """The layers of one path between two cross-stitches, and its heads at three resolutions."""

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int], dims: int) -> None:
        super().__init__()
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        norm: Any = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims]

        def layer(a: int, b: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(conv(a, b, 3, stride=stride, padding=1), nn.LeakyReLU(0.2), norm(b))

        fine, middle, coarse = widths
        self.first = nn.Sequential(layer(inputs, fine), layer(fine, fine))
        self.shrink_first = layer(fine, fine, stride=2)
        self.second = nn.Sequential(layer(fine, middle), layer(middle, middle))
        self.shrink_second = layer(middle, middle, stride=2)
        self.deep = nn.Sequential(layer(middle, coarse), layer(coarse, coarse))
        self.rise_second = nn.Sequential(layer(coarse + middle, middle), layer(middle, middle))
        self.rise_first = nn.Sequential(layer(middle + fine, fine), layer(fine, fine))
        self.heads = nn.ModuleList(conv(width, outputs, 1) for width in (coarse, middle, fine))
        for module in self.modules():
            if isinstance(module, conv):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)


class Joint(nn.Module):
    """Both paths with four cross-stitches: where each resolution is left, on the way down and on the way up."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c, dims = config, config.dims
        both = 2 * c.channels + c.classes - 1
        self.sees_all = c.segmentation_inputs == "all"
        self.segment = Path(both if self.sees_all else c.channels, c.classes, c.widths, dims)
        self.register = Path(both, dims, c.widths, dims)
        fine, middle, coarse = c.widths
        stitches = (CrossStitch(n, dims) if c.mixing == "learned" else Apart() for n in (fine, middle, coarse, middle))
        self.stitches = nn.ModuleList(stitches)
        self.up = nn.Upsample(scale_factor=2, mode={2: "bilinear", 3: "trilinear"}[dims], align_corners=False)

    def forward(
        self,
        fixed: Float[Tensor, "b c *grid"],
        moving: Float[Tensor, "b c *grid"],
        moving_labels: Float[Tensor, "b classes *grid"],
    ) -> tuple[Tensor, Tensor]:
        """The displacement in voxels and the logits of the fixed image: what the graph ``joint`` gives."""
        fields, logits = self.scales(fixed, moving, moving_labels)
        return fields[-1], logits[-1]

    def scales(self, fixed: Tensor, moving: Tensor, moving_labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Displacements, in voxels of their own grid, and logits at 1/4, 1/2 and the full resolution."""
        every = torch.cat([fixed, moving, moving_labels[:, 1:]], dim=1)
        paths = self.segment, self.register
        s_fine, r_fine = self.segment.first(every if self.sees_all else fixed), self.register.first(every)
        s, r = self.stitches[0](self.segment.shrink_first(s_fine), self.register.shrink_first(r_fine))
        s_middle, r_middle = self.segment.second(s), self.register.second(r)
        s, r = self.stitches[1](self.segment.shrink_second(s_middle), self.register.shrink_second(r_middle))
        quarter = tuple(path.deep(x) for path, x in zip(paths, (s, r), strict=True))
        s, r = self.stitches[2](*(self.up(x) for x in quarter))
        half = self.segment.rise_second(torch.cat([s, s_middle], 1)), self.register.rise_second(torch.cat([r, r_middle], 1))
        s, r = self.stitches[3](*(self.up(x) for x in half))
        whole = self.segment.rise_first(torch.cat([s, s_fine], 1)), self.register.rise_first(torch.cat([r, r_fine], 1))
        seen = quarter, half, whole
        fields = [head(x) for head, (_, x) in zip(self.register.heads, seen, strict=True)]
        return fields, [head(x) for head, (x, _) in zip(self.segment.heads, seen, strict=True)]


class CrossStitchMethod(Method):
    """The recipe: one network with two paths, one stage."""

    multiple = 4
    requires = ("moving_labels",)
    departures = ("a", "b", "c", "d", "e", "f", "g")

    def __init__(self, config: Config) -> None:
        super().__init__()
        for name, known in CHOICES.items():
            if getattr(config, name) not in known:
                words = f"{name} cannot be {getattr(config, name)}"
                raise UsageError(words, code="settings.value", hint=f"known: {', '.join(known)}")
        self.config = config
        self.networks = nn.ModuleDict({"joint": Joint(config)})

    def stages(self) -> list[Stage]:
        """Both tasks from the first step on."""
        c = self.config
        turn = Turn(("joint",), self.loss, rate=c.rate, optimiser="adam" if c.optimiser == "adam" else "radam")
        return [Stage("joint", (turn,), c.rounds, batches="labelled-pairs", cosine=True)]

    def graphs(self) -> list[Graph]:
        """``joint``: two candidate contours of each organ, one carried and one found."""
        inputs, outputs = ("fixed", "moving", "moving_labels"), ("displacement", "fixed_logits")
        classes = {"moving_labels": self.config.classes}
        return [Graph("joint", self.networks["joint"], inputs, outputs, classes)]

    def loss(self, batch: Batch) -> Terms:
        """Both orders of each pair; the mean of ``dice + dice + gncc + 0.5 bending`` over three resolutions."""
        fixed, moving, fixed_labels, moving_labels = self.both_orders(batch)
        present = torch.cat([batch.classes_present] * 2)
        fields, logits = self.networks["joint"].scales(fixed, moving, moving_labels)  # type: ignore[operator]
        self.watch(field_voxels=fields[-1].detach().norm(dim=1).mean())
        terms: dict[str, Tensor] = {}
        for n, (field, logit) in enumerate(zip(fields, logits, strict=True)):
            coarser = 2 ** (SCALES - 1 - n)
            f, m, of_f, of_m = (averaged(x, coarser) for x in (fixed, moving, fixed_labels, moving_labels))
            found = self._terms(field, logit, (f, m), (of_f, of_m), present)
            terms = {name: terms.get(name, torch.zeros(())) + value / SCALES for name, value in found.items()}
        return terms

    def both_orders(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """F, M, S_F, S_M with every pair a second time, the other way round."""
        (fixed, moving), (of_fixed, of_moving) = batch.pair(), batch.both_labels()
        forth, back = (fixed, moving, of_fixed, of_moving), (moving, fixed, of_moving, of_fixed)
        f, m, of_f, of_m = (torch.cat(both) for both in zip(forth, back, strict=True))
        return f, m, of_f, of_m

    def _terms(
        self,
        field: Tensor,
        logits: Tensor,
        images: tuple[Tensor, Tensor],
        labels: tuple[Tensor, Tensor],
        present: Bool[Tensor, "b foreground"],
    ) -> dict[str, Tensor]:
        c = self.config
        alike = global_correlation if c.similarity == "global" else local_correlation
        (fixed, moving), (of_fixed, of_moving) = images, labels
        entropy = {"entropy": c.entropy * cross_entropy(*merged_undrawn(logits, of_fixed, present))} if c.entropy else {}
        return entropy | {
            "segmentation": soft_dice(logits.softmax(1), of_fixed, background=False, present=present),
            "propagation": soft_dice(warp(of_moving, field), of_fixed, background=False, present=present),
            "similarity": alike(warp(moving, field), fixed),
            "smoothness": c.smoothness * bending(field),
        }


def averaged(x: Float[Tensor, "b c *grid"], coarser: int) -> Float[Tensor, "b c *coarse"]:
    """The mean of ``coarser`` voxels along each axis."""
    if coarser == 1:
        return x
    return avg_pool3d(x, coarser) if x.ndim == 5 else avg_pool2d(x, coarser)


METHOD = CrossStitchMethod
