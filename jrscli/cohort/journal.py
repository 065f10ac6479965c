"""batch.jsonl: one line per case that came to an end, appended and on disk before the next one."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jrscli.cohort.outcome import GONE, Outcome
from jrscli.cohort.place import release
from jrscli.errors import WriteError

LOG = "batch.jsonl"


def log_name(shard: tuple[int, int]) -> str:
    """The log of a shard: each has its own, since files on shared disks are not appended to by several machines."""
    return LOG if shard[1] == 1 else f"batch-{shard[0]}of{shard[1]}.jsonl"


class Journal:
    """A log that is opened again: what a killed process left half-written at its end is cut off.

    latest: the last line of each case.

    Raises WriteError `output.unwritable`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.latest: dict[str, dict[str, Any]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                os.truncate(path, len(whole))
        except OSError as error:
            raise _unwritable(path, error) from error
        self.latest = latest_of(whole.decode("utf-8", "replace").splitlines())

    def add(self, outcome: Outcome) -> None:
        """Append the line of an outcome, unless the last one of its case says the same.

        Raises WriteError `output.unwritable`.
        """
        line = outcome.line()
        if _lasting(self.latest.get(outcome.case)) == _lasting(line):
            return
        try:
            with self.path.open("ab") as file:
                file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self.latest[outcome.case] = line

    def forget_refused(self, keys: set[str], output: Path) -> None:
        """Note that what was in quarantine under a key that no case has any more is gone: its input was put right.

        Raises WriteError `output.unwritable`.
        """
        for case, line in list(self.latest.items()):
            if line.get("status") == "quarantined" and case not in keys:
                release(output, case)
                self.add(Outcome(case, GONE))


def latest_of(lines: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The last line of each case; lines that are none are passed over."""
    found: dict[str, dict[str, Any]] = {}
    for text in lines:
        with contextlib.suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict) and isinstance(line.get("case"), str):
                found[line["case"]] = line
    return found


def _lasting(line: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if line is None else {key: value for key, value in line.items() if key != "timing"}


def _unwritable(path: Path, error: OSError) -> WriteError:
    reason = (error.strerror or "unknown reason").lower()
    return WriteError(f"{path} cannot be written: {reason}", code="output.unwritable", hint="choose another place with -o")
