"""A user's own rules: ``msd.Bladder<=3``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from jrscli.errors import UsageError
from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.value import Value

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(r"^\s*([A-Za-z0-9_]+(?:\([^)]*\))?)\.(.+?)\s*(<=|>=|<|>)\s*([0-9.eE+-]+)\s*$")


@dataclass(frozen=True)
class Rule:
    """A metric of a structure and its limit. metric: "msd", or with its part, "volume_diff(%)"; structure: * and ? allowed."""

    metric: str
    structure: str
    operator: str
    limit: float

    @staticmethod
    def parse(text: str) -> Rule:
        """The rule that ``metric.structure<=number`` says.

        Raises UsageError `gate.rule`.
        """
        found = _FORM.match(text)
        try:
            limit = float(found.group(4)) if found else None
        except ValueError:
            limit = None
        if found is None or limit is None:
            raise UsageError(
                f"'{text}' is no rule",
                code="gate.rule",
                hint="metric.structure<=number, for example: --gate-rule 'msd.Bladder<=3'",
            )
        return Rule(found.group(1), found.group(2).strip(), found.group(3), limit)

    def holds(self, number: float) -> bool:
        """Whether a number keeps the rule."""
        return _HOLDS[self.operator](number, self.limit)

    def value_of(self, row: Row) -> Value | None:
        """The value of the row that the rule means; of several parts without a name the one without part, or the first."""
        name, _, part = self.metric.partition("(")
        ids = [id_ for id_ in row.values if id_.split(".")[0] == name]
        if part:
            ids = [id_ for id_ in ids if id_.endswith(f"({part}")]
        ids.sort(key=lambda id_: "(" in id_)
        return row.values[ids[0]] if ids else None

    def fitting(self, evaluation: Evaluation) -> list[Row]:
        """The rows of the evaluation whose structure the rule names and that have its metric."""
        return [row for row in evaluation.rows if fnmatchcase(row.name, self.structure) and self.value_of(row) is not None]


def check_rules(rules: Iterable[Rule], evaluations: Iterable[Evaluation]) -> None:
    """Raise UsageError `gate.metric` or `gate.structure`, with what was probably meant, for a rule that fits nothing."""
    found = list(evaluations)
    names = list(dict.fromkeys(row.name for evaluation in found for row in evaluation.rows))
    metrics = list(dict.fromkeys(id_.split(".")[0] for evaluation in found for id_ in evaluation.ids))
    for rule in rules:
        if any(rule.fitting(evaluation) for evaluation in found):
            continue
        if rule.metric.partition("(")[0] not in metrics:
            raise _unknown("metric", rule.metric.partition("(")[0], metrics, "gate.metric")
        if not any(fnmatchcase(name, rule.structure) for name in names):
            raise _unknown("structure", rule.structure, names, "gate.structure")
        raise UsageError(
            f"no value '{rule.metric}' for the structure of a rule",
            code="gate.metric",
            hint="the parts of a metric stand in metrics.csv, as in volume_diff(%)",
        )


def _unknown(what: str, word: str, known: list[str], code: str) -> UsageError:
    near = get_close_matches(word, known, n=3, cutoff=0.5) or [one for one in known if one.lower().startswith(word.lower())][:3]
    hint = f"did you mean {' or '.join(repr(one) for one in near)}?" if near else "jrs evaluate prints the names in its table"
    return UsageError(f"a rule names the {what} '{word}', which is not there", code=code, hint=hint)
