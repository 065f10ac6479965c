"""Long-lived worker processes: each does one case after another, and one that dies or hangs costs its case a retry."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

from jrscli.cohort.worker import GRACE_SECONDS, Work, Worker, end_workers, start_worker
from jrscli.turn import FILE as TURN_FILE

_HEARTBEAT_SECONDS = 0.5


@dataclass(frozen=True)
class Task:
    """What is sent to a worker. gigabytes: what doing it will take, roughly."""

    key: str
    content: Any
    gigabytes: float = 0.0


@dataclass(frozen=True)
class Event:
    """News of a task: "start", "progress" (stage, done, total), "done" (result), "lost" (reason: "ended" or "timeout").

    A lost task that gets another try is followed by a new "start"; final: whether it does not. News of no task, from elsewhere:
    "waiting" (there is no worker), "unfit" (result: why a worker, named by ``key``, is left out).
    """

    kind: str
    key: str
    worker: int
    result: Any = None
    reason: str = ""
    attempt: int = 1
    final: bool = True


class Executor(Protocol):
    """Whoever does the tasks, here or elsewhere.

    gigabytes: what all tasks that run at once may take, None where that is not known. timeout: seconds for one task.
    """

    @property
    def gigabytes(self) -> float | None: ...

    @property
    def timeout(self) -> float | None: ...

    def run(self, tasks: Sequence[Task]) -> Generator[Event]:
        """Do all tasks and tell what happens. Closing the iterator (or an exception in its user) stops what runs."""
        ...


@dataclass
class _Seat:
    """A worker and what it is at."""

    worker: Worker
    task: Task | None = None
    attempt: int = 1
    began: float = 0.0


@dataclass
class Pool:
    """Processes for tasks. gigabytes: what all tasks that run at once may take; one alone runs even where it needs all of it.

    timeout: seconds for one task, None for no limit. retries: how often a lost task is tried again. environment: set in each
    worker before anything is imported there. turns: of several workers one computes at a time (`jrscli.turn`).
    """

    work: Work
    jobs: int = 1
    gigabytes: float | None = None
    timeout: float | None = None
    retries: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    quiet: bool = True
    turns: bool = False
    _seats: list[_Seat] = field(default_factory=list, init=False)
    _made: int = field(default=0, init=False)
    _shared: dict[str, str] = field(default_factory=dict, init=False)

    def run(self, tasks: Sequence[Task]) -> Generator[Event]:
        """Do all tasks and tell what happens. Closing the iterator (or an exception in its user) ends the workers."""
        waiting: list[tuple[Task, int]] = [(task, 1) for task in tasks]
        with tempfile.TemporaryDirectory(prefix="jrs-") as folder:
            if self.turns:
                by = Path(folder) / "turn"
                by.touch()
                self._shared = {TURN_FILE: str(by)}
            try:
                while waiting or any(seat.task for seat in self._seats):
                    yield from self._start(waiting)
                    yield from self._listen(waiting)
            finally:
                self._end()

    def _start(self, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        while waiting:
            busy = [seat for seat in self._seats if seat.task]
            taken = sum(seat.task.gigabytes for seat in busy if seat.task)
            place = next((n for n, (task, _) in enumerate(waiting) if not busy or self._fits(taken + task.gigabytes)), None)
            if place is None or len(busy) >= self.jobs:
                return
            task, attempt = waiting.pop(place)
            seat = next((one for one in self._seats if one.task is None), None) or self._new_seat()
            seat.task, seat.attempt, seat.began = task, attempt, time.monotonic()
            with contextlib.suppress(OSError):  # a worker that died while idle is noticed by its sentinel
                seat.worker.connection.send(task.content)
            yield Event("start", task.key, seat.worker.number, attempt=attempt)

    def _fits(self, gigabytes: float) -> bool:
        return self.gigabytes is None or gigabytes <= self.gigabytes

    def _listen(self, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        workers = [seat.worker for seat in self._seats]
        ready = wait([one for w in workers for one in (w.connection, w.process.sentinel)], timeout=_HEARTBEAT_SECONDS)
        for seat in list(self._seats):
            if seat.worker.connection in ready:  # first, since what it said before it died counts
                yield from self._hear(seat, waiting)
            elif seat.worker.process.sentinel in ready:
                yield from self._lose(seat, "ended", waiting)
        now = time.monotonic()
        for seat in list(self._seats):
            if self.timeout and seat.task and now - seat.began > self.timeout:
                yield from self._lose(seat, "timeout", waiting)

    def _hear(self, seat: _Seat, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        try:
            kind, content = seat.worker.connection.recv()
        except (EOFError, OSError):
            seat.worker.process.join(GRACE_SECONDS)
            yield from self._lose(seat, "ended", waiting)
            return
        task = seat.task
        if task is not None:
            if kind == "done":
                seat.task = None
            yield Event(kind, task.key, seat.worker.number, content, attempt=seat.attempt)

    def _lose(self, seat: _Seat, reason: str, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        self._seats.remove(seat)
        seat.worker.kill()
        task = seat.task
        if task is None:
            return
        final = seat.attempt > self.retries
        if not final:
            waiting.insert(0, (task, seat.attempt + 1))
        yield Event("lost", task.key, seat.worker.number, seat.worker.process.exitcode, reason, seat.attempt, final)

    def _new_seat(self) -> _Seat:
        self._made += 1
        seat = _Seat(start_worker(self.work, self._made, {**self.environment, **self._shared}, quiet=self.quiet))
        self._seats.append(seat)
        return seat

    def _end(self) -> None:
        idle = [seat.worker for seat in self._seats if seat.task is None]
        end_workers(idle, [seat.worker for seat in self._seats if seat.task])
        self._seats.clear()
