"""DDIR: every region of the heart has its own smooth velocity; the fields are pasted together along the fixed image's labels.

Chen, Xia, Ravikumar, Frangi: A Deep Discontinuity-Preserving Image Registration Network. MICCAI 2021,
doi:10.1007/978-3-030-87202-1_5. Departures: docs/methods/ddir.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jrscli.nn.networks import ImageToLogits
from jrscli.nn.overlap import cross_entropy, soft_dice
from jrscli.nn.regions import cut, hard, pasted
from jrscli.nn.similarity import local_correlation
from jrscli.nn.smoothness import velocity_divergence
from jrscli.nn.unet import half_unet, head, light_unet
from jrscli.nn.warp import integrate, resize_field, warp
from jrscli.recipe import Batch, FieldKind, Graph, Method, Stage, Terms, Turn


@dataclass(frozen=True)
class Config:
    """What may be set."""

    classes: int = 4
    """Channels of the labels, background included (R = K + 1)."""
    channels: int = 1
    """Channels of an image."""
    dims: int = 3
    """Axes of the grid."""
    regions: bool = True
    """One field per label; false is the ablation: one field for everything, from whole images, as in VoxelMorph-diff."""
    widths: tuple[int, ...] = (16, 32, 32, 32)
    """Channels at 1/2, 1/4 … of the resolution, of each region's network."""
    similarity: float = 20.0
    """Of the local correlation of fixed and warped image."""
    overlap: float = 200.0
    """Of the Dice between warped and fixed labels."""
    smoothness: float = 0.1
    """Of the mean divergence of the velocities from their smooth prior."""
    precision: float = 100.0
    """λ_p, of that prior."""
    squarings: int = 7
    """Of each velocity."""
    rounds: int = 2000
    """Steps of the registration."""
    rate: float = 1e-4
    """Step size of the registration."""
    segment_rounds: int = 600
    """Steps of the segmenter that gives the labels where a user has none; 0: no segmenter, labels are always asked for."""
    segment_rate: float = 1e-3
    """Step size of the segmenter."""


class Region(nn.Module):
    """A pair of images, cut to one region, to the mean and the log-variance of a velocity at half resolution."""

    def __init__(self, channels: int, widths: Sequence[int], dims: int) -> None:
        super().__init__()
        self.features = half_unet(2 * channels, widths, dims=dims)
        self.mean = head(self.features.width, dims, dims=dims, size=3, spread=1e-5)
        self.log_variance = head(self.features.width, dims, dims=dims, size=3, spread=1e-10)
        nn.init.constant_(self.log_variance.get_parameter("bias"), -10.0)

    def forward(self, pair: Float[Tensor, "b c *grid"]) -> tuple[Tensor, Tensor]:
        """μ and s of z ~ N(μ, eˢ), in voxels of their own grid."""
        x = self.features(pair)
        return self.mean(x), self.log_variance(x)


