"""Boxes of voxels round structures: how far they reach, where they lie in a grid, what is cut out and put back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

Box = tuple[slice, ...]
MARGIN = 1.25
SPREAD = 3.0


def sides_of(mask: Bool[np.ndarray, "*grid"]) -> Float[np.ndarray, "sides"] | None:
    """How far the outermost voxels lie from the centroid: below, above along the first axis, then the next; None if empty."""
    index = np.argwhere(mask)
    if not len(index):
        return None
    middle = index.mean(axis=0)
    return np.stack([middle - index.min(axis=0), index.max(axis=0) - middle], axis=1).ravel()


def reach_of(sides: Float[np.ndarray, "cases sides"]) -> Float[np.ndarray, "sides"]:
    """``R = 1.25 (mean D + 3 std D)`` of what `sides_of` gave for several cases.

    Source: Huang et al., IEEE TMI 41(4), 2022, ROI layer.
    """
    return np.asarray(MARGIN * (sides.mean(axis=0) + SPREAD * sides.std(axis=0)))


def box_about(middle: Sequence[float], reach: Sequence[float], shape: Sequence[int]) -> Box:
    """The voxels between ``middle − reach`` and ``middle + reach``, moved so that the box lies inside ``shape``.

    reach: below and above along each axis. Sides are rounded up to even numbers; a box larger than the grid is cut to it, then
    down to an even number where the grid's own is odd.
    """
    found = []
    for axis, n in enumerate(shape):
        low = math.floor(middle[axis] - reach[2 * axis])
        high = math.ceil(middle[axis] + reach[2 * axis + 1]) + 1
        side = min(high - low + (high - low) % 2, n - n % 2)
        start = min(max(low, 0), n - side)
        found.append(slice(start, start + side))
    return tuple(found)


def fallen_back(middles: Float[np.ndarray, "k d"], at_first: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k d"]:
    """Middles of structures with those that were lost (NaN) where the others' mean movement would have taken them.

    at_first: the middles before the movement; NaN for a structure that never was, which stays so.
    """
    moved = middles - at_first
    known = ~np.isnan(moved).any(axis=1)
    mean = moved[known].mean(axis=0) if known.any() else np.zeros(middles.shape[1])
    return np.where(np.isnan(middles), at_first + mean, middles)
