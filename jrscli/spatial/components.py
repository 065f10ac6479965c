"""The connected parts of a label map, and dropping those too small to be meant."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Shaped
from scipy.ndimage import generate_binary_structure, label

Labels = TypeVar("Labels", bound=Shaped[np.ndarray, "*grid"])


def large_parts(mask: Bool[np.ndarray, "*grid"], share: float) -> Bool[np.ndarray, "*grid"]:
    """The mask without its parts that are smaller than ``share`` of its largest one; parts that touch at a corner are one."""
    parts, count = label(mask, generate_binary_structure(mask.ndim, mask.ndim))
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    found: np.ndarray = (sizes >= share * sizes.max())[parts]
    found &= mask
    return found


def cleaned(labels: Labels, share: float, *, slices: bool = False) -> Labels:
    """The label numbers, 0 where a label's part was smaller than ``share`` of its largest one.

    slices: each slice (last axis) by itself.
    """
    if not share:
        return labels
    out = labels.copy()
    for view in np.moveaxis(out, -1, 0) if slices else (out,):
        for number in np.unique(view):
            if number:
                mask = view == number
                view[mask & ~large_parts(mask, share)] = 0
    return out
