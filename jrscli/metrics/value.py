"""Value: one number with the id of its definition, its unit, and what to make of it when it is missing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "both_empty", "ref_empty", "test_empty", "not_assessed"]


@dataclass(frozen=True)
class Value:
    """One result.

    id: the definition, with its version ("hd95.v1"); a changed definition gets a new one.
    value: finite, or None where the definition gives no number; ``limit`` then says what it tends to ("+inf"), if anything.
    status: "ok", which of the two masks was empty, or "not_assessed".

    Raises ValueError for NaN and infinity: they would reach JSON.
    """

    id: str
    value: float | None
    unit: str
    status: Status = "ok"
    limit: str | None = None

    def __post_init__(self) -> None:
        if self.value is not None:
            value = float(self.value)
            if not math.isfinite(value):
                raise ValueError(f"{self.id} is {value}; give None and a limit")
            object.__setattr__(self, "value", value)

    def as_json(self) -> dict[str, object]:
        """The value as a JSON object."""
        found: dict[str, object] = {"value": self.value, "unit": self.unit, "status": self.status}
        if self.limit is not None:
            found["limit"] = self.limit
        return found


def emptiness(reference: int, test: int) -> Status:
    """ "ok", or which of two masks has no voxels."""
    if reference and test:
        return "ok"
    if reference:
        return "test_empty"
    return "ref_empty" if test else "both_empty"
