"""An interval for a mean that assumes nothing about how the numbers are spread."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

SAMPLES = 2000
FEWEST = 3


def bootstrap_interval(values: Float[np.ndarray, " n"], seed: int = 0) -> tuple[float, float] | None:
    """The 95 % percentile interval of the mean from 2000 resamples; None for fewer than three numbers.

    The seed is fixed, so that the same numbers give the same interval. Source: Efron 1979, doi:10.1214/aos/1176344552.
    """
    if len(values) < FEWEST:
        return None
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (SAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
