"""What the benchmarks of trainings share: the networks as validation uses them, and what is kept of a log."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from jrscli.recipe import Method
from jrscli.training import checkpoint
from jrscli.training.run import build_method

WATCHED_EVERY = 10
"""Rounds of which the watched numbers (judge, field, accepted labels) are kept."""


def networks(folder: Path) -> tuple[Method, dict[str, Any]]:
    """The method with the weights of its checkpoint, in eval mode, and the checkpoint's description."""
    content = checkpoint.load(folder)
    method = build_method(content["method"], content["config"])
    method.load_state_dict(content["weights"])
    return method.eval(), content


def keep_log(folder: Path, kept: Path) -> None:
    """Write the validations and every tenth of the watched numbers of a training into a file of its own."""
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    wanted = [row for row in rows[1:] if row[2] == "validation" or (row[2] == "watch" and int(row[1]) % WATCHED_EVERY == 0)]
    with kept.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([rows[0], *wanted])
