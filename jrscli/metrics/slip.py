"""How far tissue slides along the border of a structure: what a field that is smooth everywhere cannot show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter

from jrscli.metrics.value import Value
from jrscli.spatial.displacement import DisplacementField

REACH = 3
"""Voxels between the two points that are compared: a field is stored between voxels, which smears a jump over two of them."""
FAR = 2.0
"""Axes whose voxels are longer than the finest by more than this factor are left out: thick slices compare points far apart."""
_MARGIN = REACH + 3

Points = Bool[np.ndarray, "i j k"]


def slip(field: DisplacementField, mask: Bool[np.ndarray, "i j k"] | None) -> tuple[Value, Value]:
    """``slip.v1`` and ``slip.v1(near)``, mm: how much displacements differ along the border of a mask.

    The first is the mean over pairs of points three voxels apart, one on each side of the border, the second over pairs as far
    apart on one side of it, just within and just without. Only the part of the difference that is parallel to the border
    counts. Alike, nothing slides that the field knows of.

    Not assessed without a mask, or where there are no such pairs.
    """
    if mask is None or not mask.any() or mask.all():
        return _none("slip.v1"), _none("slip.v1(near)")
    low = np.maximum(np.argwhere(mask).min(axis=0) - _MARGIN, 0)
    high = np.minimum(np.argwhere(mask).max(axis=0) + _MARGIN + 1, mask.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part, vectors = mask[box], np.asarray(field.array[box], np.float64)
    normal = _normals(part, field)
    across, near = list[np.ndarray](), list[np.ndarray]()
    for axis in _axes(field):
        for here, start, end in _pairs(part, axis):
            found = across if here == "across" else near
            found.append(_parallel(vectors[end] - vectors[start], normal[start] + normal[end]))
    return _mean("slip.v1", across), _mean("slip.v1(near)", near)


def _axes(field: DisplacementField) -> list[int]:
    spacing = field.geometry.spacing_mm
    return [n for n in range(3) if spacing[n] <= FAR * min(spacing) and field.geometry.shape[n] > REACH]


def _normals(mask: Points, field: DisplacementField) -> Float[np.ndarray, "i j k 3"]:
    """Where the mask lies from each voxel near its border, in patient coordinates; of any length."""
    soft = gaussian_filter(mask.astype(np.float32), 1.5)
    slope = np.stack([np.gradient(soft, axis=n) if mask.shape[n] > 1 else np.zeros(mask.shape) for n in range(3)], axis=-1)
    along: Float[np.ndarray, "i j k 3"] = slope @ np.linalg.inv(field.geometry.affine[:3, :3])
    return along


def _pairs(mask: Points, axis: int) -> Iterator[tuple[str, tuple[np.ndarray, ...], tuple[np.ndarray, ...]]]:
    """Pairs of indices ``REACH`` apart along an axis: across the border (once, in its middle), or wholly beside it."""
    lines = np.moveaxis(mask, axis, 0)
    for kind, pattern in (
        ("across", (False, False, True, True)),
        ("across", (True, True, False, False)),
        ("near", (True, True, True, True, False)),
        ("near", (False, True, True, True, True)),
        ("near", (False, False, False, False, True)),
        ("near", (True, False, False, False, False)),
    ):
        count = lines.shape[0] - len(pattern) + 1
        if count < 1:
            continue
        fits = np.all([lines[n : n + count] == wanted for n, wanted in enumerate(pattern)], axis=0)
        # of five voxels four are compared: those of one side
        first = int(len(pattern) > REACH + 1 and pattern[0] != pattern[1])
        index = np.argwhere(fits)
        start, end = index.copy(), index.copy()
        start[:, 0] += first
        end[:, 0] += first + REACH
        order = np.argsort([axis, *(n for n in range(3) if n != axis)])
        yield kind, tuple(start[:, order].T), tuple(end[:, order].T)


def _parallel(difference: Float[np.ndarray, "n 3"], normal: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    unit = normal / np.maximum(length, 1e-9)
    within = difference - (difference * unit).sum(axis=1, keepdims=True) * unit
    return np.linalg.norm(within, axis=1)[length[:, 0] > 1e-6]


def _mean(name: str, found: list[np.ndarray]) -> Value:
    values = np.concatenate(found) if found else np.zeros(0)
    return Value(name, float(values.mean()), "mm") if values.size else _none(name)


def _none(name: str) -> Value:
    return Value(name, None, "mm", "not_assessed")
