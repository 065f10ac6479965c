"""Augmentation: the same case in another place, shape and contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from jrscli.nn.warp import identity_like, sample
from jrscli.training.simulated.fractions import slow


@dataclass(frozen=True)
class Augmentation:
    """How much; every amount is the largest, drawn evenly, unless said otherwise. All 0: nothing happens.

    rotate_degrees: about each axis. scale: as a part (0.1 = 0.9 … 1.1), each axis on its own. shift_voxels: along each axis.
    bend_voxels: SD of a smooth random displacement with a grid of ``bend_knots`` knots per axis.
    gamma: exponent e^±gamma, of images whose values are 0 … 1. gain: multiplicative, a smooth field over the image.
    noise: the largest SD of white noise.
    chance: how likely a case is changed at all.
    in_plane: the place changes within slices alone, turned about the third axis: for slices far thicker than their voxels.
    """

    rotate_degrees: float = 10.0
    scale: float = 0.1
    shift_voxels: float = 3.0
    bend_voxels: float = 1.0
    bend_knots: int = 5
    gamma: float = 0.3
    gain: float = 0.1
    noise: float = 0.04
    chance: float = 0.8
    in_plane: bool = False


def augment(
    image: Float[Tensor, "c *grid"],
    one_hot: Float[Tensor, "k *grid"],
    amounts: Augmentation,
    generator: torch.Generator,
    place: torch.Generator | None = None,
    *,
    bounded: bool = True,
) -> tuple[Float[Tensor, "c *grid"], Float[Tensor, "k *grid"]]:
    """The image and its labels, moved alike, linearly; what comes in from outside repeats the border.

    bounded: whether the image's values are 0 … 1 and stay there; z-scores are not.
    place: draws the movement, where another image is to be moved in the same way.
    """
    place = place or generator
    if float(torch.rand((), generator=place)) >= amounts.chance:
        return image, one_hot
    index = _moved_index(image[None], amounts, place)
    both = sample(torch.cat([image, one_hot])[None], index)[0]
    return _recoloured(both[: len(image)], amounts, generator, bounded=bounded), both[len(image) :]


def _moved_index(image: Tensor, amounts: Augmentation, generator: torch.Generator) -> Tensor:
    """Where each voxel reads from: an affine map about the middle, and a smooth displacement."""
    dims = image.ndim - 2
    index = identity_like(image)
    size = torch.tensor(image.shape[2:], dtype=index.dtype, device=index.device)
    middle = ((size - 1) / 2).view(1, dims, *(1,) * dims)
    matrix = torch.eye(dims)
    angles = _even((dims if dims == 3 else 1,), math.radians(amounts.rotate_degrees), generator)
    if amounts.in_plane and dims == 3:
        angles = angles * torch.tensor([0.0, 0.0, 1.0])
    for axis, angle in enumerate(angles.tolist()):
        a, b = [n for n in range(dims) if dims == 2 or n != axis]
        turn = torch.eye(dims)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    matrix = matrix @ torch.diag(1 + _even((dims,), amounts.scale, generator))
    shift = _even((dims,), amounts.shift_voxels, generator)
    knots = torch.randn((1, dims, *(amounts.bend_knots,) * dims), generator=generator) * amounts.bend_voxels
    mode = "trilinear" if dims == 3 else "bilinear"
    bend = functional.interpolate(knots.to(index), size=tuple(image.shape[2:]), mode=mode, align_corners=True)
    turned = torch.einsum("dc,bc...->bd...", matrix.to(index), index - middle)
    moved = turned + middle + shift.to(index).view(1, dims, *(1,) * dims) + bend
    return torch.cat([moved[:, :2], index[:, 2:]], dim=1) if amounts.in_plane else moved


def _recoloured(image: Tensor, amounts: Augmentation, generator: torch.Generator, *, bounded: bool) -> Tensor:
    gamma = math.exp(float(_even((), amounts.gamma, generator)))
    gain = slow(image, amounts.gain, generator)
    noise = torch.randn(image.shape, generator=generator).to(image) * float(torch.rand((), generator=generator)) * amounts.noise
    if not bounded:
        return image * (1 + gain) + noise
    return (image.clamp(0, 1) ** gamma * (1 + gain) + noise).clamp(0, 1)


def _even(shape: tuple[int, ...], most: float, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(shape, generator=generator) - 1) * most
