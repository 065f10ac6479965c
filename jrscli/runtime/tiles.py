"""Running a graph tile by tile: overlapping patches whose answers are blended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from jaxtyping import Float32

from jrscli.progress import Progress, silent

Arrays = Mapping[str, Float32[np.ndarray, "1 c i j k"]]


def starts(size: int, patch: int, overlap: int, step: int = 1) -> list[int]:
    """Where tiles begin along one axis: at multiples of ``step``, the last one ending with the image.

    Neighbours share at least ``overlap`` voxels.
    """
    stride = max((patch - overlap) // step, 1) * step
    return [*range(0, size - patch, stride), max(size - patch, 0)]


def window(patch: Sequence[int], overlap: Sequence[int]) -> Float32[np.ndarray, "i j k"]:
    """How much each voxel of a tile counts: 1 in its middle, falling linearly over the overlap, never 0."""
    total = np.ones((1, 1, 1), np.float32)
    for axis, (n, shared) in enumerate(zip(patch, overlap, strict=True)):
        edge = np.minimum(np.arange(n), np.arange(n)[::-1]) + 1.0
        ramp = np.minimum(edge / (shared + 1), 1.0).astype(np.float32)
        total = total * ramp.reshape([-1 if a == axis else 1 for a in range(3)])
    return total


def run_tiled(
    run: Callable[[Arrays], Arrays],
    inputs: Arrays,
    patch: Sequence[int],
    overlap: Sequence[int],
    step: Sequence[int] = (1, 1, 1),
    progress: Progress = silent,
) -> dict[str, Float32[np.ndarray, "1 c i j k"]]:
    """The outputs of ``run`` on whole images, made of tiles of ``patch`` voxels.

    All inputs share one grid, at least as large as a tile along each axis; an output may be a whole number of times coarser.
    step: of what the corners of tiles are multiples, so that coarser outputs fit together.
    """
    shape = next(iter(inputs.values())).shape[2:]
    corners = list(product(*(starts(*of_axis) for of_axis in zip(shape, patch, overlap, step, strict=True))))
    sums: dict[str, np.ndarray] = {}
    weights: dict[str, np.ndarray] = {}
    for done, corner in enumerate(corners):
        progress("infer", done, len(corners))
        part = (slice(None), slice(None), *(slice(c, c + p) for c, p in zip(corner, patch, strict=True)))
        for role, array in run({name: whole[part] for name, whole in inputs.items()}).items():
            ratio = [p // n for p, n in zip(patch, array.shape[2:], strict=True)]
            weight = window(array.shape[2:], [o // r for o, r in zip(overlap, ratio, strict=True)])
            if role not in sums:
                coarse = [n // r for n, r in zip(shape, ratio, strict=True)]
                sums[role] = np.zeros((1, array.shape[1], *coarse), np.float32)
                weights[role] = np.zeros(coarse, np.float32)
            place = tuple(slice(c // r, c // r + n) for c, r, n in zip(corner, ratio, array.shape[2:], strict=True))
            sums[role][(slice(None), slice(None), *place)] += array * weight
            weights[role][place] += weight
    progress("infer", len(corners), len(corners))
    return {role: total / weights[role] for role, total in sums.items()}
