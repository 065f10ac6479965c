"""Polygons in the plane of a slice -> pixels, by counting the edges that a line of pixel centres crosses."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32

LINES = 8
"""Lines per pixel on which shares of pixels are measured; along a line they are exact."""
AREA_LINES = 400
"""At least this many lines measure the area of a polygon …"""
MOST_CROSSINGS = 1_000_000
"""… as long as they do not cross its edges more often than this."""


def fill_polygons(polygons: list[Float[np.ndarray, "n 2"]], shape: tuple[int, int]) -> Bool[np.ndarray, "u v"]:
    """Where an odd number of edges lies at or before the pixel centre on its line; vertices in continuous pixel indices."""
    mask = np.zeros(shape, bool, order="F")
    fill_into(mask, polygons)
    return mask


def fill_into(mask: Bool[np.ndarray, "u v"], polygons: list[Float[np.ndarray, "n 2"]]) -> None:
    """Set the pixels of a blank ``mask`` that `fill_polygons` gives; only the polygons' box is touched."""
    low, high = pixel_box(polygons, (mask.shape[0], mask.shape[1]))
    width, height = (high - low).tolist()
    if width <= 0 or height <= 0:
        return
    lines, crossings = _crossings(polygons, int(low[1]), int(high[1]))
    # an edge through the centre (within rounding) belongs to the pixel on its right
    first = np.clip(np.ceil(crossings - 1e-7) - low[0], 0, width).astype(np.int64)
    toggles = np.bincount((lines - low[1]) * (width + 1) + first, minlength=height * (width + 1))
    odd = (toggles.reshape(height, width + 1)[:, :width] & 1).astype(bool)
    mask[low[0] : high[0], low[1] : high[1]] = np.logical_xor.accumulate(odd, axis=1).T


def cover_polygons(polygons: list[Float[np.ndarray, "n 2"]], shape: tuple[int, int]) -> Float32[np.ndarray, "u v"]:
    """The share of each pixel inside the polygons (even-odd), 0 … 1, from `LINES` lines per pixel."""
    width, height = shape
    lines, crossings, sign = _spans(polygons, LINES, (0, height * LINES))
    lines, crossings = lines // LINES, np.clip(crossings, -0.5, width - 0.5)
    # what lies right of a crossing is all of the pixels after its own, and a part of its own
    pixel = np.minimum(np.floor(crossings + 0.5).astype(np.int64), width - 1)
    part = pixel + 0.5 - crossings
    at = lines * (width + 1) + pixel
    steps = np.bincount(at, sign * part, height * (width + 1)) + np.bincount(at + 1, sign * (1 - part), height * (width + 1))
    share = np.cumsum(steps.reshape(height, width + 1)[:, :width], axis=1).T / LINES
    return np.clip(share, 0, 1).astype(np.float32)


def area_of(polygons: list[Float[np.ndarray, "n 2"]]) -> float:
    """The area inside the polygons (even-odd), in pixels."""
    height = max(float(np.ptp(polygon[:, 1])) for polygon in polygons)
    climb = sum(float(np.abs(np.diff(polygon[:, 1], append=polygon[:1, 1])).sum()) for polygon in polygons)
    # enough lines for a small contour, and not more crossings than memory holds for one that goes far beyond any patient
    per_pixel = min(max(float(np.ceil(AREA_LINES / max(height, 1e-3))), LINES), MOST_CROSSINGS / max(climb, 1e-3))
    _, crossings, sign = _spans(polygons, per_pixel)
    return float(-(sign * crossings).sum()) / per_pixel


def pixel_box(polygons: list[Float[np.ndarray, "n 2"]], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last pixel along both axes that the polygons can touch, within ``shape``."""
    vertices = np.concatenate(polygons)
    low = np.clip(np.floor(vertices.min(axis=0) + 0.5), 0, shape).astype(np.int64)
    high = np.clip(np.floor(vertices.max(axis=0) + 0.5) + 1, 0, shape).astype(np.int64)
    return low, high


def _spans(
    polygons: list[np.ndarray], per_pixel: float, window: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crossings on so many lines per pixel, in order along each line; +1 where the inside begins, −1 where it ends."""
    # fine line f of pixel p runs at p − ½ + (f + ½) / per_pixel
    fine = [polygon * (1, per_pixel) + (0, per_pixel / 2 - 0.5) for polygon in polygons]
    lines, crossings = _crossings(fine, *(window or (-MOST_CROSSINGS, MOST_CROSSINGS)))
    order = np.lexsort((crossings, lines))
    # each line is crossed an even number of times, so the signs begin anew on each
    return lines[order], crossings[order], 1.0 - 2.0 * (np.arange(len(lines)) & 1)


def _crossings(polygons: list[np.ndarray], first_line: int, last_line: int) -> tuple[np.ndarray, np.ndarray]:
    """Lines (whole second coordinates, from the first to before the last) that the edges cross, and where.

    An edge owns its lower end and not its upper one, and is always walked upwards: an edge that two polygons share, or that a
    keyhole walks twice, crosses at the very same number and cancels.
    """
    starts = np.concatenate(polygons)
    ends = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    upward = (starts[:, 1] <= ends[:, 1])[:, None]
    low, high = np.where(upward, starts, ends), np.where(upward, ends, starts)
    first = np.clip(np.ceil(low[:, 1]), first_line, last_line).astype(np.int64)
    count = np.clip(np.ceil(high[:, 1]), first_line, last_line).astype(np.int64) - first
    edge = np.repeat(np.arange(len(low)), count)
    line = np.repeat(first, count) + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    rise = high[edge, 1] - low[edge, 1]
    crossing = low[edge, 0] + (line - low[edge, 1]) * ((high[edge, 0] - low[edge, 0]) / rise)
    return line, crossing
