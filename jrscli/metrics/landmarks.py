"""Target registration error: how far landmarks of the fixed image land from their partners in the moving image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jrscli.errors import InputError
from jrscli.metrics.value import Value
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.transform import Transform

SHARES_MM = (2, 3, 5)


@dataclass(frozen=True, eq=False)
class LandmarkErrors:
    """Errors per landmark, mm.

    before_mm: without a transform; after_mm: with it (the same where there is none).
    outside: landmarks beyond the grid of a field, where it moves nothing; they are counted, not dropped.
    """

    before_mm: Float[np.ndarray, " n"]
    after_mm: Float[np.ndarray, " n"]
    outside: Bool[np.ndarray, " n"]


def landmark_errors(
    fixed_mm: Float[np.ndarray, "n 3"], moving_mm: Float[np.ndarray, "n 3"], transform: Transform | None = None
) -> LandmarkErrors:
    """‖transform(p_fixed) − p_moving‖ per pair, points in LPS mm; the transform maps fixed to moving (pull).

    Raises InputError `points.pairs` for lists of different length or no points.
    """
    fixed, moving = np.asarray(fixed_mm, dtype=np.float64), np.asarray(moving_mm, dtype=np.float64)
    if fixed.shape != moving.shape or fixed.ndim != 2 or fixed.shape[1] != 3 or not len(fixed):
        raise InputError(
            f"{len(fixed)} landmarks in the fixed and {len(moving)} in the moving image where pairs are needed",
            code="points.pairs",
            hint="give both files the same landmarks in the same order",
        )
    before = np.linalg.norm(fixed - moving, axis=1)
    outside = np.zeros(len(fixed), np.bool_)
    if transform is None:
        return LandmarkErrors(before, before, outside)
    points = fixed
    for part in transform.parts:
        if isinstance(part, DisplacementField):
            outside |= ~part.geometry.contains(points)
        points = part.map_points(points)
    return LandmarkErrors(before, np.linalg.norm(points - moving, axis=1), outside)


def tre(errors: LandmarkErrors) -> tuple[Value, ...]:
    """``tre.v1``: mean, SD, median, p95 and max in mm, shares beyond 2, 3 and 5 mm in %, number outside; and the mean before.

    SD is that of the population. Source: Fitzpatrick and West 2001, doi:10.1109/42.952729.
    """
    after = errors.after_mm
    numbers = {
        "mean": float(after.mean()),
        "sd": float(after.std()),
        "median": float(np.median(after)),
        "p95": float(np.percentile(after, 95)),
        "max": float(after.max()),
    }
    return (
        Value("tre.v1(n)", len(after), "points"),
        *(Value(f"tre.v1({part})", number, "mm") for part, number in numbers.items()),
        *(Value(f"tre.v1(>{limit}mm)", 100 * float((after > limit).mean()), "%") for limit in SHARES_MM),
        Value("tre.v1(outside)", int(errors.outside.sum()), "points"),
        Value("tre_before.v1(mean)", float(errors.before_mm.mean()), "mm"),
    )
