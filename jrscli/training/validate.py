"""How good the networks are on the validation part: Dice on the network's grid, by the graphs that would be exported."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from jrscli.metrics.overlap import Counts, dice
from jrscli.nn.warp import warp
from jrscli.recipe import Method
from jrscli.training.prepared import Cases, Prepared
from jrscli.training.rows import as_batch, drawn_in, in_range, in_unit, simulated_of
from jrscli.training.simulated.fractions import Contrast, Fraction

SEED = 1000
"""Of the simulated images of validation; each case adds its number."""


def validation_pairs(cases: Cases, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """The same ``count`` ordered pairs of labelled cases (fixed, moving) every time."""
    every = [(a, b) for a, b in product(cases.labelled, repeat=2) if cases.make_a_pair(a, b)]
    if len(every) <= count:
        return every
    chosen = np.random.default_rng(seed).choice(len(every), count, replace=False)
    return [every[n] for n in sorted(chosen)]


class Example(NamedTuple):
    """A pair that is scored. present: foreground labels drawn in both images. motion: the true one, where it is simulated."""

    fixed: Float[Tensor, "b c *grid"]
    fixed_labels: Float[Tensor, "b k *grid"]
    moving: Float[Tensor, "b c *grid"]
    moving_labels: Float[Tensor, "b k *grid"]
    present: Bool[Tensor, "foreground"]
    motion: Float[Tensor, "b d *grid"] | None = None


class Examples:
    """The pairs of some cases, the same every time. fraction, contrast: how second images are simulated, where they are.

    template: the moving image of every pair, of a method that has one.
    """

    def __init__(
        self,
        cases: Cases,
        device: torch.device,
        *,
        fraction: Fraction = Fraction(),
        contrast: Contrast = Contrast(),
        template: Prepared | None = None,
    ) -> None:
        self.cases, self.device, self.template = cases, device, template
        self.fraction, self.contrast = fraction, contrast

    def pair(self, a: int, b: int) -> Example:
        """Case a as the fixed image, case b as the moving one; for a simulation of one case both are that one."""
        data = self.cases.data
        one, other = self.cases[a], self.template or self.cases[b]
        present = self.present(one) & self.present(other)
        fixed, fixed_labels = as_batch(one, data, self.device)
        if data.simulates:
            generator = torch.Generator().manual_seed(SEED + a)
            row = simulated_of(in_unit(fixed[0], data), fixed_labels[0], data, self.fraction, self.contrast, generator)
            images = (in_range(image[None], data) for image in (row.fixed, row.moving))
            labels = (row.fixed_labels[None], row.moving_labels[None])
            return Example(next(images), labels[0], next(images), labels[1], present, row.motion[None])
        return Example(fixed, fixed_labels, *as_batch(other, data, self.device), present)

    def present(self, case: Prepared) -> Bool[Tensor, "foreground"]:
        """The foreground labels drawn in the case."""
        return drawn_in([case], len(self.cases.data.labels), self.device)[0]


@torch.no_grad()
def validate(method: Method, examples: Examples, pairs: list[tuple[int, int]]) -> dict[str, float]:
    """``registration`` and ``segmentation`` (mean Dice over foreground labels), and ``folds`` (% of voxels, det J ≤ 0).

    Labels are warped one-hot and linearly, then the largest channel counts; those not drawn do not count. A method that
    labels the fixed image of a pair alone is scored on that. ``error_mm``: the mean error of the displacement where a simulated
    motion is known, over the labels. What method or data do not have is left out.
    """
    method.eval()
    cases, data = examples.cases, examples.cases.data
    classes = len(data.labels)
    found: dict[str, list[float]] = {}
    for a, b in pairs:
        one = examples.pair(a, b)
        seen = method.on_pair(one.fixed, one.moving, {"fixed": one.fixed_labels, "moving": one.moving_labels})
        if seen is None:
            break
        field, truth = seen.displacement, one.fixed_labels.argmax(1)
        moved = warp(one.moving_labels, field).argmax(1)
        found.setdefault("registration", []).append(hard_dice(moved, truth, classes, one.present))
        found.setdefault("folds", []).append(float((determinant(field) <= 0).float().mean()) * 100)
        if seen.fixed_logits is not None:
            dice = hard_dice(seen.fixed_logits.argmax(1), truth, classes, one.present)
            found.setdefault("segmentation", []).append(dice)
        if one.motion is not None:
            mm = torch.tensor((data.grid.spacing_mm or (1.0, 1.0, 1.0))[: field.shape[1]], device=field.device)
            apart = ((field - one.motion) * mm.view(1, -1, *(1,) * len(mm))).norm(dim=1)
            found.setdefault("error_mm", []).append(float(apart[truth > 0].mean()))
    segment = method.graph("segment")
    if segment and segment.inputs == ("image",) and cases.labelled:
        scores = []
        for n in cases.labelled:
            image, labels = as_batch(cases[n], data, examples.device)
            predicted = segment.module(image).argmax(1)
            scores.append(hard_dice(predicted, labels.argmax(1), classes, examples.present(cases[n])))
        found["segmentation"] = scores
    return {name: float(np.nanmean(values)) for name, values in found.items()}


def hard_dice(a: Tensor, b: Tensor, classes: int, present: Bool[Tensor, "foreground"] | None = None) -> float:
    """Mean Dice of the foreground labels (of those ``present``) that occur in either; NaN where none does."""
    scores = []
    for label in range(1, classes):
        if present is not None and not bool(present[label - 1]):
            continue
        one, other = a == label, b == label
        value = dice(Counts(int(one.sum()), int(other.sum()), int((one & other).sum()))).value
        if value is not None:
            scores.append(value)
    return float(np.mean(scores)) if scores else float("nan")


def determinant(field: Tensor) -> Tensor:
    """det(I + ∂u/∂x) in voxels, forward differences, without the last voxel of each axis."""
    dims = field.ndim - 2
    columns = []
    for axis in range(dims):
        step = field.diff(dim=axis + 2)
        for other in range(dims):
            if other != axis:
                step = step.narrow(other + 2, 0, step.shape[other + 2] - 1)
        columns.append(step)
    jacobian = torch.stack(columns, dim=-1).movedim(1, -2) + torch.eye(dims, device=field.device)
    return torch.linalg.det(jacobian)
