"""Contours that have no reference: their volume, and what can be seen to be odd about them. Pure: no files, no printing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from jrscli.metrics.contour_checks import contour_flags, is_body, swapped_sides
from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.overlap import centroid_mm
from jrscli.metrics.pair import Pair, box_geometry
from jrscli.metrics.slices import worst_slices
from jrscli.metrics.value import Value
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.pairing import structures_of


def describe_contours(part: StructureSet | LabelMap, geometry: Geometry, *, sides: bool = False) -> Evaluation:
    """A row per structure with ``volume.v1(test)``, its flags and the slices that show most of it.

    A structure that is named and has no voxel is a row of status "test_empty". There is no metric that needs a reference.
    sides: also flag pairs whose left one lies to the patient's right (− in LPS), which a source that calls them so would, too.
    """
    rows: list[Row] = []
    centres: dict[str, Float[np.ndarray, "3"]] = {}
    for one in structures_of(part, geometry):
        if one.box is None:
            value = Value("volume.v1(test)", 0.0, "cc", "test_empty")
            rows.append(Row(one.name, {value.id: value}, None, one.number))
            continue
        mask, grid = one.mask(one.box), box_geometry(geometry, one.box)
        i, j, k = (side.start for side in one.box)
        pair = Pair(np.zeros_like(mask), mask, grid, (i, j, k), geometry.shape)
        value = Value("volume.v1(test)", float(np.count_nonzero(mask)) * grid.voxel_volume_mm3 / 1000, "cc")
        outline = is_body(one.name, one.kind)
        centre = centroid_mm(mask, grid)
        if centre is not None and not outline:
            centres[one.name] = centre
        flags = ("body",) if outline else contour_flags(pair)
        rows.append(Row(one.name, {value.id: value}, None, one.number, flags, "", {"worst_slices": worst_slices(pair)}))
    facts: Mapping[str, object] = {"spacing_mm": list(geometry.spacing_mm), "shape": list(geometry.shape), "resampled": False}
    swapped = swapped_sides(centres, {}) if sides else ()
    rows = [replace(row, flags=(*row.flags, "swapped")) if row.name in swapped else row for row in rows]
    return Evaluation("labels", tuple(rows), facts)
