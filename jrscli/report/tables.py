"""Tables: an Evaluation as JSON, CSV or columns of text. Text in, text out; nothing is written here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from jrscli.metrics.evaluation import Evaluation
from jrscli.metrics.value import Value

_ONLY_IN_FILES = (
    "volume_diff",
    "centroid_shift.v1(",
    "jacobian.v1(p5",
    "jacobian.v1(p95",
    "jacobian.v1(me",
    "neg_jac.v1(count",
)


def as_document(evaluation: Evaluation) -> dict[str, object]:
    """The evaluation as one JSON object: kind, facts, rows, summary, notices; no NaN or infinity anywhere."""
    return {
        "kind": evaluation.kind,
        **evaluation.facts,
        "structures" if evaluation.kind == "labels" else "rows": [row.as_json() for row in evaluation.rows],
        "summary": {part.id: part.as_json() for part in evaluation.summary},
        "notices": [{"code": notice.code, "message": notice.message} for notice in evaluation.notices],
    }


def to_json(evaluation: Evaluation) -> str:
    """The evaluation as JSON text that ends with a newline."""
    return json.dumps(as_document(evaluation), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(evaluation: Evaluation) -> str:
    """The evaluation as CSV: one line per structure and metric, in full precision; an empty field is a missing number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("name", "reference_number", "prediction_number", "metric", "value", "unit", "status", "limit", "flags"))
    for row in evaluation.rows:
        for name, value in row.values.items():
            number = "" if value.value is None else repr(value.value)
            writer.writerow(
                (
                    _plain(row.name),
                    "" if row.number is None else row.number,
                    "" if row.test_number is None else row.test_number,
                    name,
                    number,
                    value.unit,
                    value.status,
                    value.limit or "",
                    " ".join(row.flags),
                )
            )
    return text.getvalue()


def to_columns(evaluation: Evaluation, ids: Sequence[str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Header and lines of a table for people: one line per row, one column per metric, and the means below.

    Missing numbers are "n/a"; the last column says why, and what to keep in mind.
    ids: the columns; by default all but the differences and components that the others tell (JSON and CSV have them all).
    """
    shown = [name for name in evaluation.ids if not name.startswith(_ONLY_IN_FILES)]
    ids = list(ids) if ids is not None else shown
    summary = {part.id: part for part in evaluation.summary}
    header = ["name", *(f"{name} {summary[name].unit}" if summary[name].unit else name for name in ids), "remarks"]
    lines = []
    for row in evaluation.rows:
        remarks = [*row.flags] if row.status == "ok" else [row.status, *row.flags]
        lines.append([row.name, *(_text(row.values.get(name)) for name in ids), ", ".join(remarks)])
    if len(evaluation.rows) > 1:
        means = ["n/a" if summary[name].mean is None else _number(summary[name].mean) for name in ids]
        left_out = max((part.left_out for part in summary.values()), default=0)
        remark = f"up to {left_out} of {len(evaluation.rows)} rows left out" if left_out else ""
        lines.append(["mean", *means, remark])
    return header, lines


def _text(value: Value | None) -> str:
    return "n/a" if value is None or value.value is None else _number(value.value)


def _number(value: float | None) -> str:
    """Three decimals, but never a small number shown as zero."""
    if value is None:
        return "n/a"
    if value == int(value) and abs(value) >= 1000:
        return str(int(value))
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.0005 else f"{value:.1e}"


def _plain(text: str) -> str:
    """Text that no spreadsheet takes for a formula: structure names come from files of strangers."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
