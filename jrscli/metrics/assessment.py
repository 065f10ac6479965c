"""Assessment: everything that one `jrs evaluate` found, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from jrscli.metrics.bootstrap import bootstrap_interval
from jrscli.metrics.evaluation import Evaluation, Row, Summary
from jrscli.metrics.gates import Verdict
from jrscli.metrics.tolerances import Tolerances


@dataclass(frozen=True)
class Assessment:
    """What was found.

    main: structures, or landmarks or a field where nothing else was given.
    parts: further evaluations of the same pair, by kind.
    others: evaluations of further tests against the same reference, by their labels ("test 2", "reader").
    v_mm: the largest voxel dimension of the grids, which the limits are multiples of.
    """

    main: Evaluation
    parts: Mapping[str, Evaluation] = field(default_factory=dict)
    others: Mapping[str, Evaluation] = field(default_factory=dict)
    verdict: Verdict | None = None
    tolerances: Tolerances | None = None
    v_mm: float = 0.0

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """What the verdict is over: the main evaluation and its parts."""
        return (self.main, *self.parts.values())


@dataclass(frozen=True)
class Difference:
    """One metric of another test minus that of the first, over the rows in which both have a number.

    label: the other test. ci95: of the mean, by bootstrap over rows; the difference is worth a word where it leaves out 0.
    """

    label: str
    id: str
    unit: str
    n: int
    mean: float | None = None
    sd: float | None = None
    ci95: tuple[float, float] | None = None

    def as_json(self) -> dict[str, object]:
        """The difference as a JSON object."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def paired_differences(assessment: Assessment) -> tuple[Difference, ...]:
    """The difference of each metric between each further test and the first, row by row of the same name."""
    first = {row.title: row for row in assessment.main.rows}
    found = []
    for label, other in assessment.others.items():
        for id_ in assessment.main.ids:
            if id_.endswith("(reference)"):
                continue  # the reference is the same for all
            pairs = [(first[row.title], row) for row in other.rows if row.title in first]
            numbers = np.array(
                [b - a for one, two in pairs if (a := _number(one, id_)) is not None and (b := _number(two, id_)) is not None]
            )
            unit = next((row.values[id_].unit for row in assessment.main.rows if id_ in row.values), "")
            if not len(numbers):
                found.append(Difference(label, id_, unit, 0))
                continue
            sd = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
            found.append(Difference(label, id_, unit, len(numbers), float(numbers.mean()), sd, bootstrap_interval(numbers)))
    return tuple(found)


def merged(cases: Mapping[str, Evaluation]) -> Evaluation:
    """The rows of several cases as one evaluation, each row with its case; facts that differ between cases are left out."""
    rows = tuple(replace(row, case=case) for case, evaluation in cases.items() for row in evaluation.rows)
    found = list(cases.values())
    first = found[0]
    facts = {key: value for key, value in first.facts.items() if all(other.facts.get(key) == value for other in found)}
    notices = tuple(notice for evaluation in found for notice in evaluation.notices)
    return Evaluation(first.kind, rows, {**facts, "cases": len(cases)}, notices)


def by_structure(evaluation: Evaluation) -> dict[str, tuple[Summary, ...]]:
    """The summary of each structure over its cases; empty where there is one case."""
    if not any(row.case for row in evaluation.rows):
        return {}
    names = dict.fromkeys(row.name for row in evaluation.rows)
    return {name: replace(evaluation, rows=tuple(row for row in evaluation.rows if row.name == name)).summary for name in names}


def _number(row: Row, id_: str) -> float | None:
    value = row.values.get(id_)
    return value.value if value else None
