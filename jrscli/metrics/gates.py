"""The gate: rows of pass, review, fail or not assessed, each with its limit and a sentence, and the verdict over all rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jrscli.metrics.evaluation import Row
from jrscli.metrics.value import Value

GateStatus = Literal["pass", "review", "fail", "not_assessed"]
_ORDER: tuple[GateStatus, ...] = ("not_assessed", "pass", "review", "fail")
NOT_BY_ITSELF = ("linear_stage", "contour.v1")
"""Rows that no external number stands behind: they can lower a verdict but never make it pass."""


@dataclass(frozen=True)
class GateRow:
    """One line of the table of tolerances.

    structure: "" for the whole image. limit: what would have passed, in words. v_mm: the largest voxel dimension.
    sentence: what a person reads.
    """

    id: str
    structure: str
    status: GateStatus
    sentence: str
    value: float | None = None
    unit: str = ""
    limit: str = ""
    v_mm: float | None = None
    source: str = ""

    def as_json(self) -> dict[str, object]:
        """The row as a JSON object."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class Verdict:
    """All rows and what follows: the worst assessed row decides; rows that are not assessed never count as pass."""

    rows: tuple[GateRow, ...]

    @property
    def status(self) -> GateStatus:
        """The worst status of the assessed rows."""
        assessed = [row.status for row in self.rows if row.status != "not_assessed"]
        if all(row.id in NOT_BY_ITSELF for row in self.rows if row.status == "pass") and set(assessed) <= {"pass"}:
            return "not_assessed"
        return max(assessed, key=_ORDER.index, default="not_assessed")

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the rows that made the verdict worse than pass, the worst first."""
        bad = [row for row in self.rows if row.status in ("fail", "review")]
        return tuple(row.sentence for row in sorted(bad, key=lambda row: -_ORDER.index(row.status)))

    def as_json(self) -> dict[str, object]:
        """The verdict as a JSON object."""
        return {"status": self.status, "rows": [row.as_json() for row in self.rows]}


def graded(
    id_: str,
    title: str,
    value: Value | None,
    v: float,
    source: str,
    name: str,
    reach: float,
    review: float,
    *,
    named: bool = False,
) -> GateRow:
    """The row of a length that should be small: pass up to ``reach``, review up to ``review`` (mm)."""
    unit, limit = "mm", f"≤ {reach:.3g} mm"
    whose = f"{title}: {name}" if title and not named else name
    if value is None or value.value is None:
        return GateRow(id_, title, "not_assessed", f"{whose} not assessed", None, unit, limit, v, source)
    number = value.value
    # a value on the limit passes; the last bits of a sum of squares must not decide
    status: GateStatus = "pass" if number <= reach + 1e-9 else "review" if number <= review + 1e-9 else "fail"
    words = f"{whose} {number:.2f} {unit} (limit {reach:.3g}, fail beyond {review:.3g})"
    return GateRow(id_, title, status, words, number, unit, limit, v, source)


def graded_up(
    id_: str, title: str, value: Value | None, v: float, source: str, name: str, least: float, review: float
) -> GateRow:
    """The row of a value that should be large: pass from ``least``, review from ``review``."""
    if value is None or value.value is None:
        return GateRow(id_, title, "not_assessed", f"{title}: {name} not assessed", None, "", f"≥ {least:g}", v, source)
    number = value.value
    status: GateStatus = "pass" if number >= least - 1e-12 else "review" if number >= review - 1e-12 else "fail"
    words = f"{title}: {name} {number:.3f} (limit {least:g}, fail below {review:g})"
    return GateRow(id_, title, status, words, number, "", f"≥ {least:g}", v, source)


def number_of(row: Row, name: str) -> float | None:
    """The number of one value of a row, None where it has none."""
    value = row.values.get(name)
    return value.value if value else None
