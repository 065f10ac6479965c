"""The checks of contours that need more than one structure at a time, gathered while structures are evaluated one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from jrscli.metrics.contour_checks import contour_flags, is_body, is_target, overlapping, swapped_sides
from jrscli.metrics.evaluation import Row
from jrscli.metrics.overlap import centroid_mm
from jrscli.metrics.pair import Pair
from jrscli.workflows.pairing import Structure

OUTSIDE_SHARE = 0.01


class Checks:
    """Hears of each structure once (`flags`), then adds what only all of them together show (`finished`).

    body: the outline of the patient in the prediction, where there is one. overlaps: whether structures can overlap at all.
    """

    def __init__(self, body: Structure | None, *, overlaps: bool) -> None:
        self._body = body
        self._overlaps = overlaps
        self._centres: tuple[dict[str, Float[np.ndarray, "3"]], dict[str, Float[np.ndarray, "3"]]] = ({}, {})
        self._organs: dict[str, Pair] = {}

    def flags(self, name: str, kind: str, pair: Pair) -> tuple[str, ...]:
        """The flags of one structure."""
        if is_body(name, kind):
            return ("body",)
        for centres, mask in zip(self._centres, (pair.reference, pair.test), strict=True):
            centre = centroid_mm(mask, pair.geometry)
            if centre is not None:
                centres[name] = centre
        if self._overlaps and not is_target(name, kind):
            self._organs[name] = pair
        return (*contour_flags(pair), *(("outside_body",) if self._outside(pair) else ()))

    def finished(self, rows: list[Row]) -> list[Row]:
        """The rows with the flags "swapped" and "overlap" where they belong."""
        swapped = swapped_sides(self._centres[1], self._centres[0])
        lapping = overlapping(self._organs)
        return [
            replace(row, flags=(*row.flags, *["swapped"] * (row.name in swapped), *["overlap"] * (row.name in lapping)))
            for row in rows
        ]

    def _outside(self, pair: Pair) -> bool:
        if self._body is None or self._body.box is None or not self._overlaps:
            return False  # in a label map the body ends where an organ begins
        i, j, k = (slice(low, low + n) for low, n in zip(pair.lower, pair.test.shape, strict=True))
        body = self._body.mask((i, j, k))
        beyond = [int(np.count_nonzero(mask & ~body)) / max(int(mask.sum()), 1) for mask in (pair.test, pair.reference)]
        return beyond[0] > OUTSIDE_SHARE and beyond[0] > beyond[1] + OUTSIDE_SHARE / 2
