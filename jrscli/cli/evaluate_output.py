"""What `jrs evaluate` prints and writes."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

from jrscli.cli.run import Results, Run
from jrscli.errors import GateFailed, Notice

if TYPE_CHECKING:
    from jrscli.metrics.assessment import Assessment
    from jrscli.metrics.evaluation import Evaluation
    from jrscli.metrics.gates import Verdict


def write_metrics(results: Results, found: Evaluation | Assessment) -> None:
    """Write what was found as JSON, CSV and Markdown."""
    from jrscli.io.output import write_bytes
    from jrscli.report.tables import to_csv, to_json, to_markdown

    write_bytes(to_json(found).encode(), results.add("metrics-json", "metrics.json"))
    write_bytes(to_csv(found).encode(), results.add("metrics-csv", "metrics.csv"))
    write_bytes(to_markdown(found).encode(), results.add("metrics-md", "metrics.md"))


def print_table(evaluation: Evaluation) -> None:
    """The table of an evaluation on stdout."""
    from jrscli.report.tables import to_columns

    _print(to_columns(evaluation), blank=False)


def print_assessment(found: Assessment) -> None:
    """All tables on stdout: values, summary over cases, further tests, gate."""
    from jrscli.report import tables

    main = found.main
    if found.others:
        ids = tables.shown_ids(main)
        _print(tables.side_by_side(found, ids))
        _print(tables.difference_columns(found, ids))
    else:
        _print(tables.to_columns(main))
    if any(row.case for row in main.rows):
        _print(tables.summary_columns([part for part in main.summary if part.id in tables.shown_ids(main)]))
    for part in found.parts.values():
        _print(tables.to_columns(part))
    if found.verdict is None or not found.verdict.rows:
        return
    counts = {status: sum(row.status == status for row in found.verdict.rows) for status in _STATUSES}
    words = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count)
    status = found.verdict.status.replace("_", " ").upper()
    sys.stdout.write(f"gate: {status} (v = {found.v_mm:.3g} mm; {words}), {tables.FOR_REVIEW}\n")
    bad = tables.gate_columns(found, only_bad=True)
    if bad[1]:
        _print(bad)


_STATUSES = ("pass", "review", "fail", "not_assessed")


def judge(run: Run, verdict: Verdict | None, v_mm: float, gate: str) -> GateFailed | None:
    """Say and record the verdict; the failure where the gate is "fail" and a row fails.

    Names of structures stay in the tables: what is said and recorded here has none.
    """
    if verdict is None or gate == "off":
        return None
    count = {status: sum(row.status == status for row in verdict.rows) for status in _STATUSES}
    run.record.facts["gate"] = {"mode": gate, "status": verdict.status, "rows": count, "v_mm": v_mm}
    if verdict.status == "fail":
        words = f"{count['fail']} of {len(verdict.rows)} checks fail"
        if gate == "fail":
            run.record.status, run.record.code = "failed", "gate.failed"
            return GateFailed(
                f"the gate is closed: {words}",
                code="gate.failed",
                hint="results are written and marked; the table and report.html say which checks failed, and why",
            )
        run.note([Notice("gate.fail", f"gate: {words}")])
    elif verdict.status == "review":
        run.note([Notice("gate.review", f"gate: {count['review']} of {len(verdict.rows)} checks have to be looked at")])
    return None


def _print(table: tuple[list[str], list[list[str]]], *, blank: bool = True) -> None:
    from jrscli.report.text_table import as_text

    # in a pipe a line may be as long as it needs
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    sys.stdout.write(as_text(*_cleaned(table), width) + "\n" * (1 + blank))


def _cleaned(table: tuple[list[str], list[list[str]]]) -> tuple[Any, Any]:
    """The table without control characters: names come from files of strangers."""
    header, lines = table
    return header, [["".join(c if c.isprintable() else "?" for c in cell) for cell in line] for line in lines]
