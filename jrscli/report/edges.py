"""Edges of a picture as smooth lines, finer than its pixels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.measure import find_contours

Line = Float[np.ndarray, "n 2"]


def edge_strength(picture: Float[np.ndarray, "r c"], sigma_px: float) -> Float[np.ndarray, "r c"]:
    """Length of the gradient after smoothing, per pixel."""
    return np.hypot(*np.gradient(gaussian_filter(picture, sigma_px)))


def edge_lines(
    picture: Float[np.ndarray, "r c"], sigma_px: float, weak: float, strong: float, shortest_px: float
) -> list[Line]:
    """Lines (row, column) along which the gradient is largest across the line.

    A line follows the zero crossing of the second derivative along the gradient while the gradient exceeds ``weak``; it is
    kept if it reaches ``strong`` at its median and is long enough. Sources: Canny 1986, doi:10.1109/TPAMI.1986.4767851;
    Lindeberg 1998, doi:10.1023/A:1008097225773.
    """
    if min(picture.shape) < 4:
        return []
    # one smoothing, then differences: from a sigma of one pixel on these are the lines of Gaussian derivatives, sooner
    r, c = np.gradient(gaussian_filter(picture.astype(np.float64), sigma_px))
    rr, rc = np.gradient(r)
    cc = np.gradient(c, axis=1)
    strength = np.hypot(r, c)
    second = (r * r * rr + 2 * r * c * rc + c * c * cc) / np.maximum(strength, 1e-12) ** 2
    # zero crossings where the gradient is smallest across the line are valleys of it, not edges: the next derivative tells
    slope = np.gradient(second)
    ridge = r * slope[0] + c * slope[1] < 0
    lines = []
    for line in find_contours(second, 0.0, mask=(strength > weak) & ridge):
        along = map_coordinates(strength, line.T, order=1)
        length = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
        if length >= shortest_px and float(np.median(along)) >= strong:
            lines.append(line)
    return lines
