"""How good the networks are on the validation part: Dice on the network's grid, by the graphs that would be exported."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from jrscli.metrics.overlap import Counts, dice
from jrscli.nn.warp import warp
from jrscli.recipe import Method
from jrscli.training.prepared import Cases
from jrscli.training.sampling import as_batch


def validation_pairs(cases: Cases, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """The same ``count`` ordered pairs of labelled cases (fixed, moving) every time."""
    every = [(a, b) for a, b in permutations(cases.labelled, 2) if cases.make_a_pair(a, b)]
    if len(every) <= count:
        return every
    chosen = np.random.default_rng(seed).choice(len(every), count, replace=False)
    return [every[n] for n in sorted(chosen)]


@torch.no_grad()
def validate(method: Method, cases: Cases, pairs: list[tuple[int, int]], device: torch.device) -> dict[str, float]:
    """``registration`` and ``segmentation`` (mean Dice over foreground labels), and ``folds`` (% of voxels, det J ≤ 0).

    Labels are warped one-hot and linearly, then the largest channel counts. What method or data do not have is left out.
    """
    method.eval()
    found: dict[str, float] = {}
    classes = len(cases.data.labels)
    scores, folds = [], []
    for a, b in pairs:
        (fixed, of_fixed), (moving, of_moving) = (as_batch(cases[n], cases.data, device) for n in (a, b))
        labels = (of_fixed, of_moving)
        field = method.pull(fixed, moving, {"fixed": labels[0], "moving": labels[1]})
        if field is None:
            break
        scores.append(hard_dice(warp(labels[1], field).argmax(1), labels[0].argmax(1), classes))
        folds.append(float((determinant(field) <= 0).float().mean()) * 100)
    if scores:
        found["registration"] = float(np.nanmean(scores))
        found["folds"] = float(np.mean(folds))
    segment = method.graph("segment")
    if segment and cases.labelled:
        scores = []
        for n in cases.labelled:
            image, truth = as_batch(cases[n], cases.data, device)
            scores.append(hard_dice(segment.module(image).argmax(1), truth.argmax(1), classes))
        found["segmentation"] = float(np.nanmean(scores))
    return found


def hard_dice(a: Tensor, b: Tensor, classes: int) -> float:
    """Mean Dice of the foreground labels that occur in either; NaN where none does."""
    scores = []
    for label in range(1, classes):
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
