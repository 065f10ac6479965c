"""Outlines of structures for the overlay picture."""

from __future__ import annotations

import colorsys
from typing import Literal

from jrscli.report.overlay import Outline
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.volume import LabelMap

MOST = 24
"""More structures than this would be a tangle."""


def outlines_of(
    structures: StructureSet | LabelMap, geometry: Geometry, row: Literal["before", "after", "both"] = "both"
) -> list[Outline]:
    """The structures as seen on ``geometry``, in their own colours or else in colours by their number; without names."""
    if isinstance(structures, LabelMap):
        if not structures.geometry.matches(geometry):
            return []
        return [Outline(structures.mask(n), colour_of(n), row=row) for n in structures.numbers()[:MOST]]
    drawn = [roi for roi in structures.rois if roi.closed][:MOST]
    return [Outline(rasterize(roi, geometry), roi.colour or colour_of(roi.number), row=row) for roi in drawn]


def colour_of(number: int) -> tuple[int, int, int]:
    """A bright colour that differs from those of the neighbouring numbers."""
    r, g, b = colorsys.hsv_to_rgb((number * 0.381966) % 1.0, 0.75, 1.0)
    return round(r * 255), round(g * 255), round(b * 255)
