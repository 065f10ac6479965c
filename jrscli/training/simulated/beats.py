"""Simulated heart beats: a sequence between two real images of one heart, which is all that most data sets have of it.

Nothing made here is a real cine: models that learn from it say so in their cards (`simulated_training`, `trained.simulation`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jrscli.nn.filters import gaussian
from jrscli.nn.overlap import soft_dice
from jrscli.nn.similarity import local_correlation
from jrscli.nn.smoothness import diffusion_mean
from jrscli.nn.warp import integrate, resize_field, warp
from jrscli.runtime.plain import need

COARSER = 4
"""Voxels of the image that one voxel of the fitted velocity spans along each axis."""
SQUARINGS = 5


@dataclass(frozen=True)
class Cycle:
    """How a beat is made of two images: both stand in it as they are, the frames between them are the first one, moved.

    Frame t of 0 … ``frames`` is ``W(I_0, exp(c(t) v))``, ``c(t) = (1 − cos(2π t / frames)) / 2``; v is the velocity of a
    classical registration of the pair: local correlation, Dice of the labels where both are labelled, and ``smoothness`` times
    the diffusion of v, by ``steps`` steps of Adam of ``rate`` voxels. noise: SD of the speckle of moved frames, a part of
    their values.
    """

    frames: int = 10
    steps: int = 60
    rate: float = 0.1
    smoothness: float = 0.2
    noise: float = 0.03

    def __post_init__(self) -> None:
        need(self.frames >= 2, "a cycle has two frames or more after the first one")
        need(self.steps >= 0 and self.noise >= 0 and self.smoothness >= 0, "steps, noise and smoothness are not negative")

    @property
    def peak(self) -> int:
        """The frame that is the second image."""
        return self.frames // 2

    def part(self, frame: int) -> float:
        """c(t): how much of the way the frame has gone; exactly 1 at the peak, whether or not the number of frames is even."""
        back = max(self.frames - self.peak, 1)
        phase = frame / self.peak if frame <= self.peak else 1 + (frame - self.peak) / back
        return float(0.5 - 0.5 * torch.cos(torch.tensor(torch.pi * phase, dtype=torch.float64)))


def velocity_between(
    one: Float[Tensor, "b c *grid"],
    other: Float[Tensor, "b c *grid"],
    labels: tuple[Float[Tensor, "b k *grid"], Float[Tensor, "b k *grid"]] | None,
    cycle: Cycle,
) -> Float[Tensor, "b d *coarse"]:
    """The velocity whose flow makes ``one`` look like ``other``: ``W(one, exp(v)) ≈ other``, in voxels of a coarse grid."""
    shape = one.shape[2:]
    coarse = tuple(max(n // COARSER, 2) for n in shape)
    velocity = torch.zeros(one.shape[0], len(shape), *coarse, device=one.device, requires_grad=True)
    optimiser = torch.optim.Adam([velocity], lr=cycle.rate)
    with torch.enable_grad():
        for _ in range(cycle.steps):
            field = resize_field(integrate(velocity, SQUARINGS), shape)
            loss = local_correlation(other, warp(one, field)) + cycle.smoothness * diffusion_mean(velocity)
            if labels is not None:
                loss = loss + soft_dice(warp(labels[0], field), labels[1], background=False)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return velocity.detach()


@torch.no_grad()
def beat(
    one: Float[Tensor, "c *grid"],
    other: Float[Tensor, "c *grid"],
    velocity: Float[Tensor, "d *coarse"],
    cycle: Cycle,
    generator: torch.Generator,
) -> Float[Tensor, "t c *grid"]:
    """Frames 0 … ``cycle.frames``: the first is ``one``, the one at the peak ``other``, the rest simulated."""
    frames = []
    for t in range(cycle.frames + 1):
        if t in (0, cycle.peak):
            frames.append(other if t else one)
            continue
        field = resize_field(integrate(cycle.part(t) * velocity[None], SQUARINGS), one.shape[1:])
        moved = warp(one[None], field)
        grain = torch.randn(moved.shape, generator=generator).to(moved)
        speckle = gaussian(grain, (0.7,) * (moved.ndim - 2))
        frames.append((moved * (1 + cycle.noise * speckle / speckle.std().clamp_min(1e-6)))[0].clamp(0, 1))
    return torch.stack(frames)
