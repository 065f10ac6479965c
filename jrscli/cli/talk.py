"""Talk: stdout carries data (paths, tables, one JSON document), stderr carries words."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from jrscli.errors import Notice

ProgressMode = Literal["auto", "bar", "json", "none"]


class Talk:
    """What a command says while it works: ``with Talk(…) as talk``; also the `Progress` listener of long computations.

    json_output: stdout gets one document at the end, in place of a line per output.
    """

    def __init__(
        self, *, json_output: bool = False, quiet: bool = False, verbose: bool = False, progress: ProgressMode = "auto"
    ) -> None:
        self.json_output = json_output
        self.quiet = quiet
        self.verbose = verbose
        terminal = sys.stderr.isatty() and not quiet
        self.mode: ProgressMode = ("bar" if terminal else "none") if progress == "auto" else progress
        self._bar: Any = None
        self._task: Any = None
        self._stage = ""
        self._since = 0.0
        self._outputs: list[tuple[str, Path]] = []
        self._warned: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close_bar()
        self._count_warnings()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Hear how far a computation is."""
        if stage != self._stage:
            self._stage, self._since = stage, time.monotonic()
        if self.mode == "json":
            seconds = time.monotonic() - self._since
            eta = round(seconds * (total - done) / done, 1) if done else None
            self._write(json.dumps({"stage": stage, "done": done, "total": total, "eta_s": eta}))
        elif self.mode == "bar":
            self._show(stage, done, total)

    def say(self, line: str) -> None:
        """A line for a person, unless quiet."""
        if not self.quiet:
            self._write(line)

    def line(self, line: str) -> None:
        """A line on stderr, quiet or not."""
        self._write(line)

    def detail(self, line: str) -> None:
        """A line for a curious person (-v)."""
        if self.verbose:
            self.say(line)

    def warn(self, notices: Iterable[Notice]) -> None:
        """A ``warning:`` line for the first notice of a code; further ones are counted at the end."""
        for notice in notices:
            self._warned[notice.code] += 1
            if self._warned[notice.code] == 1 or self.verbose:
                self._write(f"warning: {notice.message} [{notice.code}]")

    def output(self, kind: str, path: Path) -> None:
        """Name an output; printed once everything is in its place, by `finish`."""
        self._outputs.append((kind, path))

    def finish(self, document: Mapping[str, Any] | None = None, *, next_step: str | None = None) -> None:
        """Say what to do next, and print the outputs (or, as JSON, ``document`` with them)."""
        self.close_bar()
        self._count_warnings()
        if next_step:
            self.say(f"next: {next_step}")
        if self.json_output:
            outputs = [{"kind": kind, "path": str(path)} for kind, path in self._outputs]
            self.print_json({**(document or {}), "outputs": outputs} if outputs else dict(document or {}))
        else:
            for kind, path in self._outputs:
                sys.stdout.write(f"{kind}\t{path}\n")
        sys.stdout.flush()

    def print_json(self, document: Mapping[str, Any]) -> None:
        """The one JSON document on stdout."""
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def close_bar(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, stage: str, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description:<14}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
            )
            self._bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(stage, total=total)
            self._bar.start()
        self._bar.update(self._task, description=stage, completed=done, total=total)

    def _count_warnings(self) -> None:
        for code, count in self._warned.items():
            if count > 1 and not self.verbose:
                self._write(f"warning: … {count - 1} more like this [{code}]")
        self._warned.clear()

    def _write(self, line: str) -> None:
        """One line on stderr, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