class Regions(nn.Module):
    """A network per region; as a graph it gives the mean velocities, one region after the other."""

    def __init__(self, count: int, channels: int, widths: Sequence[int], dims: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(Region(channels, widths, dims) for _ in range(count))

    def distributions(self, pairs: Float[Tensor, "b r c *grid"]) -> tuple[Tensor, Tensor]:
        """μ and s of every region: (b, r, d, half the grid)."""
        found = [network(pairs[:, k]) for k, network in enumerate(self.each)]
        return torch.stack([mean for mean, _ in found], dim=1), torch.stack([s for _, s in found], dim=1)

    def forward(
        self, fixed: Tensor, moving: Tensor, fixed_labels: Tensor | None = None, moving_labels: Tensor | None = None
    ) -> Float[Tensor, "b v *half"]:
        """Velocities from both images, and the labels of both where there are regions."""
        mean, _ = self.distributions(within(fixed, moving, fixed_labels, moving_labels))
        return mean.flatten(1, 2)


class Ddir(Method):
    """The recipe: ``regions``, and ``segment`` for the labels that a user does not give."""

    departures = ("b", "d", "e")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = c = config
        self.multiple = 2 ** max(len(c.widths), 3)
        self.field = FieldKind("region_velocity" if c.regions else "velocity", squarings=c.squarings, scale=2)
        self.requires = ("fixed_labels", "moving_labels") if c.regions else ()
        self.networks = nn.ModuleDict({"regions": Regions(c.classes if c.regions else 1, c.channels, c.widths, c.dims)})
        if c.segment_rounds:
            self.networks["segment"] = ImageToLogits(light_unet(c.channels, dims=c.dims), c.classes, c.dims)

    def stages(self) -> list[Stage]:
        """The segmenter alone, then the registration by true labels: neither knows of the other."""
        c = self.config
        register = Turn(("regions",), self.registration_loss, rate=c.rate)
        stages = [Stage("register", (register,), c.rounds, batches="labelled-pairs", decay=(0.7,))]
        if "segment" in self.networks:
            segment = Turn(("segment",), self.segmentation_loss, rate=c.segment_rate)
            stages.insert(0, Stage("segment", (segment,), c.segment_rounds, batches="labelled", decay=(0.7,)))
        return stages

    def graphs(self) -> list[Graph]:
        """``register``, which needs the labels of both images, and ``segment``."""
        c = self.config
        labels = self.requires
        channels = dict.fromkeys(labels, c.classes) | {"velocity": len(self.regions.each) * c.dims}
        graphs = [Graph("register", self.regions, ("fixed", "moving", *labels), ("velocity",), channels)]
        if "segment" in self.networks:
            graphs.append(Graph("segment", self.networks["segment"], ("image",), ("logits",)))
        return graphs

    @property
    def regions(self) -> Regions:
        """The networks of the regions."""
        networks = self.networks["regions"]
        assert isinstance(networks, Regions)
        return networks

    def segmentation_loss(self, batch: Batch) -> Terms:
        """Cross entropy and Dice."""
        logits = self.networks["segment"](batch.fixed)
        labels = batch.fixed_labels
        return {"entropy": cross_entropy(logits, labels), "dice": soft_dice(logits.softmax(1), labels, background=False)}

    def registration_loss(self, batch: Batch) -> Terms:
        """``20 lncc + 200 dice + 0.1 (1/R) Σ_k KL_k`` with one draw ``z = μ + e^{s/2} n`` of every velocity."""
        c = self.config
        fixed, moving = batch.pair()
        of_fixed, of_moving = self._labels(batch)
        pairs = within(fixed, moving, of_fixed, of_moving) if c.regions else within(fixed, moving)
        mean, log_variance = self.regions.distributions(pairs)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        field = self.composed(z, of_fixed)
        self.watch(field_voxels=field.detach().norm(dim=1).mean())
        divergence = velocity_divergence(mean.flatten(0, 1), log_variance.flatten(0, 1), c.precision)
        return {
            "similarity": c.similarity * local_correlation(fixed, warp(moving, field)),
            "overlap": c.overlap * soft_dice(warp(of_moving, field), of_fixed, background=False),
            "smoothness": c.smoothness * divergence,
        }

    def composed(
        self, velocities: Float[Tensor, "b r d *half"], labels: Float[Tensor, "b r *grid"]
    ) -> Float[Tensor, "b d *grid"]:
        """u from every region's velocity and the labels of the fixed image."""
        shape = labels.shape[2:]
        fields = resize_field(integrate(velocities.flatten(0, 1), self.config.squarings), shape)
        fields = fields.unflatten(0, velocities.shape[:2])
        return pasted(fields, labels) if self.config.regions else fields[:, 0]

    def _labels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of the fixed and the moving image, one class per voxel."""
        known = batch.has_moving_labels
        if batch.moving_labels is None or known is None or not bool((known & batch.has_fixed_labels).all()):
            raise ValueError("this loss needs the labels of both images; draw the stage's batches as 'labelled-pairs'")
        return hard(batch.fixed_labels), hard(batch.moving_labels)


def within(
    fixed: Float[Tensor, "b c *grid"],
    moving: Float[Tensor, "b c *grid"],
    fixed_labels: Float[Tensor, "b r *grid"] | None = None,
    moving_labels: Float[Tensor, "b r *grid"] | None = None,
) -> Float[Tensor, "b r c *grid"]:
    """(M·1_k, F·1_k) of every region k, each image cut along its own labels; without labels one region: everything."""
    if fixed_labels is None or moving_labels is None:
        return torch.cat([moving, fixed], dim=1).unsqueeze(1)
    return torch.cat([cut(moving, moving_labels), cut(fixed, fixed_labels)], dim=2)


METHOD = Ddir
