"""What a Dask worker does with a case: it hands it to a process of its own, as `pool` does, and listens to that.

So a case that dies takes no Dask worker with it, can be stopped at any moment, and has a process to itself: a command redirects
what it prints, and that is not a matter of one thread. The process stays for the next case, with what it has loaded.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import current_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from jrscli import __version__
from jrscli.cohort.worker import GRACE_SECONDS, Work, Worker, end_workers, start_worker

_HEARTBEAT_SECONDS = 0.3
_TELL_SECONDS = 0.5
_IDLE_SECONDS = 60.0
"""How long a process waits for the next task."""


@dataclass(frozen=True)
class Order:
    """A task for a Dask worker. folder: where it is done, since paths may start there. topic: who hears of its progress."""

    work: Work
    content: Any
    key: str
    attempt: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "."
    timeout: float | None = None
    topic: str = ""
    quiet: bool = True


@dataclass
class _Kept:
    """The process of this Dask worker, and what it was started with."""

    worker: Worker | None = None
    way: object = None
    idle: threading.Timer | None = None


_kept = _Kept()
_at_work = threading.Lock()
"""Held while there is a task; a Dask worker with many threads still does one case at a time, with all of them."""


def do(order: Order) -> tuple[str, Any]:
    """What became of a task: ("done", result), ("ended", exit code), ("timeout", None) or ("stopped", None)."""
    with _at_work:
        if not _wanted():  # it was given up while another one was done
            return "stopped", None
        worker = _worker_for(order)
        end = "stopped"
        try:
            end, found = _listened(worker, order)
        finally:
            if end != "done":
                end_workers([], [worker])
                _kept.worker = None
            # whoever is killed between two cases tells nobody that there will be no other
            _kept.idle = threading.Timer(_IDLE_SECONDS, let_go)
            _kept.idle.daemon = True
            _kept.idle.start()
        return end, worker.process.exitcode if end == "ended" else found


def about(output: str, folder: str) -> tuple[str, bool]:
    """The version of jrscli here, and whether this machine sees the folders (``output`` as ``number:path``)."""
    number, _, path = output.partition(":")
    with contextlib.suppress(OSError):
        return __version__, _number(path) == number and Path(folder).is_dir()
    return __version__, False


def seen(output: Path) -> str:
    """The folder as `about` takes it: with its number on the disk, since a folder of that name may be on any machine."""
    return f"{_number(str(output))}:{output}"


def is_busy() -> bool:
    """Whether a task is being done or stopped."""
    return _at_work.locked()


def let_go() -> None:
    """End the process that waits for the next task, if none is being done."""
    if _at_work.acquire(blocking=False):
        try:
            if _kept.worker is not None:
                _kept.worker.connection.close()  # it ends by that
                _kept.worker = None
        finally:
            _at_work.release()


def _worker_for(order: Order) -> Worker:
    if _kept.idle is not None:
        _kept.idle.cancel()
    way = (order.work, dict(order.environment), order.folder, order.quiet)
    kept = _kept.worker
    if kept is not None and (_kept.way != way or not kept.process.is_alive()):
        end_workers([kept], [])
        kept = None
    if kept is None:
        with _children_allowed():
            kept = start_worker(order.work, 1, order.environment, quiet=order.quiet, folder=order.folder)
        _kept.worker, _kept.way = kept, way
    return kept


def _listened(worker: Worker, order: Order) -> tuple[str, Any]:
    """Send the task and wait for its end; progress is passed on, though not oftener than anybody can read."""
    until = time.monotonic() + order.timeout if order.timeout else None
    told = 0.0
    try:
        worker.connection.send(order.content)
        while True:
            if wait([worker.connection], timeout=_HEARTBEAT_SECONDS):
                kind, content = worker.connection.recv()
                if kind == "done":
                    return "done", content
                if time.monotonic() - told > _TELL_SECONDS:
                    told = time.monotonic()
                    _tell(order, content)
            if until is not None and time.monotonic() > until:
                return "timeout", None
            if not _wanted():
                return "stopped", None
    except (EOFError, OSError):
        worker.process.join(GRACE_SECONDS)
        return "ended", None


def _tell(order: Order, content: Any) -> None:
    from distributed import get_worker

    if order.topic:
        get_worker().log_event(order.topic, (order.key, order.attempt, *content))


def _wanted() -> bool:
    """Whether somebody still waits for the task: who asked for it may have been stopped, or killed."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and task.state in ("executing", "long-running")


@contextlib.contextmanager
def _children_allowed() -> Iterator[None]:
    """Dask starts its workers as daemons, which multiprocessing lets have no children; ours end with their parent anyway."""
    config: dict[str, Any] = getattr(current_process(), "_config", {})
    daemon = config.get("daemon")
    config["daemon"] = False
    try:
        yield
    finally:
        config["daemon"] = daemon


def _number(path: str) -> str:
    return "any" if os.name == "nt" else str(Path(path).stat().st_ino)
