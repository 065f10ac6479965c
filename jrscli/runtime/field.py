"""What graphs leave to the runtime: squaring, composition, region sums, the inverse of a field, its fading beyond the grid.

Fields are arrays of shape (3, i, j, k): pull displacements in voxels, component n along axis n. numpy and scipy only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import map_coordinates, zoom

from jrscli.runtime.card_graph import Field

CLOSE_VOXELS = 0.01
"""Residual at which an inverse counts as found."""
ITERATIONS = 30
FAR_VOXELS = 16
"""The widest margin in which a field fades."""


def sample(array: Float32[np.ndarray, "c i j k"], index: Float32[np.ndarray, "3 ..."]) -> Float32[np.ndarray, "c ..."]:
    """The channels read linearly at continuous voxel indices; beyond the border what the border holds."""
    return np.stack([map_coordinates(channel, index, order=1, mode="nearest", output=np.float32) for channel in array])


def compose(first: Float32[np.ndarray, "3 i j k"], second: Float32[np.ndarray, "3 i j k"]) -> Float32[np.ndarray, "3 i j k"]:
    """The field of "``first``, then ``second``": ``u(x) = first(x) + second(x + first(x))``."""
    return first + sample(second, _indices(first) + first)


def integrate(velocity: Float32[np.ndarray, "3 i j k"], squarings: int) -> Float32[np.ndarray, "3 i j k"]:
    """The exponential of a stationary velocity: ``u ← u ∘ u``, ``squarings`` times from ``v / 2^squarings`` on.

    Source: Arsigny et al., MICCAI 2006, doi:10.1007/11866565_113.
    """
    field = velocity / np.float32(2**squarings)
    for _ in range(squarings):
        field = compose(field, field)
    return field


def enlarged(field: Float32[np.ndarray, "3 i j k"], shape: Sequence[int]) -> Float32[np.ndarray, "3 l m n"]:
    """The field on a grid of ``shape`` voxels over the same corners, its values turned into the new voxels."""
    old = field.shape[1:]
    if tuple(old) == tuple(shape):
        return field
    factors = [new / was for new, was in zip(shape, old, strict=True)]
    ratio = [(new - 1) / (was - 1) if was > 1 else 1.0 for new, was in zip(shape, old, strict=True)]
    parts = [
        zoom(part, factors, order=1, mode="nearest", grid_mode=False) * np.float32(r)
        for part, r in zip(field, ratio, strict=True)
    ]
    return np.stack(parts).astype(np.float32)


def displacement(
    output: Float32[np.ndarray, "c i j k"],
    spec: Field,
    shape: Sequence[int],
    regions: Float32[np.ndarray, "r i j k"] | None = None,
) -> Float32[np.ndarray, "3 l m n"]:
    """The displacement in voxels of a grid of ``shape``, of what a graph gave as its field.

    regions: for a region velocity, one map per region that says where it counts (of the image that ``spec.compose`` names).
    """
    parts = output.reshape(-1, 3, *output.shape[1:])
    if spec.kind != "displacement":
        parts = np.stack([integrate(part, spec.squarings) for part in parts])
    wide = [enlarged(part, shape) for part in parts]
    if spec.kind != "region_velocity":
        return wide[0]
    assert regions is not None
    total: Float32[np.ndarray, "3 l m n"] = sum(region * part for region, part in zip(regions, wide, strict=True))
    return total


def inverse_of(
    output: Float32[np.ndarray, "c i j k"], spec: Field, shape: Sequence[int]
) -> Float32[np.ndarray, "3 l m n"] | None:
    """The way back that a velocity gives for nothing (the exponential of its negative); None for other fields."""
    if spec.kind != "velocity":
        return None
    return enlarged(integrate(-output, spec.squarings), shape)


def invert(
    field: Float32[np.ndarray, "3 i j k"], start: Float32[np.ndarray, "3 i j k"] | None = None
) -> Float32[np.ndarray, "3 i j k"]:
    """The field w with ``w(y) + u(y + w(y)) = 0``, by fixed-point steps, from ``start`` on; damped where they swing.

    Source: Chen et al., Medical Physics 35(1), 2008, doi:10.1118/1.2816107; the damping is ours.
    """
    index = _indices(field)
    w = -field if start is None else start.copy()
    residual = w + sample(field, index + w)
    todo = np.nonzero((np.abs(residual).max(axis=0) > CLOSE_VOXELS).ravel())[0]
    place, flat = index.reshape(3, -1), w.reshape(3, -1)
    error, step = residual.reshape(3, -1)[:, todo], np.ones(todo.size, np.float32)
    for _ in range(ITERATIONS):
        if not todo.size:
            break
        tried = flat[:, todo] - step * error
        left = tried + sample(field, place[:, todo] + tried)
        worse = (left**2).sum(axis=0) > (error**2).sum(axis=0)
        flat[:, todo] = np.where(worse, flat[:, todo], tried)
        error, step = np.where(worse, error, left), np.where(worse, step / 2, step).astype(np.float32)
        keep = np.abs(error).max(axis=0) > CLOSE_VOXELS
        todo, error, step = todo[keep], error[:, keep], step[keep]
    return flat.reshape(field.shape)


def margin_of(field: Float32[np.ndarray, "3 i j k"], inside: Sequence[int] = (0, 0, 0)) -> tuple[int, int, int]:
    """Voxels to add on each side so that the field can fade slowly: over three times what it is at its border, and 2.

    inside: how many voxels at its border hold nothing of either image, where it may fade already.
    """
    sizes = []
    for axis in range(3):
        if field.shape[axis + 1] == 1:
            sizes.append(0)
            continue
        largest = max(float(np.abs(np.take(field, [0, -1], axis=a + 1)).max()) for a in range(3))
        sizes.append(max(0, min(int(np.ceil(3 * largest)) + 2, FAR_VOXELS) - int(inside[axis])))
    return sizes[0], sizes[1], sizes[2]


def faded(
    field: Float32[np.ndarray, "3 i j k"], margin: Sequence[int], inside: Sequence[int] = (0, 0, 0)
) -> Float32[np.ndarray, "3 l m n"]:
    """The field continued into the margin, falling smoothly to zero over it and over the ``inside`` voxels before it."""
    wide = np.pad(field, [(0, 0), *((width, width) for width in margin)], mode="edge")
    for axis, (added, own) in enumerate(zip(margin, inside, strict=True), start=1):
        width = added + own
        if width and field.shape[axis] > 1:
            position = np.arange(wide.shape[axis])
            depth = np.minimum(np.minimum(position, position[::-1]), width) / width
            ramp = (0.5 - 0.5 * np.cos(np.pi * depth)).astype(np.float32)
            wide *= ramp.reshape([-1 if a == axis else 1 for a in range(4)])
    return wide


def _indices(field: Float32[np.ndarray, "3 i j k"]) -> Float32[np.ndarray, "3 i j k"]:
    return np.indices(field.shape[1:], dtype=np.float32)
