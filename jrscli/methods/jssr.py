"""JSSR: the moving image is translated into the contrast of the fixed one, registered to it, and both must be labelled alike.

Liu, Cai, Huo, Cheng, Raju, Jin, Xiao, Yuille, Lu, Liao, Harrison: JSSR: A Joint Synthesis, Segmentation, and Registration
System for 3D Multi-Modal Image Alignment of Large-scale Pathological CT Scans. ECCV 2020, arXiv:2005.12209. Departures:
docs/methods/jssr.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from jrscli.errors import UsageError
from jrscli.nn.adversarial import fooling_loss, judge_loss
from jrscli.nn.overlap import cross_entropy, merged_undrawn, soft_dice
from jrscli.nn.similarity import local_correlation, mean_absolute
from jrscli.nn.smoothness import diffusion_mean
from jrscli.nn.unet import conv_block, head
from jrscli.nn.warp import warp
from jrscli.recipe import Batch, Graph, Method, Stage, Terms, Turn

CHOICES = {"mode": ("jssr", "jsegr"), "condition": ("none", "global")}


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 3
    """Channels of the labels, background included (K + 1)."""
    channels: int = 1
    """Channels of an image."""
    dims: int = 3
    """Axes of the grid."""
    mode: str = "jssr"
    """jssr; or jsegr: no synthesis and no judge, images compared by local correlation (for phases of one contrast)."""
    condition: str = "none"
    """What the synthesis knows of the fixed image: nothing, or one code of the whole of it (global)."""
    widths: tuple[int, ...] = (8, 16, 32, 64, 128)
    """Channels at 1, 1/2 … of the resolution, of synthesis and segmentation."""
    register_widths: tuple[int, ...] = (8, 16, 32, 64)
    """Channels at 1, 1/2 … of the resolution, of the registration."""
    smoothness: float = 1.0
    """λ_reg, of the diffusion of displacements in voxels."""
    anatomy: float = 1.0
    """λ_seg, of both Dice terms."""
    entropy: float = 0.0
    """Of the cross entropy of labelled images beside their Dice (0: the paper)."""
    realism: float = 0.02
    """λ_syn, of fooling the judge."""
    segment_rounds: int = 400
    """Steps of the segmentation alone."""
    synthesize_rounds: int = 0
    """Steps of the synthesis alone, as if nothing had moved; the registration then learns on it as it is (0: the paper)."""
    register_rounds: int = 400
    """Rounds of synthesis and registration."""
    joint_rounds: int = 400
    """Rounds of all three."""
    synthesize_rate: float = 1e-4
    """Step size of the synthesis."""
    synthesize_alone_rate: float = 1e-3
    """Step size of the synthesis while it learns alone."""
    register_rate: float = 1e-3
    """Step size of the registration."""
    segment_rate: float = 1e-3
    """Step size of the segmentation (the paper prints 0.1)."""
    judge_rate: float = 1e-4
    """Step size of the judge (the paper prints 0.1)."""


class Residual(nn.Module):
    """Convolutions whose sum with their input goes on; the input through a convolution of one voxel where widths differ."""

    def __init__(self, inputs: int, width: int, count: int, dims: int) -> None:
        super().__init__()
        widths = [inputs, *[width] * count]
        self.convs = nn.Sequential(*(conv_block(a, b, dims=dims, norm="instance", slope=0.01) for a, b in pairwise(widths)))
        self.past = nn.Identity() if inputs == width else head(inputs, width, dims=dims)

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b w *grid"]:
        """The sum."""
        return self.convs(x) + self.past(x)


class VNet(nn.Module):
    """Residual levels down by strided and up by transposed convolutions; skips come from the first image alone.

    coded: whether a code of a second image is added on the coarsest level.
    """

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, ...], dims: int, *, coded: bool = False) -> None:
        super().__init__()
        conv: Any = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
        up: Any = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]
        steps = list(pairwise(widths))
        self.levels = nn.ModuleList(
            [Residual(inputs, widths[0], 1, dims), *(Residual(width, width, 2, dims) for width in widths[1:])]
        )
        self.downs = nn.ModuleList(conv(a, b, 2, stride=2) for a, b in steps)
        self.ups = nn.ModuleList(up(b, a, 2, stride=2) for a, b in steps[::-1])
        self.rising = nn.ModuleList(Residual(2 * a, a, 2, dims) for a, _ in steps[::-1])
        self.code = nn.Linear(widths[-1], widths[-1]) if coded else None
        self.last = head(widths[0], outputs, dims=dims)

    def forward(self, x: Float[Tensor, "b c *grid"], y: Float[Tensor, "b c *grid"] | None = None) -> Tensor:
        """The outputs at full resolution. y: the image of the code."""
        levels = self.down(x)
        found = levels[-1]
        if self.code is not None and y is not None:
            code = self.code(self.down(y)[-1].flatten(2).mean(2))
            found = found + code.view(*code.shape, *(1,) * (x.ndim - 2))
        for up, block, skip in zip(self.ups, self.rising, levels[-2::-1], strict=True):
            found = block(torch.cat([up(found), skip], dim=1))
        return self.last(found)

    def down(self, x: Tensor) -> list[Tensor]:
        """The features of each level, finest first."""
        found = [self.levels[0](x)]
        for shrink, level in zip(self.downs, list(self.levels)[1:], strict=True):
            found.append(level(shrink(found[-1])))
        return found


class Progressive(nn.Module):
    """A progressive holistically nested network: each level adds to the coarser field, ``u_l = 2 up(u_{l+1}) + s_l``."""

    def __init__(self, channels: int, widths: tuple[int, ...], dims: int) -> None:
        super().__init__()
        pool: Any = {2: nn.MaxPool2d, 3: nn.MaxPool3d}[dims]
        self.mode = {2: "bilinear", 3: "trilinear"}[dims]
        self.pool = pool(2)
        self.levels = nn.ModuleList(
            nn.Sequential(conv_block(a, b, dims=dims), conv_block(b, b, dims=dims))
            for a, b in pairwise((2 * channels, *widths))
        )
        self.sides = nn.ModuleList(head(width, dims, dims=dims, spread=1e-4) for width in widths)

    def forward(self, fixed: Float[Tensor, "b c *grid"], moving: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *grid"]:
        """u on the fixed grid, in voxels."""
        x = torch.cat([moving, fixed], dim=1)
        sides = []
        for n, (level, side) in enumerate(zip(self.levels, self.sides, strict=True)):
            x = level(self.pool(x) if n else x)
            sides.append(side(x))
        field = sides[-1]
        for finer in sides[-2::-1]:
            field = 2 * interpolate(field, scale_factor=2.0, mode=self.mode, align_corners=False) + finer
        return field


class Judge(nn.Sequential):
    """Patches of an image to the logit of being a real image of the fixed one's contrast."""

    def __init__(self, channels: int, dims: int, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        steps = pairwise((channels, *widths))
        layers = (conv_block(a, b, dims=dims, stride=2) for a, b in steps)
        super().__init__(*layers, head(widths[-1], 1, dims=dims, size=3))


class Jssr(Method):
    """The recipe: ``synthesize``, ``register``, ``segment`` and their ``judge``; without the first and the last in jsegr."""

    departures = ("a", "b", "c", "e", "f", "g", "h")

    def __init__(self, config: Config) -> None:
        super().__init__()
        for name, known in CHOICES.items():
            if getattr(config, name) not in known:
                words = f"{name} cannot be {getattr(config, name)}"
                raise UsageError(words, code="settings.value", hint=f"known: {', '.join(known)}")
        self.config = c = config
        self.multiple = 2 ** max(len(c.widths) - 1, len(c.register_widths) - 1, 3)
        register, segment = Progressive(c.channels, c.register_widths, c.dims), VNet(c.channels, c.classes, c.widths, c.dims)
        self.networks = nn.ModuleDict({"register": register, "segment": segment})
        if c.mode == "jssr":
            self.networks["synthesize"] = VNet(c.channels, c.channels, c.widths, c.dims, coded=c.condition == "global")
            self.networks["judge"] = Judge(c.channels, c.dims)

    def stages(self) -> list[Stage]:
        """Segmentation; synthesis; registration (and synthesis, in turns with the judge); all of them."""
        c = self.config
        rates = {"synthesize": c.synthesize_rate, "segment": c.segment_rate}
        movers = tuple(name for name in ("synthesize", "register") if name in self.networks)
        judge = (Turn(("judge",), self.judge_loss, rate=c.judge_rate),) if "judge" in self.networks else ()
        by_itself = bool(c.synthesize_rounds) and "synthesize" in self.networks
        alone = Turn(("segment",), self.segmentation_loss, rate=c.segment_rate)
        making = Turn(("synthesize",), self.synthesis_loss, rate=c.synthesize_alone_rate)
        following = Turn(("register",), self.registration_loss, rate=c.register_rate)
        moving = Turn(movers, self.registration_loss, rate=c.register_rate, rates=rates)
        every = Turn((*movers, "segment"), self.joint_loss, rate=c.register_rate, rates=rates)
        return [
            Stage("segment", (alone,), c.segment_rounds, batches="labelled", decay=(0.7,)),
            *([Stage("synthesize", (making,), c.synthesize_rounds, cosine=True)] if by_itself else []),
            Stage("register", (following,) if by_itself else (moving, *judge), c.register_rounds, decay=(0.7,)),
            Stage("joint", (every, *judge), c.joint_rounds, batches="mixed", decay=(0.7,)),
        ]

    def graphs(self) -> list[Graph]:
        """``register`` and ``segment``; before them ``synthesize``, whose image the register graph takes as the moving one."""
        channels = dict.fromkeys(("fixed", "moving", "image", "synthetic"), self.config.channels)
        graphs = [
            Graph("register", self.networks["register"], ("fixed", "moving"), ("displacement",), channels),
            Graph("segment", self.networks["segment"], ("image",), ("logits",), channels),
        ]
        if "synthesize" in self.networks:
            looks_at = ("moving", "fixed") if self.config.condition == "global" else ("moving",)
            graphs.insert(0, Graph("synthesize", self.networks["synthesize"], looks_at, ("synthetic",), channels))
        return graphs

    def synthetic(self, batch: Batch) -> Float[Tensor, "b c *grid"]:
        """G(x): the moving image in the contrast of the fixed one; in jsegr the moving image."""
        fixed, moving = batch.pair()
        if "synthesize" not in self.networks:
            return moving
        network = self.networks["synthesize"]
        return network(moving, fixed) if self.config.condition == "global" else network(moving)

    def segmentation_loss(self, batch: Batch) -> Terms:
        """The squared Dice of single labelled images, in the contrast of the fixed ones, and their cross entropy."""
        return self._supervised(batch.fixed, batch.fixed_labels, batch.classes_present, 1.0)

    def synthesis_loss(self, batch: Batch) -> Terms:
        """``l1(G, y)``: F without movement and judge."""
        return {"appearance": mean_absolute(self.synthetic(batch), batch.fixed)}

    def registration_loss(self, batch: Batch) -> Terms:
        """F: ``2 l1(W(G, u), y) + λ_reg diffusion(u) + λ_syn GAN``; in jsegr local correlation, no GAN."""
        return self._registered(batch, self.synthetic(batch))[1]

    def joint_loss(self, batch: Batch) -> Terms:
        """``F + λ_seg [sqDice(W(S(G), u), S(y)) + sqDice(S(y_sup), p_sup)]``."""
        image, target, present = batch.labelled()
        made = self.synthetic(batch)
        field, terms = self._registered(batch, made)
        moved = warp(self._guess(made), field)
        agreement = soft_dice(moved, self._guess(batch.fixed), background=False, squared=True)
        anatomy = self.config.anatomy
        return {**terms, "agreement": anatomy * agreement, **self._supervised(image, target, present, anatomy)}

    def judge_loss(self, batch: Batch) -> Terms:
        """Telling images of the fixed contrast from synthetic ones."""
        with torch.no_grad():
            made = self.synthetic(batch)
        judge = self.networks["judge"]
        return {"judge": judge_loss(judge(batch.fixed), judge(made))}

    def _registered(self, batch: Batch, made: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        c, fixed = self.config, batch.fixed
        field = self.networks["register"](fixed, made)
        self.watch(field_voxels=field.detach().norm(dim=1).mean())
        smoothness = c.smoothness * diffusion_mean(field)
        if "judge" not in self.networks:
            return field, {"similarity": local_correlation(warp(made, field), fixed), "smoothness": smoothness}
        # the synthesis' own l1 needs the fixed image in the moving one's place: the warped one stands in, hence the 2
        terms = {"appearance": 2 * mean_absolute(warp(made, field), fixed), "smoothness": smoothness}
        return field, {**terms, "realism": c.realism * fooling_loss(self.networks["judge"](made))}

    def _guess(self, image: Tensor) -> Tensor:
        """S."""
        return self.networks["segment"](image).softmax(1)

    def _supervised(self, image: Tensor, labels: Tensor, present: Tensor, weight: float) -> dict[str, Tensor]:
        """``sqDice(S(y_sup), p_sup)``; the squared Dice of a label that is given no voxel has no slope, cross entropy has."""
        logits = self.networks["segment"](image)
        dice = soft_dice(logits.softmax(1), labels, background=False, squared=True, present=present)
        if not self.config.entropy:
            return {"supervision": weight * dice}
        entropy = cross_entropy(*merged_undrawn(logits, labels, present))
        return {"supervision": weight * dice, "entropy": weight * self.config.entropy * entropy}


METHOD = Jssr
