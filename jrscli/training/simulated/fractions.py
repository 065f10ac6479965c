"""Simulated daily images: a planning image after a known motion, with the look of another day, and if wanted another contrast.

Nothing made here is a real second image: models that learn from it say so in their cards (`simulated_training`,
`trained.simulation`). What such models are tested on must be made by another generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from jrscli.nn.filters import gaussian
from jrscli.nn.parametric import rotation
from jrscli.nn.warp import compose, identity_like, integrate, resize_field, warp
from jrscli.runtime.plain import need

COARSER = 4
"""Voxels of the image that one voxel of the simulated velocity spans along each axis."""
SQUARINGS = 5


@dataclass(frozen=True)
class Fraction:
    """How a daily image is made: ``F(x) = M(x + u(x))``, u a rigid set-up error after the exponential of a smooth velocity.

    shift_mm, rotate_degrees: the largest set-up error along and about each axis. smooth_mm: the velocity is white noise
    smoothed by a Gaussian of such an SD, drawn between the two. peak_mm: its longest vector, drawn between the two.
    noise: SD of white noise, drawn between the two; shading: the largest slow change; both as parts of the image's range
    (0.02 of a window of 500 HU are 10 HU), and neither where the window has cut the values off.
    """

    shift_mm: float = 3.0
    rotate_degrees: float = 2.0
    smooth_mm: tuple[float, float] = (20.0, 30.0)
    peak_mm: tuple[float, float] = (5.0, 10.0)
    noise: tuple[float, float] = (0.02, 0.04)
    shading: float = 0.06

    def __post_init__(self) -> None:
        for low, high in (self.smooth_mm, self.peak_mm, self.noise):
            need(0 <= low <= high, "smooth_mm, peak_mm and noise are two values each, the smaller one first")
        need(min(self.shift_mm, self.rotate_degrees, self.shading) >= 0, "no amount is negative")


@dataclass(frozen=True)
class Contrast:
    """A second contrast: grey values go through a curve, linear between its values at even steps from the least to the largest.

    The default rises and falls (fat bright, bone dark), so no monotone change of grey values undoes it. gain: the largest
    multiplicative slow change. noise: SD of white noise. Values are parts of the image's range.
    """

    curve: tuple[float, ...] = (0.0, 0.9, 0.35, 0.6, 0.15)
    gain: float = 0.15
    noise: float = 0.03

    def __post_init__(self) -> None:
        need(len(self.curve) >= 2, "a curve has two values or more")
        need(all(0 <= value <= 1 for value in self.curve), "the values of the curve are 0 … 1")


class Simulated(NamedTuple):
    """A simulated pair, one row: the motion moves ``moving`` onto ``fixed`` (pull, voxels) and is exactly known."""

    fixed: Float[Tensor, "c *grid"]
    fixed_labels: Float[Tensor, "k *grid"]
    moving: Float[Tensor, "c *grid"]
    moving_labels: Float[Tensor, "k *grid"]
    motion: Float[Tensor, "d *grid"]


def simulated_pair(
    image: Float[Tensor, "c *grid"],
    labels: Float[Tensor, "k *grid"],
    spacing_mm: Sequence[float],
    fraction: Fraction,
    contrast: Contrast | None,
    generator: torch.Generator,
) -> Simulated:
    """The image as ``moving``, in another contrast if one is given, and what is simulated of it as ``fixed``; values 0 … 1."""
    motion = random_motion(image, spacing_mm, fraction, generator)
    moved = warp(torch.cat([image, labels])[None], motion)[0]
    fixed = of_another_day(moved[: len(image)], fraction, generator)
    moving = image if contrast is None else recoloured(image, contrast, generator)
    return Simulated(fixed, moved[len(image) :], moving, labels, motion[0])


def random_motion(
    image: Float[Tensor, "c *grid"], spacing_mm: Sequence[float], amounts: Fraction, generator: torch.Generator
) -> Float[Tensor, "1 d *grid"]:
    """u in voxels: the flow of a smooth velocity, then a rotation about the middle of the grid and a shift."""
    shape = image.shape[1:]
    dims = len(shape)
    mm = torch.tensor(spacing_mm[:dims]).to(image).view(1, dims, *(1,) * dims)
    coarse = [max(n // COARSER, 2) for n in shape]
    wide = mm * torch.tensor([(n - 1) / (m - 1) for n, m in zip(shape, coarse, strict=True)]).to(mm).view_as(mm)
    sigma_mm = _between(amounts.smooth_mm, generator)
    white = torch.randn((1, dims, *coarse), generator=generator).to(image)
    smooth = gaussian(white, [sigma_mm / float(step) for step in wide.flatten()])
    longest = smooth.norm(dim=1).max().clamp_min(1e-6)
    velocity = smooth / longest * _between(amounts.peak_mm, generator) / wide
    flow = resize_field(integrate(velocity, SQUARINGS), shape)
    angles = _even((1, 3 if dims == 3 else 1), math.radians(amounts.rotate_degrees), generator)
    shift = _even((1, dims), amounts.shift_mm, generator)
    index = identity_like(flow)
    middle = torch.tensor([(n - 1) / 2 for n in shape]).to(index).view_as(mm)
    away = (index - middle) * mm
    turned = torch.einsum("dc,bc...->bd...", rotation(angles)[0].to(image), away) + shift.to(image).view_as(mm)
    return compose(flow, (turned - away) / mm)


def of_another_day(image: Float[Tensor, "c *grid"], amounts: Fraction, generator: torch.Generator) -> Float[Tensor, "c *grid"]:
    """The image with noise and slow shading of its own, where its values lie within the window."""
    noise = torch.randn(image.shape, generator=generator).to(image) * _between(amounts.noise, generator)
    change = noise + slow(image, amounts.shading, generator)
    within = (image > 0) & (image < 1)
    return torch.where(within, image + change, image).clamp(0, 1)


def recoloured(image: Float[Tensor, "c *grid"], amounts: Contrast, generator: torch.Generator) -> Float[Tensor, "c *grid"]:
    """The image in the second contrast."""
    curve = torch.tensor(amounts.curve).to(image)
    place = image.clamp(0, 1) * (len(curve) - 1)
    below = place.floor().clamp_max(len(curve) - 2).long()
    found = torch.lerp(curve[below], curve[below + 1], place - below)
    grain = torch.randn(image.shape, generator=generator).to(image) * amounts.noise
    return (found * (1 + slow(image, amounts.gain, generator)) + grain).clamp(0, 1)


def slow(image: Float[Tensor, "c *grid"], most: float, generator: torch.Generator) -> Float[Tensor, "1 *grid"]:
    """A random field that changes slowly over the grid of the image, between −most and most."""
    dims = image.ndim - 1
    knots = _even((1, 1, *(3,) * dims), most, generator).to(image)
    mode = "trilinear" if dims == 3 else "bilinear"
    return functional.interpolate(knots, size=tuple(image.shape[1:]), mode=mode, align_corners=True)[0]


def _between(both: tuple[float, float], generator: torch.Generator) -> float:
    return both[0] + (both[1] - both[0]) * float(torch.rand((), generator=generator))


def _even(shape: tuple[int, ...], most: float, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(shape, generator=generator) - 1) * most
