"""The figures of all cases in one place: cases.csv, metrics.csv and the summary in cohort.json."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jrscli.cohort.journal import LOG, latest_of
from jrscli.cohort.outcome import GONE, recorded
from jrscli.errors import InputError
from jrscli.io.output import atomic_path
from jrscli.io.software import software_version
from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.value import Value

CASES, METRICS, COHORT = "cases.csv", "metrics.csv", "cohort.json"
_FIRST = ("case", "status", "code", "exit", "model", "device")
_LEFT_OUT = {"out", "outputs", "fingerprint", "timing"}


def merged_logs(output: Path) -> dict[str, dict[str, Any]]:
    """The last line of each case in the logs of all shards, by case; a line of a done case wins over others.

    Raises InputError `batch.nothing`.
    """
    logs = sorted(output.glob("batch*.jsonl"), key=lambda path: path.name == LOG)
    if not logs:
        raise InputError(
            f"{output} holds no log of jrs batch", code="batch.nothing", hint="name the folder that was given to -o"
        )
    found: dict[str, dict[str, Any]] = {}
    for path in logs:
        for case, line in latest_of(path.read_text(encoding="utf-8", errors="replace").splitlines()).items():
            if case not in found or line.get("out") or not found[case].get("out"):
                found[case] = line
    return {case: line for case, line in sorted(found.items()) if line.get("status") != GONE}


def write_tables(output: Path, lines: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write the three files; the summary as it is in cohort.json.

    Raises WriteError `output.unwritable`.
    """
    ordered = [lines[case] for case in sorted(lines)]
    rows = list(_metric_rows(output, [str(line["case"]) for line in ordered if line.get("out")]))
    summary = _summary(output, ordered, rows)
    _write(output / CASES, _cases_csv(ordered))
    if rows:
        _write(output / METRICS, _metrics_csv(rows))
    _write(output / COHORT, json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return summary


def figure_names(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """The figures that any of the cases has, in order of first appearance."""
    names = dict.fromkeys(name for line in lines for name in line)
    return [name for name in names if name not in _LEFT_OUT and name not in _FIRST]


def _cases_csv(lines: Sequence[Mapping[str, Any]]) -> str:
    names = [*_FIRST, *figure_names(lines), "seconds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for line in lines:
        values = {**line, "seconds": (line.get("timing") or {}).get("seconds")}
        writer.writerow(["" if values.get(name) is None else values[name] for name in names])
    return text.getvalue()


def _metric_rows(output: Path, cases: Iterable[str]) -> Iterable[dict[str, str]]:
    for case in cases:
        try:
            text = (output / case / METRICS).read_text(encoding="utf-8")
        except OSError:
            continue
        for row in csv.DictReader(io.StringIO(text)):
            yield {"case": case, **row}


def _metrics_csv(rows: Sequence[Mapping[str, str]]) -> str:
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _summary(output: Path, lines: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    counts = Counter(str(line.get("status")) for line in lines)
    records = [recorded(output / str(line["case"])) or {} for line in lines if line.get("out")]
    models = {f"{m['name']}@{m['version']}": m.get("sha256") for m in (r.get("model") or {} for r in records) if m.get("name")}
    return {
        "jrs": software_version(),
        "versions": sorted({str(record.get("jrs")) for record in records}),
        "packages": _one_for_all([record.get("packages") for record in records]),
        "models": models,
        "cases": len(lines),
        "counts": dict(sorted(counts.items())),
        "codes": dict(sorted(Counter(str(line["code"]) for line in lines if line.get("code")).items())),
        "figures": {name: _over([(str(line["case"]), line.get(name), "") for line in lines], name) for name in _numbers(lines)},
        "structures": _by_structure(rows),
        "fingerprints": {str(line["case"]): line.get("fingerprint") for line in lines if line.get("out")},
        "use": "research use, not a medical device",
    }


def _numbers(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for name in figure_names(lines) if any(isinstance(line.get(name), float) for line in lines)]


def _by_structure(rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    found: dict[str, dict[str, list[tuple[str, Any, str]]]] = defaultdict(lambda: defaultdict(list))
    units: dict[str, str] = {}
    for row in rows:
        value = float(row["value"]) if row["value"] else None
        found[row["name"]][row["metric"]].append((row["case"], value, row["limit"]))
        units[row["metric"]] = row["unit"]
    return {
        name: {metric: _over(values, metric, units[metric]) for metric, values in metrics.items()}
        for name, metrics in found.items()
    }


def _over(values: Sequence[tuple[str, Any, str]], name: str, unit: str = "") -> dict[str, object]:
    """One figure over the cases, as evaluations sum up: a distance without end spoils the mean, not the median."""
    rows = [
        Row(case, {name: Value(name, value, unit, limit=limit or None)})
        for case, value, limit in values
        if value is None or isinstance(value, int | float)
    ]
    return Evaluation("labels", tuple(rows)).summary[0].as_json()


def _one_for_all(found: Sequence[Any]) -> Any:
    """What all cases agree on, or all that they have."""
    kinds = [one for n, one in enumerate(found) if one is not None and one not in found[:n]]
    return kinds[0] if len(kinds) == 1 else kinds


def _write(path: Path, text: str) -> None:
    with atomic_path(path, exist="overwrite") as (temporary, _):
        temporary.write_text(text, encoding="utf-8")
