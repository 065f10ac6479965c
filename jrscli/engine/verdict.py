"""When a linear map is not to be trusted."""

from __future__ import annotations

LEAST_OVERLAP = 0.1
LEAST_STANDOUT = 2.0
LEAST_AGREEMENT = 0.3
"""Of unrelated images hardly two starts end in one place (0.05 … 0.19 of them), of images that belong together 0.7 and more."""


def verdict(*, overlap: float, standout: float, agreement: float, starts: int) -> str | None:
    """Why a map is not to be trusted, or None; the arguments as in `LinearResult`."""
    if overlap < LEAST_OVERLAP:
        return f"the images overlap by only {100 * overlap:.0f} % of the smaller field"
    if standout < LEAST_STANDOUT:
        return "the best linear map fits no better than random ones"
    together = round(agreement * starts)
    if starts > 1 and (agreement < LEAST_AGREEMENT or together < 2):
        return f"only {together} of {starts} starts ended at the same map"
    return None
