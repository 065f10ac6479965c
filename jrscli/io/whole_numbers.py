"""Interpolated values back in the integer type that the image came in."""

from __future__ import annotations

import numpy as np

from jrscli.spatial.volume import Volume

FINE_ENOUGH = 500
"""With a range of at least this many steps, rounding changes a value by less than 0.1 % of the range."""


def rounded_like(volume: Volume, like: Volume) -> Volume:
    """``volume`` in whole numbers of the type of ``like`` where that loses nothing to speak of (a CT in HU), else as it is.

    A CT written as int16 takes a third of the space that float32 takes.
    """
    kind = like.array.dtype
    if kind.kind not in "iu" or volume.array.dtype.kind != "f" or float(np.ptp(like.array)) < FINE_ENOUGH:
        return volume
    bounds = np.iinfo(kind)
    return Volume(np.clip(np.rint(volume.array), bounds.min, bounds.max).astype(kind), volume.geometry)
