"""The verdict over everything that was evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.field_gates import field_rows, landmark_rows
from jrscli.metrics.gate_rules import Rule
from jrscli.metrics.gates import GateRow, Verdict
from jrscli.metrics.structure_gates import structure_rows
from jrscli.metrics.tolerances import Tolerances


def verdict_of(
    evaluations: Iterable[Evaluation], tolerances: Tolerances, v_mm: float, rules: Sequence[Rule] = (), phantom: str = ""
) -> Verdict:
    """The verdict over evaluations of structures, landmarks and fields; v is the largest voxel dimension of both grids, mm.

    phantom: "deformable" or "rigid" for the limits of a phantom's landmarks.
    """
    v = tolerances.voxel_mm if tolerances.voxel_mm is not None else v_mm
    rows: list[GateRow] = []
    found = list(evaluations)
    for evaluation in found:
        if evaluation.kind == "labels":
            rows += [line for row in evaluation.rows for line in structure_rows(row, tolerances, v)]
        elif evaluation.kind == "points":
            rows += landmark_rows(evaluation, tolerances, v, phantom)
        elif evaluation.kind == "field":
            rows += [line for row in evaluation.rows for line in field_rows(row, tolerances, v)]
    rows += [rule_row(rule, row, v) for rule in rules for evaluation in found for row in rule.fitting(evaluation)]
    return Verdict(tuple(rows))


def rule_row(rule: Rule, row: Row, v: float) -> GateRow:
    """One of the user's own rules."""
    value = rule.value_of(row)
    limit = f"{rule.operator} {rule.limit:g}"
    if value is not None and value.value is not None:
        good = rule.holds(value.value)
        words = f"{row.title}: {rule.metric} is {value.value:.3g}{' ' + value.unit if value.unit else ''} (asked: {limit})"
        return GateRow(value.id, row.title, "pass" if good else "fail", words, value.value, value.unit, limit, v, "--gate-rule")
    missing = row.status == "test_empty"
    words = f"{row.title}: {rule.metric} has no value" + (", for it is missing in the prediction" if missing else "")
    return GateRow(rule.metric, row.title, "fail" if missing else "not_assessed", words, None, "", limit, v, "--gate-rule")
