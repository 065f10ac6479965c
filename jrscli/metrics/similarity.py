"""How alike two images look: shown, never a reason to pass or fail."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Real

from jrscli.metrics.value import Value

BINS = 64


def similarity(
    fixed: Real[np.ndarray, "i j k"], moved: Real[np.ndarray, "i j k"], mask: Bool[np.ndarray, "i j k"] | None = None
) -> tuple[Value, Value, Value]:
    """``ncc.v1``, ``nmi.v1`` and ``mean_abs_diff.v1`` of two images on one grid, in the mask.

    NCC is the correlation coefficient. NMI is (H(A) + H(B)) / H(A, B) with 64 bins over each image's range in the mask
    (Studholme 1999, doi:10.1016/S0031-3203(98)00091-0). The difference is in the units of the images (HU for CT).
    """
    a, b = (np.asarray(x if mask is None else x[mask], dtype=np.float64).ravel() for x in (fixed, moved))
    if a.size < 2:
        return tuple(Value(name, None, "", "not_assessed") for name in ("ncc.v1", "nmi.v1", "mean_abs_diff.v1"))  # type: ignore[return-value]
    deviation = a.std() * b.std()
    ncc = float(((a - a.mean()) * (b - b.mean())).mean() / deviation) if deviation > 0 else None
    return (
        Value("ncc.v1", ncc, "", "ok" if ncc is not None else "not_assessed"),
        _nmi(a, b),
        Value("mean_abs_diff.v1", float(np.abs(a - b).mean()), ""),
    )


def _nmi(a: np.ndarray, b: np.ndarray) -> Value:
    joint, _, _ = np.histogram2d(a, b, bins=BINS)
    together = _entropy(joint.ravel())
    if together == 0:
        return Value("nmi.v1", None, "", "not_assessed")
    return Value("nmi.v1", (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / together, "")


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
