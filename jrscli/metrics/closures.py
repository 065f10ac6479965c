"""Two structures that touch and part in a series: how many of the true closures another series of masks has as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import binary_dilation

LEAST_PIXELS = 3
"""Pixels of one structure beside the other at which they count as closed."""


@dataclass(frozen=True)
class Closures:
    """reference: closures of the true series; captured: those that the other has too; invented: those of the other alone."""

    reference: int
    captured: int
    invented: int


def is_closed(flap: Bool[np.ndarray, "i j"], wall: Bool[np.ndarray, "i j"], *, least: int = LEAST_PIXELS) -> bool:
    """Whether at least so many pixels of the flap have a pixel of the wall among their eight neighbours.

    Give only the part of the flap that is meant to close, where it is fixed to the wall elsewhere.
    Source: Ruthven, Miquel, King, Biomedical Signal Processing and Control 80:104290, 2023, doi:10.1016/j.bspc.2022.104290; the
    neighbourhood is our choice.
    """
    beside = binary_dilation(wall, np.ones((3, 3), bool))
    return int((flap & beside).sum()) >= least


def runs(closed: Sequence[bool]) -> list[tuple[int, int]]:
    """The closures: first and last frame of each run of closed frames."""
    edges = np.diff(np.concatenate([[0], np.asarray(closed, np.int8), [0]]))
    return [(int(a), int(b) - 1) for a, b in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)]


def closures(reference: Sequence[bool], test: Sequence[bool]) -> Closures:
    """The closures of two series of frames (`is_closed` of each): captured is one whose run overlaps a run of the other series.

    Raises ValueError for series of different length.
    """
    if len(reference) != len(test):
        raise ValueError(f"{len(reference)} and {len(test)} frames: both series must have the same")
    true, found = runs(reference), runs(test)
    return Closures(
        len(true),
        sum(any(_meet(one, other) for other in found) for one in true),
        sum(not any(_meet(one, other) for other in true) for one in found),
    )


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
