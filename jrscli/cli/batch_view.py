"""What is seen of a cohort while it runs: a live view on a terminal, a line per case anywhere else."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.cli.talk import Talk

if TYPE_CHECKING:
    from jrscli.cohort.conduct import News
    from jrscli.cohort.outcome import Outcome

_SHOWN = (("dice_min", "Dice min", ""), ("disagreement_max_mm", "apart", " mm"), ("folding_percent", "folds", " %"))
_MOST_BARS = 8


class View:
    """Tells the news of ``total`` cases through ``talk``."""

    def __init__(self, talk: Talk, total: int) -> None:
        self.talk = talk
        self.total = total
        self.done = 0
        self.counts: Counter[str] = Counter()
        self.again = 0
        self._began = time.monotonic()
        self._progress: Any = None
        self._overall: Any = None
        self._bars: dict[int, Any] = {}
        if talk.mode == "bar":
            self._open()

    def hear(self, news: News) -> None:
        """Show one piece of news."""
        if news.event is not None:
            self._event(news.event)
        if news.outcome is not None:
            self._outcome(news.outcome)

    def close(self) -> None:
        """Take the live view away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def summary(self, output: Path) -> None:
        """The last words: how many cases ended how, and how long it took."""
        words = ", ".join(f"{count} {status}" for status, count in sorted(self.counts.items())) or "nothing to do"
        again = f" ({self.again} of them done before)" if self.again else ""
        self.talk.say(f"{self.done} of {self.total} cases in {_seconds(time.monotonic() - self._began)}: {words}{again}")

    def _event(self, event: Any) -> None:
        if event.kind == "lost" and not event.final:
            words = "took too long" if event.reason == "timeout" else "lost its process"
            self._line(f"warning: {event.key} {words}: tried again [worker.lost]", always=True)
        if event.kind == "unfit":
            self._line(f"warning: the Dask worker {event.key} is left out: {event.result} [dask.unfit]", always=True)
        if event.kind == "waiting":
            self._line("no worker of the Dask cluster is there yet: waiting; Ctrl-C ends")
        stage, done, total = event.result if event.kind == "progress" else ("start", 0, 1)
        if event.kind not in ("progress", "start"):
            return
        if self.talk.mode == "json":
            self._line(json.dumps({"case": event.key, "stage": stage, "done": done, "total": total}), always=True)
        bar = self._bar_of(event.worker) if self._progress is not None else None
        if bar is not None:
            if event.kind == "start":
                self._progress.reset(bar)
            words = f"{event.key[:24]:<24} {stage[:12]:<12}"
            self._progress.update(bar, description=words, completed=done, total=total)

    def _outcome(self, outcome: Outcome) -> None:
        self.done += 1
        self.counts[outcome.status] += 1
        self.again += outcome.again
        seconds = outcome.timing.get("seconds")
        parts = [f"{outcome.status:<11}"]
        parts.append("before" if outcome.again else _seconds(seconds) if seconds is not None else "")
        parts += [f"{words} {outcome.figures[name]:.3g}{unit}" for name, words, unit in _SHOWN if name in outcome.figures]
        parts.append(f"{outcome.message} [{outcome.code}]" if outcome.message else f"[{outcome.code}]" if outcome.code else "")
        width = len(str(self.total))
        self._line(f"{self.done:>{width}}/{self.total}  {outcome.case:<24}  {'  '.join(part for part in parts if part)}")
        if self._progress is not None:
            self._progress.update(self._overall, completed=self.done)
        if self.talk.mode == "json":
            self._line(json.dumps(outcome.line(), ensure_ascii=False), always=True)

    def _line(self, line: str, *, always: bool = False) -> None:
        if self._progress is not None:
            if always or not self.talk.quiet:
                self._progress.console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)
        elif always:
            self.talk.line(line)
        elif self.talk.mode != "json":
            self.talk.say(line.rstrip())

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
        self._progress = Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
        )
        self._overall = self._progress.add_task(f"{'all cases':<37}", total=self.total)
        self._progress.start()

    def _bar_of(self, worker: int) -> Any:
        """The bar of a worker; None where there are too many to show."""
        if worker not in self._bars and len(self._bars) < _MOST_BARS:
            self._bars[worker] = self._progress.add_task("", total=1)
        return self._bars.get(worker)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 99.5 else f"{seconds / 60:.0f} min"
