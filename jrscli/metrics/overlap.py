"""Overlap and volume of two masks on one grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jrscli.errors import GeometryError
from jrscli.metrics.value import Value, emptiness
from jrscli.spatial.geometry import Geometry


@dataclass(frozen=True)
class Counts:
    """Voxels in the reference, in the test, and in both."""

    reference: int
    test: int
    both: int


def count(reference: Bool[np.ndarray, "i j k"], test: Bool[np.ndarray, "i j k"]) -> Counts:
    """The voxel counts that every overlap index is made of.

    Raises GeometryError `grid.mismatch` for masks of two shapes, TypeError for arrays that are not bool.
    """
    if reference.shape != test.shape:
        raise GeometryError(
            f"the masks are {reference.shape} and {test.shape} voxels",
            code="grid.mismatch",
            hint="bring both onto one grid first",
        )
    if reference.dtype != np.bool_ or test.dtype != np.bool_:
        raise TypeError(f"masks of {reference.dtype} and {test.dtype} where bool is needed")
    return Counts(int(np.count_nonzero(reference)), int(np.count_nonzero(test)), int(np.count_nonzero(reference & test)))


def dice(counts: Counts) -> Value:
    """``dice.v1``: 2|R∩T| / (|R|+|T|); 0 if one mask is empty, None if both are. Source: Dice 1945, doi:10.2307/1932409."""
    return _ratio("dice.v1", 2 * counts.both, counts.reference + counts.test, counts)


def jaccard(counts: Counts) -> Value:
    """``jaccard.v1``: |R∩T| / |R∪T| = D / (2 − D). Source: Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x."""
    return _ratio("jaccard.v1", counts.both, counts.reference + counts.test - counts.both, counts)


def sensitivity(counts: Counts) -> Value:
    """``sens.v1``: |R∩T| / |R|; None if the reference is empty."""
    return _ratio("sens.v1", counts.both, counts.reference, counts)


def ppv(counts: Counts) -> Value:
    """``ppv.v1``: |R∩T| / |T| (positive predictive value); None if the test is empty."""
    return _ratio("ppv.v1", counts.both, counts.test, counts)


def volumes(counts: Counts, spacing_mm: tuple[float, float, float]) -> tuple[Value, Value]:
    """``volume.v1(reference)`` and ``volume.v1(test)`` in cc: voxels × voxel volume; the volume of nothing is 0."""
    status = emptiness(counts.reference, counts.test)
    cc = float(np.prod(spacing_mm)) / 1000
    return (
        Value("volume.v1(reference)", counts.reference * cc, "cc", status),
        Value("volume.v1(test)", counts.test * cc, "cc", status),
    )


def volume_diff(counts: Counts, spacing_mm: tuple[float, float, float]) -> tuple[Value, Value]:
    """``volume_diff.v1`` V_T − V_R in cc and ``volume_diff.v1(%)`` 100·(V_T − V_R)/V_R in %; both None if both are empty."""
    status = emptiness(counts.reference, counts.test)
    cc = float(np.prod(spacing_mm)) / 1000
    difference = None if status == "both_empty" else (counts.test - counts.reference) * cc
    relative = 100 * (counts.test - counts.reference) / counts.reference if counts.reference else None
    return Value("volume_diff.v1", difference, "cc", status), Value("volume_diff.v1(%)", relative, "%", status)


def centroid_mm(mask: Bool[np.ndarray, "i j k"], geometry: Geometry) -> Float[np.ndarray, "3"] | None:
    """Centre of gravity of a mask, LPS mm; None if it is empty."""
    total = int(np.count_nonzero(mask))
    if not total:
        return None
    index = [float(np.count_nonzero(mask, axis=_others(axis)) @ np.arange(mask.shape[axis])) / total for axis in range(3)]
    return geometry.index_to_world(np.array([index]))[0]


def centroid_shift(
    reference: Bool[np.ndarray, "i j k"], test: Bool[np.ndarray, "i j k"], geometry: Geometry
) -> tuple[Value, ...]:
    """``centroid_shift.v1`` (length) and its components to the left, to the back and to the head, mm; None if one is empty."""
    start, end = centroid_mm(reference, geometry), centroid_mm(test, geometry)
    status = emptiness(int(start is not None), int(end is not None))
    names = ("centroid_shift.v1", "centroid_shift.v1(L)", "centroid_shift.v1(P)", "centroid_shift.v1(S)")
    if start is None or end is None:
        return tuple(Value(name, None, "mm", status) for name in names)
    shift = end - start
    numbers = (float(np.linalg.norm(shift)), *shift.tolist())
    return tuple(Value(name, number, "mm") for name, number in zip(names, numbers, strict=True))


def _others(axis: int) -> tuple[int, int]:
    return {0: (1, 2), 1: (0, 2), 2: (0, 1)}[axis]


def _ratio(name: str, top: int, bottom: int, counts: Counts) -> Value:
    return Value(name, top / bottom if bottom else None, "", emptiness(counts.reference, counts.test))
