"""Repairing the shape of a small flat organ by that of a template, seen along the patient.

Both masks are projected along the third axis, and the template's projection is laid onto the other by shift, turn and one
scale. Then two numbers decide: how unlike the shapes are (Hu's moments), and how well they overlap (Dice).
Source: Huang et al., IEEE TMI 41(4), 2022 (of the optic chiasm); Hu, IRE Transactions on Information Theory 8, 1962.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import affine_transform

Decision = Literal["keep", "cut", "replace"]
UNLIKE = 1.0
"""A distance of Hu's moments from which on shapes count as unlike."""
OVERLAP = 0.5
"""A Dice from which on projections count as overlapping."""
STEPS = 10
SMALLEST = 1e-12


def decide(unlike: float, dice: float) -> Decision:
    """What is done with a mask that is unlike the template: cut by it where they overlap, else replaced; others are kept."""
    if unlike < UNLIKE:
        return "keep"
    return "cut" if dice >= OVERLAP else "replace"


def corrected(mask: Bool[np.ndarray, "i j k"], template: Bool[np.ndarray, "i j k"]) -> Bool[np.ndarray, "i j k"]:
    """The mask with its shape repaired by the template's, which lies in the same place already but for a small similarity.

    An empty mask, or an empty template, changes nothing.
    """
    if not mask.any() or not template.any():
        return mask
    flat, other = np.asarray(mask.any(axis=2)), np.asarray(template.any(axis=2))
    matrix, offset = similarity(other, flat)
    laid = _moved(other.astype(np.float64), matrix, offset) > 0.5
    both = float((laid & flat).sum())
    dice = 2 * both / max(float(laid.sum() + flat.sum()), 1.0)
    choice = decide(hu_distance(flat, laid), dice)
    if choice == "cut":
        return np.asarray(mask & laid[:, :, None])
    if choice == "replace":
        slices = [_moved(template[:, :, k].astype(np.float64), matrix, offset) > 0.5 for k in range(template.shape[2])]
        return np.stack(slices, axis=2)
    return mask


def hu_moments(mask: Bool[np.ndarray, "i j"]) -> Float[np.ndarray, "7"]:
    """Seven numbers of a drawing that do not change when it is moved, turned or enlarged."""
    index = np.argwhere(mask).astype(float)
    x, y = (index - index.mean(axis=0)).T
    mass = float(len(index))

    def eta(p: int, q: int) -> float:
        return float((x**p * y**q).sum()) / mass ** (1 + (p + q) / 2)

    n20, n02, n11, n30, n03, n21, n12 = (eta(*pq) for pq in ((2, 0), (0, 2), (1, 1), (3, 0), (0, 3), (2, 1), (1, 2)))
    a, b, c, d = n30 + n12, n21 + n03, n30 - 3 * n12, 3 * n21 - n03
    return np.array(
        [
            n20 + n02,
            (n20 - n02) ** 2 + 4 * n11**2,
            c**2 + d**2,
            a**2 + b**2,
            c * a * (a**2 - 3 * b**2) + d * b * (3 * a**2 - b**2),
            (n20 - n02) * (a**2 - b**2) + 4 * n11 * a * b,
            d * a * (a**2 - 3 * b**2) - c * b * (3 * a**2 - b**2),
        ]
    )


def hu_distance(one: Bool[np.ndarray, "i j"], other: Bool[np.ndarray, "i j"]) -> float:
    """How unlike two drawings are: the sum over the first two moments of the difference of their logarithms.

    The higher moments are near zero, and their logarithms all noise, for drawings of few voxels. Infinite where one is empty.
    """
    if not one.any() or not other.any():
        return float("inf")
    a, b = (np.log(np.maximum(np.abs(hu_moments(mask)[:2]), SMALLEST)) for mask in (one, other))
    return float(np.abs(a - b).sum())


def similarity(moving: Bool[np.ndarray, "i j"], fixed: Bool[np.ndarray, "i j"]) -> tuple[np.ndarray, np.ndarray]:
    """The pull ``x ↦ matrix x + offset`` of shift, turn and scale that lays a drawing onto another: steps down their MSE."""
    start = np.array([*(np.argwhere(moving).mean(axis=0) - np.argwhere(fixed).mean(axis=0)), 0.0, 0.0])
    middle = np.argwhere(fixed).mean(axis=0)
    image, target = moving.astype(np.float64), fixed.astype(np.float64)
    best, lowest = start, _mse(image, target, start, middle)
    sizes = np.array([1.0, 1.0, 0.1, 0.1])
    for _ in range(STEPS):
        before = lowest
        for axis in range(4):
            for sign in (1.0, -1.0):
                tried = best.copy()
                tried[axis] += sign * sizes[axis]
                found = _mse(image, target, tried, middle)
                if found < lowest:
                    best, lowest = tried, found
        if lowest == before:
            sizes = sizes / 2
    return _affine(best, middle)


def _mse(image: np.ndarray, target: np.ndarray, values: np.ndarray, middle: np.ndarray) -> float:
    return float(((_moved(image, *_affine(values, middle)) - target) ** 2).mean())


def _affine(values: Sequence[float] | np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shift, turn, size = np.asarray(values[:2]), float(values[2]), float(np.exp(values[3]))
    matrix = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return matrix, middle + shift - matrix @ middle


def _moved(image: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    return np.asarray(affine_transform(image, matrix, offset, order=1, mode="constant"))
