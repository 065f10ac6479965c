"""Earlier runs side by side, from what they wrote."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from PIL import Image

from jrscli.metrics.gates import GateRow, Verdict
from jrscli.report.page import Page, Picture, render
from jrscli.report.sheets import jpeg
from jrscli.report.tables import number_text


@dataclass(frozen=True)
class EarlierRun:
    """What a run wrote: run.json, metrics.json (empty where there is none), overlay.png."""

    record: Mapping[str, Any]
    figures: Mapping[str, Any]
    picture: bytes | None = None


def page_of_runs(runs: Sequence[EarlierRun]) -> bytes:
    """One page of all runs: the worst verdict in the banner, one column per run in the tables."""
    titles = [f"run {n}" for n in range(1, len(runs) + 1)]
    rows = tuple(
        _named(row, title if len(runs) > 1 else "") for title, run in zip(titles, runs, strict=True) for row in _gate_rows(run)
    )
    inputs = [
        {**one, "role": f"{title}: {one.get('role', '')}" if len(runs) > 1 else one.get("role", "")}
        for title, run in zip(titles, runs, strict=True)
        for one in run.record.get("inputs", [])
    ]
    pictures = [
        Picture(jpeg(Image.open(io.BytesIO(run.picture))), f"{title}: edges and contours on the fixed image")
        for title, run in zip(titles, runs, strict=True)
        if run.picture
    ]
    version = str(runs[0].record.get("jrs", ""))
    record = dict(zip(titles, (dict(run.record) for run in runs), strict=True)) if len(runs) > 1 else dict(runs[0].record)
    tables = [("Runs", _runs(titles, runs)), ("Means", _means(titles, runs))]
    title = f"{len(runs)} runs" if len(runs) > 1 else str(runs[0].record["command"])
    page = Page(
        title, Verdict(rows), version, date.today().isoformat(), inputs, pictures=pictures, tables=tables, record=record
    )
    return render(page)


def _gate_rows(run: EarlierRun) -> list[GateRow]:
    """The rows of the gate from metrics.json; of a registration what its record says."""
    given = run.figures.get("gate", {}).get("rows", [])
    rows = [GateRow(**{name: one.get(name) for name in GateRow.__dataclass_fields__}) for one in given]
    if run.record.get("status") == "failed" and not rows:
        code = str(run.record.get("code", ""))
        rows.append(GateRow("status", "", "fail", f"the run ended with {code}"))
    return rows


def _named(row: GateRow, title: str) -> GateRow:
    from dataclasses import replace

    return replace(row, sentence=f"{title}: {row.sentence}", structure=f"{title} {row.structure}".strip()) if title else row


def _runs(titles: Sequence[str], runs: Sequence[EarlierRun]) -> tuple[list[str], list[list[str]]]:
    keys = ("command", "status", "init", "folding_percent", "inverse_consistency_p95_mm", "seconds", "peak_memory_mib", "jrs")
    records = [{**run.record, **run.record.get("timing", {})} for run in runs]
    lines = [[key, *(_cell(record.get(key)) for record in records)] for key in keys if any(key in one for one in records)]
    return ["", *titles], lines


def _means(titles: Sequence[str], runs: Sequence[EarlierRun]) -> tuple[list[str], list[list[str]]]:
    ids = list(dict.fromkeys(id_ for run in runs for id_ in run.figures.get("summary", {})))
    lines = []
    for id_ in ids:
        found = [run.figures.get("summary", {}).get(id_, {}) for run in runs]
        unit = next((str(one["unit"]) for one in found if one.get("unit")), "")
        lines.append([id_, unit, *(_cell(one.get("mean")) for one in found)])
    return ["mean over rows", "unit", *titles], lines


def _cell(value: Any) -> str:
    return "n/a" if value is None else number_text(float(value)) if isinstance(value, int | float) else str(value)
