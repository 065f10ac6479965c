"""Fewer points on a closed line, within a distance that is checked."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float


def keep_within(ring_mm: Float[np.ndarray, "n 2"], tolerance_mm: float) -> tuple[Bool[np.ndarray, " n"], float]:
    """Which points of a closed ring to keep, and how far the ring then leaves the old one anywhere, at most ``tolerance_mm``.

    Every point left out lies within the tolerance of the line that replaces it, and so does that line of the old ring. Rings
    that would keep fewer than three points, or no area, are kept whole.

    Source: Douglas and Peucker, Cartographica 10(2), 1973, doi:10.3138/FM57-6770-U75U-7727.
    """
    whole = np.ones(len(ring_mm), bool)
    if len(ring_mm) < 4 or tolerance_mm <= 0:
        return whole, 0.0
    keep = np.zeros(len(ring_mm) + 1, bool)
    closed = np.vstack([ring_mm, ring_mm[:1]])
    far = int(np.argmax(np.linalg.norm(ring_mm - ring_mm[0], axis=1)))
    keep[[0, far, -1]] = True
    spans = [(0, far), (far, len(ring_mm))]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        off = _distance_mm(closed[first + 1 : last], closed[first], closed[last])
        worst = int(np.argmax(off))
        if off[worst] > tolerance_mm:
            middle = first + 1 + worst
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    if keep[:-1].sum() < 3 or _area(ring_mm[keep[:-1]]) * _area(ring_mm) <= 0:
        return whole, 0.0
    return keep[:-1], _deviation_mm(closed, np.flatnonzero(keep))


def _deviation_mm(closed: np.ndarray, kept: np.ndarray) -> float:
    """How far the points between kept ones lie from the line between those: measured anew, on what is kept."""
    worst = 0.0
    for first, last in pairwise(kept.tolist()):
        if last - first > 1:
            worst = max(worst, float(_distance_mm(closed[first + 1 : last], closed[first], closed[last]).max()))
    return worst


def _distance_mm(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance of points to a piece of a line."""
    along = end - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1) if length > 0 else np.zeros(len(points))
    return np.asarray(np.linalg.norm(points - start - share[:, None] * along, axis=1))


def _area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
