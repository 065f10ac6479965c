"""Long-lived worker processes: each does one case after another, and one that dies or hangs costs its case a retry."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

Tell = Callable[[str, int, int], None]
Work = Callable[[Any, Tell], Any]
"""What a worker does with a task: a function of a module, since it is looked up by name in the new process."""
_GRACE_SECONDS = 5.0
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

    A lost task that gets another try is followed by a new "start"; final: whether it does not.
    """

    kind: str
    key: str
    worker: int
    result: Any = None
    reason: str = ""
    attempt: int = 1
    final: bool = True


@dataclass
class _Worker:
    number: int
    process: Any
    connection: Connection
    task: Task | None = None
    attempt: int = 1
    began: float = 0.0


@dataclass
class Pool:
    """Processes for tasks. gigabytes: what all tasks that run at once may take; one alone runs even where it needs all of it.

    timeout: seconds for one task, None for no limit. retries: how often a lost task is tried again. environment: set in each
    worker before anything is imported there.
    """

    work: Work
    jobs: int = 1
    gigabytes: float | None = None
    timeout: float | None = None
    retries: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    quiet: bool = True
    _workers: list[_Worker] = field(default_factory=list, init=False)
    _made: int = field(default=0, init=False)

    def run(self, tasks: Sequence[Task]) -> Generator[Event]:
        """Do all tasks and tell what happens. Closing the iterator (or an exception in its user) ends the workers."""
        waiting: list[tuple[Task, int]] = [(task, 1) for task in tasks]
        try:
            while waiting or any(worker.task for worker in self._workers):
                yield from self._start(waiting)
                yield from self._listen(waiting)
        finally:
            self._end()

    def _start(self, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        while waiting:
            busy = [worker for worker in self._workers if worker.task]
            taken = sum(worker.task.gigabytes for worker in busy if worker.task)
            place = next((n for n, (task, _) in enumerate(waiting) if not busy or self._fits(taken + task.gigabytes)), None)
            if place is None or len(busy) >= self.jobs:
                return
            task, attempt = waiting.pop(place)
            worker = next((one for one in self._workers if one.task is None), None) or self._new_worker()
            worker.task, worker.attempt, worker.began = task, attempt, time.monotonic()
            with contextlib.suppress(OSError):  # a worker that died while idle is noticed by its sentinel
                worker.connection.send(task.content)
            yield Event("start", task.key, worker.number, attempt=attempt)

    def _fits(self, gigabytes: float) -> bool:
        return self.gigabytes is None or gigabytes <= self.gigabytes

    def _listen(self, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        ready = wait([one for w in self._workers for one in (w.connection, w.process.sentinel)], timeout=_HEARTBEAT_SECONDS)
        for worker in list(self._workers):
            if worker.connection in ready:  # first, since what it said before it died counts
                yield from self._hear(worker, waiting)
            elif worker.process.sentinel in ready:
                yield from self._lose(worker, "ended", waiting)
        now = time.monotonic()
        for worker in list(self._workers):
            if self.timeout and worker.task and now - worker.began > self.timeout:
                yield from self._lose(worker, "timeout", waiting)

    def _hear(self, worker: _Worker, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(_GRACE_SECONDS)
            yield from self._lose(worker, "ended", waiting)
            return
        task = worker.task
        if task is not None:
            if kind == "done":
                worker.task = None
            yield Event(kind, task.key, worker.number, content, attempt=worker.attempt)

    def _lose(self, worker: _Worker, reason: str, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        self._workers.remove(worker)
        _kill(worker)
        task = worker.task
        if task is None:
            return
        final = worker.attempt > self.retries
        if not final:
            waiting.insert(0, (task, worker.attempt + 1))
        yield Event("lost", task.key, worker.number, worker.process.exitcode, reason, worker.attempt, final)

    def _new_worker(self) -> _Worker:
        context = get_context("spawn")
        here, there = context.Pipe()
        self._made += 1
        arguments = (there, self.work, dict(self.environment), self.quiet)
        process = context.Process(target=_serve, args=arguments, name=f"jrs-worker-{self._made}", daemon=True)
        process.start()
        there.close()
        worker = _Worker(self._made, process, here)
        self._workers.append(worker)
        return worker

    def _end(self) -> None:
        """Let idle workers go, and stop the others: first asked, so that they tidy up, then forced."""
        for worker in self._workers:
            if worker.task is None:
                worker.connection.close()
            else:
                worker.process.terminate()
        until = time.monotonic() + _GRACE_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.1, until - time.monotonic()))
            _kill(worker)
        self._workers.clear()


def _kill(worker: _Worker) -> None:
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join()
    with contextlib.suppress(OSError):
        worker.connection.close()


def _serve(connection: Connection, work: Work, environment: Mapping[str, str], quiet: bool) -> None:
    """A worker's life: it ends with its parent, however that ends."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what becomes of it
    stopping = threading.Event()

    def stop(number: int, frame: Any) -> None:
        stopping.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _silence(quiet)
    lock = threading.Lock()

    def say(kind: str, content: Any) -> None:
        with lock:
            connection.send((kind, content))

    def tell(stage: str, done: int, total: int) -> None:
        say("progress", (stage, done, total))

    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while not stopping.is_set():
            task = connection.recv()
            say("done", work(task, tell))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _silence(quiet: bool) -> None:
    """What libraries write by themselves must not get between the data on stdout or into the live view."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    os.dup2(nowhere, 1)
    if quiet:
        os.dup2(nowhere, 2)
