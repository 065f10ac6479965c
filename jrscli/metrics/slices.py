"""What happens slice by slice: where two masks differ most, and the Dice of each slice."""

from __future__ import annotations

from typing import Any

import numpy as np

from jrscli.metrics.pair import Pair


def worst_slices(pair: Pair) -> tuple[int, int, int] | None:
    """Per array axis the slice of the image in which the largest area is in one mask only; None if both masks are empty.

    Where the masks agree everywhere it is the slice that shows most of them.
    """
    differ = pair.reference ^ pair.test
    shown = differ if differ.any() else pair.reference
    if not shown.any():
        return None
    i, j, k = (
        int(np.count_nonzero(shown, axis=tuple(a for a in range(3) if a != axis)).argmax()) + pair.lower[axis]
        for axis in range(3)
    )
    return i, j, k


def by_slice(pair: Pair) -> dict[str, Any]:
    """Per slice (last axis) that either mask reaches: ``dice``, and the first slice's number; ready for JSON."""
    ours, theirs = (np.count_nonzero(mask, axis=(0, 1)) for mask in (pair.reference, pair.test))
    both = np.count_nonzero(pair.reference & pair.test, axis=(0, 1))
    held = np.flatnonzero(ours + theirs)
    if not len(held):
        return {"first": None, "dice": []}
    part = slice(int(held[0]), int(held[-1]) + 1)
    total = (ours + theirs)[part]
    dice = [round(float(2 * b / t), 4) if t else None for b, t in zip(both[part], total, strict=True)]
    return {"first": int(held[0]) + pair.lower[2], "dice": dice}
