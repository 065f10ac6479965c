"""The log of a training: one CSV line per logged round and per validation, appended at once."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jrscli.errors import ModelError

FILE = "log.csv"
COLUMNS = ("stage", "round", "what", "name", "value")


class Log:
    """A CSV file in long form: stage, round, what, name, value. what: train (terms of losses), watch (no terms), validation.

    keep: how many lines an earlier run had written at its checkpoint; later ones are cut off, for they will come again.
    tensorboard: the same values also as curves, in the folder ``tensorboard``.

    Raises ModelError `extra.missing` where tensorboard is asked for and not installed.
    """

    def __init__(self, folder: Path, keep: int = 0, *, tensorboard: bool = False) -> None:
        self._curves = _curves(folder / "tensorboard") if tensorboard else None
        self.path = folder / FILE
        lines = self.path.read_text("utf-8").splitlines(keepends=True)[1 : keep + 1] if keep and self.path.is_file() else []
        self.path.write_text(",".join(COLUMNS) + "\n" + "".join(lines), "utf-8")
        self.lines = len(lines)

    def add(self, stage: str, rounds: int, what: str, values: Mapping[str, float]) -> None:
        """Append one line per value."""
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([stage, rounds, what, name, f"{value:.6g}"] for name, value in values.items())
        self.lines += len(values)
        if self._curves is not None:
            for name, value in values.items():
                self._curves.add_scalar(f"{stage}/{what}/{name}", value, rounds)
            self._curves.flush()


def _curves(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ModelError(
            "training.tensorboard needs tensorboard, which is not installed",
            code="extra.missing",
            hint="pip install 'jrscli[tensorboard]', or leave the setting out: log.csv holds the same values",
        ) from None
    return SummaryWriter(str(folder))
