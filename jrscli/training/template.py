"""The template of a method that brings its own moving image: the training case most like all others after a similarity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from jrscli.errors import UsageError
from jrscli.nn.parametric import rotation
from jrscli.nn.warp import identity_like, sample
from jrscli.runtime.prepare import on_grid
from jrscli.spatial.geometry import Geometry
from jrscli.training.prepared import Cases, grid_of, source_of
from jrscli.training.rows import as_batch, drawn_in

COARSER = 4
"""Voxels of the grid for one on which candidates are compared."""
OTHERS = 12
"""With how many other cases a candidate is compared."""
STEPS = 30
LONGEST, SHORTEST = 1.0, 1e-4
"""Of a step of the descent, voxels of the coarse grid."""


class Template(NamedTuple):
    """A template as it is shipped: scanner values and label numbers on the network's grid."""

    image: Num[np.ndarray, "i j k"]
    labels: UInt8[np.ndarray, "i j k"]
    geometry: Geometry


def choose_template(cases: Cases, patient: str | None = None, seed: int = 0) -> int:
    """The number of the case with the lowest mean ``(1 − Dice) + 0.5 MSE`` to others after a similarity, or that of a patient.

    Only cases in which every label was drawn can be it.

    Raises UsageError `data.template`.
    """
    whole = [n for n in cases.labelled if all(cases[n].drawn)]
    if patient is not None:
        whole = [n for n in whole if cases.cases[n].patient == patient]
    if not whole:
        words = "no training case has every label" if patient is None else f"{patient} is no training case that has every label"
        raise UsageError(words, code="data.template", hint="name one with template in the data list")
    if len(whole) == 1:
        return whole[0]
    rng = np.random.default_rng(seed)
    scores = []
    for n in whole:
        others = [m for m in cases.labelled if cases.cases[m].patient != cases.cases[n].patient]
        chosen = rng.permutation(others)[:OTHERS].tolist()
        scores.append(float(disagreement(cases, n, chosen).mean()))
    return whole[int(np.argmin(scores))]


def disagreement(cases: Cases, moving: int, fixed: list[int]) -> Float[Tensor, "n"]:
    """``DI = (1 − Dice) + 0.5 MSE`` of a case with others, each after the similarity that makes their images most alike."""
    device = torch.device("cpu")
    target, target_labels = (torch.cat(parts) for parts in zip(*(_coarse(cases, n, device) for n in fixed), strict=True))
    image, labels = (x.expand_as(like) for x, like in zip(_coarse(cases, moving, device), (target, target_labels), strict=True))
    index = similarity(image, target)
    moved, carried = sample(image, index), sample(labels, index)
    present = drawn_in([cases[n] for n in fixed], labels.shape[1], device).float()
    overlap = 2 * (carried * target_labels).flatten(2).sum(2)[:, 1:]
    size = (carried + target_labels).flatten(2).sum(2)[:, 1:].clamp_min(1e-6)
    dice = (overlap / size * present).sum(1) / present.sum(1).clamp_min(1)
    return (1 - dice) + 0.5 * (moved - target).square().flatten(1).mean(1)


def similarity(moving: Float[Tensor, "n c *grid"], fixed: Float[Tensor, "n c *grid"]) -> Float[Tensor, "n d *grid"]:
    """Where each fixed voxel reads from: shift, rotation and one scale for each row, by steps down their squared difference.

    A step that does not help a row is halved for it.
    """
    dims = fixed.ndim - 2
    index = identity_like(fixed[:, :1].expand(-1, dims, *fixed.shape[2:]))
    middle = torch.tensor([(n - 1) / 2 for n in fixed.shape[2:]]).view(1, dims, *(1,) * dims)
    radius = float(middle.mean())
    turns = 3 if dims == 3 else 1
    values = torch.zeros(len(fixed), dims + turns + 1)
    best, down, step = values.clone(), torch.zeros_like(values), torch.full((len(fixed), 1), LONGEST)
    lowest = torch.full((len(fixed),), torch.inf)

    def placed(now: Tensor) -> Tensor:
        shift, angles, scale = now[:, :dims], now[:, dims:-1] / radius, torch.exp(now[:, -1] / radius)
        matrix = rotation(angles) * scale.view(-1, 1, 1)
        turned = torch.einsum("ndc,bc...->nd...", matrix, index - middle)
        return turned + middle + shift.view(*shift.shape, *(1,) * dims)

    for _ in range(STEPS):
        values = values.detach().requires_grad_()
        loss = (sample(moving, placed(values)) - fixed).square().flatten(1).mean(1)
        (slope,) = torch.autograd.grad(loss.sum(), values)
        better = (loss.detach() < lowest)[:, None]
        lowest = torch.minimum(loss.detach(), lowest)
        best = torch.where(better, values.detach(), best)
        down = torch.where(better, slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-12), down)
        step = torch.where(better, step, step / 2).clamp_min(SHORTEST)
        values = best - step * down
    return placed(best)


def _coarse(cases: Cases, number: int, device: torch.device) -> tuple[Tensor, Tensor]:
    found = as_batch(cases[number], cases.data, device)
    size = [max(n // COARSER, 4) for n in found[0].shape[2:]]
    image, labels = (interpolate(x, size=size, mode="area") for x in found)
    return image, labels


def shipped(cases: Cases, number: int) -> Template:
    """The template as it goes with the card."""
    volume, _ = source_of(cases.data, cases.cases[number])
    geometry, labels = grid_of(cases.data, volume), cases[number].labels
    assert labels is not None
    values = on_grid(volume, geometry, None, float(volume.array.min()))
    if volume.array.dtype.kind in "iu":
        values = np.rint(np.clip(values, -32768, 32767)).astype(np.int16)
    return Template(values, labels, geometry)
