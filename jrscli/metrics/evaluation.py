"""Evaluation: rows of Values, one row per structure, landmark or region, and what they add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

from jrscli.errors import Notice
from jrscli.metrics.bootstrap import bootstrap_interval
from jrscli.metrics.value import Value

SMALLER_IS_WORSE = ("dice", "jaccard", "sens", "ppv", "nsd")


@dataclass(frozen=True)
class Row:
    """One structure (or landmark, or region) and its Values by id.

    number, test_number: its numbers in the reference and in the prediction, None where it is missing.
    flags: what to keep in mind, as short words: "volume-dependent" (Dice of less than 1 cc), "fov_cut" (touches the border),
        and those of `contour_checks`.
    case: the case it belongs to, where several were evaluated.
    details: more, ready for JSON: worst slices, Dice per slice.
    """

    name: str
    values: Mapping[str, Value]
    number: int | None = None
    test_number: int | None = None
    flags: tuple[str, ...] = ()
    case: str = ""
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name, with the case in front where there is one."""
        return f"{self.case}, {self.name}" if self.case else self.name

    @property
    def status(self) -> str:
        """The status shared by the row: "ok" or the first that is not."""
        return next((value.status for value in self.values.values() if value.status != "ok"), "ok")

    def as_json(self) -> dict[str, object]:
        """The row as a JSON object."""
        return {
            **({"case": self.case} if self.case else {}),
            "name": self.name,
            "reference_number": self.number,
            "prediction_number": self.test_number,
            "status": self.status,
            "flags": list(self.flags),
            "metrics": {name: value.as_json() for name, value in self.values.items()},
            **({"details": dict(self.details)} if self.details else {}),
        }


@dataclass(frozen=True)
class Summary:
    """One metric over all rows that have a number.

    sd: of the sample (n − 1), None for fewer than two. left_out: rows without a number; they are in no mean.
    infinite: rows of those whose distance has no end (one mask is empty). They are not averaged: there is no mean, SD or
        interval then, and in median and percentiles they count as the largest (None where one of these has no end itself).
    ci95: the 95 % interval of the mean, by bootstrap over rows; None for fewer than three.
    worst: the name of the row that is farthest from perfect; of a row without end ``worst_value`` is None.
    """

    id: str
    unit: str
    n: int
    left_out: int
    infinite: int = 0
    mean: float | None = None
    sd: float | None = None
    median: float | None = None
    p5: float | None = None
    p95: float | None = None
    ci95: tuple[float, float] | None = None
    worst: str | None = None
    worst_value: float | None = None

    def as_json(self) -> dict[str, object]:
        """The summary as a JSON object."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "id"}


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    facts: what holds for all rows (voxel size, tolerance, number of points …), ready for JSON.
    """

    kind: Literal["labels", "points", "field", "dose", "images", "beat"]
    rows: tuple[Row, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Every metric that occurs, in order of first appearance."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.values))

    def row(self, name: str) -> Row:
        """The first row of this name.

        Raises KeyError.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def summary(self) -> tuple[Summary, ...]:
        """One Summary per metric, in the order of ``ids``."""
        return tuple(self._summary(name) for name in self.ids)

    def mean(self, name: str) -> float | None:
        """The mean of one metric over the rows that have a number."""
        return self._summary(name).mean

    def _summary(self, name: str) -> Summary:
        found = [(row.title, row.values[name]) for row in self.rows if name in row.values]
        numbers = [(structure, value.value) for structure, value in found if value.value is not None]
        endless = [structure for structure, value in found if value.limit == "+inf"]
        unit = next((value.unit for _, value in found), "")
        left_out = len(self.rows) - len(numbers)
        if not numbers and not endless:
            return Summary(name, unit, 0, left_out)
        values = np.array([value for _, value in numbers])
        p5, median, p95 = _percentiles(values, len(endless))
        if endless:
            return Summary(name, unit, len(values), left_out, len(endless), median=median, p5=p5, p95=p95, worst=endless[0])
        worst, worst_value = _worst(name, numbers)
        return Summary(
            name,
            unit,
            len(values),
            left_out,
            0,
            float(values.mean()),
            float(values.std(ddof=1)) if len(values) > 1 else None,
            median,
            p5,
            p95,
            bootstrap_interval(values),
            worst,
            worst_value,
        )


def _percentiles(values: Float[np.ndarray, " n"], endless: int) -> list[float | None]:
    """The 5th, 50th and 95th percentile of the numbers and of so many infinities beside them; None for one without end."""
    ordered = np.sort(np.append(values, np.full(endless, np.inf)))
    found: list[float | None] = []
    for share in (0.05, 0.5, 0.95):
        place = share * (len(ordered) - 1)
        low, high = ordered[int(np.floor(place))], ordered[int(np.ceil(place))]
        number = low if low == high else low + (high - low) * (place % 1)
        found.append(float(number) if np.isfinite(number) else None)
    return found


def _worst(name: str, numbers: list[tuple[str, float]]) -> tuple[str | None, float | None]:
    """The row farthest from perfect; a volume has no better or worse."""
    family = name.split(".")[0]
    if family == "volume":
        return None, None
    if family in SMALLER_IS_WORSE:
        return min(numbers, key=lambda pair: pair[1])
    if family == "jacobian":
        return max(numbers, key=lambda pair: abs(np.log(max(pair[1], 1e-9))))
    return max(numbers, key=lambda pair: abs(pair[1]))
