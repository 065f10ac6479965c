"""Tables: an Evaluation as JSON, CSV or columns of text. Text in, text out; nothing is written here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from jrscli.metrics.assessment import Assessment, by_structure, paired_differences
from jrscli.metrics.evaluation import Evaluation, Row, Summary
from jrscli.metrics.value import Value

_ONLY_IN_FILES = (
    "volume_diff",
    "centroid_shift.v1(",
    "jacobian.v1(p5",
    "jacobian.v1(p95",
    "jacobian.v1(me",
    "neg_jac.v1(count",
    "apl.v1(",
    "dpl.v1(",
    "apl_poly.v1(%",
    "sdlogj_",
    "bending",
    "slip",
    "inverse_consistency.v1(mean",
    "inverse_consistency.v1(outside",
)
FOR_REVIEW = "for review by a qualified person"
ROUNDING = 1e-12
_OF_DOSE = ("dvh.v1(Dmean", "dvh.v1(D95%", "dvh.v1(D2%", "dose_diff.v1(mean")


def as_document(found: Evaluation | Assessment) -> dict[str, object]:
    """What was found as one JSON object; no NaN or infinity anywhere.

    kind, facts, rows (``structures`` for contours), summary, notices; of an Assessment also its parts by kind (``dose``,
    ``field``, ``points``), further tests (``tests``, ``paired_differences``) and the ``gate``.
    """
    if isinstance(found, Evaluation):
        return _of_evaluation(found)
    document = _of_evaluation(found.main)
    document |= {kind: _of_evaluation(part) for kind, part in found.parts.items()}
    if found.others:
        document["tests"] = {label: _of_evaluation(other) for label, other in found.others.items()}
        document["paired_differences"] = [difference.as_json() for difference in paired_differences(found)]
    if found.verdict is not None:
        limits = {"tolerances": found.tolerances.as_json()} if found.tolerances else {}
        document["gate"] = {"v_mm": found.v_mm, **limits, **found.verdict.as_json()}
    return document


def _of_evaluation(evaluation: Evaluation) -> dict[str, object]:
    structures = {name: {part.id: part.as_json() for part in parts} for name, parts in by_structure(evaluation).items()}
    return {
        "kind": evaluation.kind,
        **evaluation.facts,
        "structures" if evaluation.kind == "labels" else "rows": [row.as_json() for row in evaluation.rows],
        "summary": {part.id: part.as_json() for part in evaluation.summary},
        **({"summary_by_structure": structures} if structures else {}),
        "notices": [{"code": notice.code, "message": notice.message} for notice in evaluation.notices],
    }


def to_json(found: Evaluation | Assessment) -> str:
    """What was found as JSON text that ends with a newline."""
    return json.dumps(as_document(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(found: Evaluation | Assessment) -> str:
    """What was found as CSV: one line per test, structure and metric, in full precision; an empty field is a missing number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts: list[tuple[str, Evaluation]] = [("", found)] if isinstance(found, Evaluation) else []
    if isinstance(found, Assessment):
        parts = [("test 1" if found.others else "", one) for one in found.evaluations] + list(found.others.items())
    several, cases = len({label for label, _ in parts}) > 1, any(row.case for _, one in parts for row in one.rows)
    more = [*(["test"] if several else []), *(["case"] if cases else [])]
    columns = ("name", "reference_number", "prediction_number", "metric", "value", "unit", "status", "limit", "flags")
    writer.writerow((*more, *columns))
    for label, evaluation in parts:
        for row in evaluation.rows:
            first = [*([_plain(label)] if several else []), *([_plain(row.case)] if cases else [])]
            numbers = ["" if number is None else number for number in (row.number, row.test_number)]
            for name, value in row.values.items():
                number = "" if value.value is None else repr(value.value)
                end = (name, number, value.unit, value.status, value.limit or "", " ".join(row.flags))
                writer.writerow((*first, _plain(row.name), *numbers, *end))
    return text.getvalue()


