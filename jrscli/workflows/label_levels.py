"""Signed distances of several structures -> one label map."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume


def labels_from_levels(
    levels: Mapping[int, Volume],
    geometry: Geometry,
    names: Mapping[int, str],
    filler: tuple[int, Bool[np.ndarray, "i j k"]] | None = None,
) -> LabelMap:
    """Each voxel gets the label with the largest level; background where all levels are negative.

    Between two labels that touched, both levels may sink a little below 0: a voxel is taken where the two largest levels are
    nearly opposite, so that no seam of background opens there.
    levels: mm, positive inside, on boxes of ``geometry`` (same voxels). filler: a label and where it goes if nothing else does.
    """
    gap_mm = 0.3 * min(geometry.spacing_mm)
    best = np.full(geometry.shape, -np.inf, np.float32)
    second = np.full(geometry.shape, -np.inf, np.float32)
    labels = np.zeros(geometry.shape, np.uint32)
    for number, level in levels.items():
        low = np.rint(geometry.world_to_index(level.geometry.origin_mm[None])[0]).astype(int)
        part = tuple(slice(o, o + n) for o, n in zip(low, level.geometry.shape, strict=True))
        wins = level.array > best[part]
        second[part] = np.maximum(second[part], np.minimum(best[part], level.array))
        labels[part][wins] = number
        best[part] = np.maximum(best[part], level.array)
    seam = (best > -gap_mm) & (second > -gap_mm)
    labels[(best <= 0) & ~seam] = 0
    if filler is not None:
        labels[(labels == 0) & filler[1]] = filler[0]
    return LabelMap(labels, geometry, dict(names))
