"""Slices that were left out when a structure was drawn: contours put between its contours, on request only."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from jrscli.spatial.contouring import contours_from_levels
from jrscli.spatial.distance import plane_distance
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.planes import place_contours
from jrscli.spatial.polygons import fill_polygons
from jrscli.spatial.structures import Contour, Roi

FINER = 4
"""Between two slices the outline is looked for on pixels this many times finer than the image's …"""
MOST_PIXELS = 1000
"""… as long as it has no more than this many across."""


def fill_gaps(roi: Roi, geometry: Geometry) -> tuple[Roi, int]:
    """The ROI with contours on the slices inside it that had none, and how many slices were filled.

    Between the contours of two slices the outline runs where their signed distances, weighted by nearness, sum to 0. Where the
    two have nothing in common nothing is put between them. Contours across the slices stay as they are.

    Source: Raya and Udupa, IEEE TMI 9(1), 1990, doi:10.1109/42.52980.
    """
    placed = place_contours(roi, geometry)
    drawn = sorted(placed.planes)
    added: list[Contour] = []
    filled = 0
    for below, above in pairwise(drawn):
        if above - below > 1:
            found = _between(placed.planes, below, above, placed.slice_axis, geometry)
            added += [contour for contours in found for contour in contours]
            filled += sum(bool(contours) for contours in found)
    return (replace(roi, contours=roi.contours + tuple(added)) if added else roi), filled


def _between(
    planes: dict[int, list[np.ndarray]], below: int, above: int, axis: int, geometry: Geometry
) -> list[tuple[Contour, ...]]:
    """The contours of each slice between two that have some."""
    vertices = np.concatenate(planes[below] + planes[above])
    in_plane = [a for a in range(3) if a != axis]
    # what lies beyond the image is not drawn: contours may go anywhere
    low = np.maximum(np.floor(vertices.min(axis=0)) - 1, 0)
    high = np.minimum(np.ceil(vertices.max(axis=0)) + 2, np.array(geometry.shape)[in_plane])
    finer = int(np.clip(MOST_PIXELS / float((high - low).max()), 1, FINER))
    shape = (int(high[0] - low[0]) * finer, int(high[1] - low[1]) * finer)
    spacing = np.array(geometry.spacing_mm)[in_plane] / finer
    levels = [
        plane_distance(
            # fine pixel f of pixel p has its centre at p − ½ + (f + ½) / finer
            fill_polygons([(polygon - low + 0.5) * finer - 0.5 for polygon in planes[k]], shape),
            (float(spacing[0]), float(spacing[1])),
        )
        for k in (below, above)
    ]
    found = []
    for k in range(below + 1, above):
        weight = np.float32((k - below) / (above - below))
        level = ((1 - weight) * levels[0] + weight * levels[1])[:, :, None]
        start = np.zeros(3)
        start[in_plane] = low - 0.5 + 0.5 / finer
        start[axis] = k
        affine = np.eye(4)
        affine[:3, :3] = geometry.affine[:3, [*in_plane, axis]] / (finer, finer, 1)
        affine[:3, 3] = geometry.index_to_world(start[None])[0]
        found.append(contours_from_levels(level, Geometry((*shape, 1), affine), 0.0))
    return found