def to_columns(evaluation: Evaluation, ids: Sequence[str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Header and lines of a table for people: one line per row, one column per metric, and the means below.

    Missing numbers are "n/a"; the last column says why, and what to keep in mind.
    ids: the columns; by default all but the differences and components that the others tell (JSON and CSV have them all).
    """
    shown = shown_ids(evaluation)
    if evaluation.kind == "dose":
        shown = [name for name in shown if name.startswith(_OF_DOSE)]
    ids = list(ids) if ids is not None else shown
    summary = {part.id: part for part in evaluation.summary}
    header = ["name", *(f"{name} {summary[name].unit}" if summary[name].unit else name for name in ids), "remarks"]
    lines = []
    for row in evaluation.rows:
        remarks = [*row.flags] if row.status == "ok" else [row.status, *row.flags]
        lines.append([row.title, *(_text(row.values.get(name)) for name in ids), ", ".join(remarks)])
    if len(evaluation.rows) > 1 and evaluation.kind not in ("images", "beat"):
        means = ["n/a" if summary[name].mean is None else number_text(summary[name].mean) for name in ids]
        left_out = max((part.left_out for part in summary.values()), default=0)
        remark = f"up to {left_out} of {len(evaluation.rows)} rows left out" if left_out else ""
        lines.append(["mean", *means, remark])
        if any(summary[name].infinite for name in ids):
            # distances without end have no mean; leaving them out would reward a missing structure
            medians = ["n/a" if summary[name].median is None else number_text(summary[name].median) for name in ids]
            lines.append(["median", *medians, "with distances without end as the largest"])
    return header, lines


def summary_columns(summaries: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the summary: n, mean, SD, median, percentiles, interval of the mean, worst row."""
    header = ["metric", "unit", "n", "no end", "mean", "SD", "median", "p5", "p95", "95 % interval", "worst"]
    lines = []
    for part in summaries:
        interval = f"{number_text(part.ci95[0])} … {number_text(part.ci95[1])}" if part.ci95 else "n/a"
        numbers = [number_text(number) for number in (part.mean, part.sd, part.median, part.p5, part.p95)]
        lines.append([part.id, part.unit, str(part.n), str(part.infinite), *numbers, interval, part.worst or ""])
    return header, lines


def side_by_side(assessment: Assessment, ids: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of several tests against one reference: one line per structure and metric, one column per test."""
    tests = {"test 1": assessment.main, **assessment.others}
    titles = dict.fromkeys(row.title for one in tests.values() for row in one.rows)
    rows = {label: {row.title: row for row in one.rows} for label, one in tests.items()}
    lines = []
    for title in titles:
        for id_ in ids:
            found = [rows[label][title].values.get(id_) if title in rows[label] else None for label in tests]
            lines.append([title, id_, *(_text(value) for value in found)])
    return ["name", "metric", *tests], lines


def difference_columns(assessment: Assessment, ids: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the paired differences of further tests from the first."""
    lines = []
    for part in paired_differences(assessment):
        if part.id in ids:
            interval = f"{number_text(part.ci95[0])} … {number_text(part.ci95[1])}" if part.ci95 else "n/a"
            lines.append(
                [
                    f"{part.label} − test 1",
                    part.id,
                    part.unit,
                    str(part.n),
                    number_text(part.mean),
                    number_text(part.sd),
                    interval,
                ]
            )
    return ["difference", "metric", "unit", "n", "mean", "SD", "95 % interval"], lines


def to_markdown(found: Evaluation | Assessment) -> str:
    """The tables as Markdown: values, summary, paired differences, gate."""
    main = found if isinstance(found, Evaluation) else found.main
    parts = [_markdown(*to_columns(main)), "", _markdown(*summary_columns(main.summary))]
    if isinstance(found, Assessment):
        for part in found.parts.values():
            parts += ["", _markdown(*to_columns(part))]
        if found.others:
            ids = shown_ids(main)
            parts += ["", _markdown(*side_by_side(found, ids)), "", _markdown(*difference_columns(found, ids))]
        if found.verdict is not None:
            header, lines = gate_columns(found)
            parts += [
                "",
                f"Gate: **{found.verdict.status.replace('_', ' ')}** (v = {found.v_mm:.3g} mm), {FOR_REVIEW}",
            ]
            parts += ["", _markdown(header, lines)]
    return "\n".join(parts) + "\n"


def gate_columns(assessment: Assessment, *, only_bad: bool = False) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the gate."""
    lines = []
    for row in assessment.verdict.rows if assessment.verdict else ():
        if not only_bad or row.status in ("review", "fail"):
            value = "n/a" if row.value is None else f"{number_text(row.value)} {row.unit}".strip()
            lines.append([row.structure or "whole image", row.id, row.status.replace("_", " "), value, row.limit])
    return ["structure", "check", "status", "value", "limit"], lines


def shown_ids_of(row: Row) -> list[str]:
    """The metrics of one row that people are shown."""
    return [name for name in row.values if not name.startswith(_ONLY_IN_FILES)]


def shown_ids(evaluation: Evaluation) -> list[str]:
    """The metrics that a table for people shows; JSON and CSV have them all."""
    return [name for name in evaluation.ids if not name.startswith(_ONLY_IN_FILES)]


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *(line(cells) for cells in lines)])


def _text(value: Value | None) -> str:
    return "n/a" if value is None or value.value is None else number_text(value.value)


def number_text(value: float | None) -> str:
    """Three decimals, but never a small number shown as zero: only what is left of rounding is."""
    if value is None:
        return "n/a"
    if abs(value) < ROUNDING:
        value = 0.0
    if value == int(value) and abs(value) >= 1000:
        return str(int(value))
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.0005 else f"{value:.1e}"


def _plain(text: str) -> str:
    """Text that no spreadsheet takes for a formula: structure names come from files of strangers."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
