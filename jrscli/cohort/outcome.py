"""What became of a case, told from what it wrote; and what that makes of the cohort."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jrscli.errors import ExitCode
from jrscli.io.run_record import RUN_FILE

_OF_FIELDS = ("folding_percent", "inverse_consistency_p95_mm", "jacobian_min")
GONE = "gone"
"""The status of something that was in quarantine and is no case any more."""


@dataclass(frozen=True)
class Outcome:
    """One line of the log.

    status: "ok"; "review" (a check has to be looked at, results written); "failed"; "quarantined" (its input cannot be used).
    figures: what the dashboard shows and sorts by. outputs: the names of the files written. timing: all that differs from run
    to run. again: it had been done before.
    """

    case: str
    status: str
    exit: int = 0
    code: str | None = None
    message: str = ""
    hint: str = ""
    fingerprint: str = ""
    model: str | None = None
    device: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    timing: Mapping[str, Any] = field(default_factory=dict)
    again: bool = False

    def line(self) -> dict[str, Any]:
        """The outcome as batch.jsonl has it; words of errors are kept out of logs, they stand in reason.json."""
        return {
            "case": self.case,
            "status": self.status,
            "code": self.code,
            "exit": self.exit,
            "model": self.model,
            "device": self.device,
            **self.figures,
            "out": self.case if self.outputs else None,
            "fingerprint": self.fingerprint,
            "timing": dict(self.timing),
        }


def recorded(folder: Path) -> dict[str, Any] | None:
    """The record of the complete result in a folder; None where there is none."""
    try:
        found = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def outcome_of(case: str, folder: Path, record: Mapping[str, Any], *, again: bool = False) -> Outcome:
    """What a complete result says of its case."""
    figures = _figures(_document(folder / "metrics.json"), record)
    gate = record.get("gate") or _document(folder / "metrics.json").get("gate") or {}
    failed = record.get("status") == "failed"
    status = "failed" if failed else "review" if gate.get("status") in ("review", "fail") else "ok"
    model = record.get("model") or {}
    return Outcome(
        case,
        status,
        int(ExitCode.GATE) if failed else 0,
        record.get("code"),
        fingerprint=str(record.get("fingerprint", "")),
        model=f"{model['name']}@{model['version']}" if model.get("name") else None,
        device=model.get("device") or "cpu",
        figures=figures,
        outputs=tuple(str(one["file"]) for one in record.get("outputs", [])),
        timing=dict(record.get("timing", {})),
        again=again,
    )


def exit_of(outcomes: Iterable[Outcome]) -> ExitCode:
    """The exit code of a cohort: 1 where a case failed, 4 where one is in quarantine, 3 where only gates are closed, else 0."""
    found = list(outcomes)
    failed = [one for one in found if one.status == "failed"]
    if any(one.exit != ExitCode.GATE for one in failed):
        return ExitCode.FAILURE
    if any(one.status == "quarantined" for one in found):
        return ExitCode.INPUT
    return ExitCode.GATE if failed else ExitCode.OK


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _figures(metrics: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The worst of each figure that a cohort is looked through by."""
    found: dict[str, Any] = {}
    for name, key, worst in (("dice_min", "dice.v1", min), ("hd95_max_mm", "hd95.v1", max)):
        values = list(_values(metrics, key))
        if values:
            found[name] = worst(values)
    mean = ((metrics.get("summary") or {}).get("dice.v1") or {}).get("mean")
    if mean is not None:
        found["dice_mean"] = mean
    apart = [row["msd_mm"] for row in record.get("disagreement") or [] if row.get("msd_mm") is not None]
    if apart:
        found["disagreement_max_mm"] = max(apart)
    found |= {name: record[name] for name in _OF_FIELDS if record.get(name) is not None}
    if record.get("gate"):
        found["gate"] = record["gate"].get("status")
    return found


def _values(metrics: Mapping[str, Any], key: str) -> list[float]:
    rows = metrics.get("structures") or []
    found = [(row.get("metrics") or {}).get(key) or {} for row in rows if isinstance(row, dict)]
    return [float(one["value"]) for one in found if isinstance(one.get("value"), int | float)]
