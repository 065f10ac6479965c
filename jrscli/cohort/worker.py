"""A process that does one task after another, until it is told to stop or its parent is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

Tell = Callable[[str, int, int], None]
Work = Callable[[Any, Tell], Any]
"""What a worker does with a task: a function of a module, since it is looked up by name in the new process."""
GRACE_SECONDS = 5.0
"""How long a worker that is told to stop may take to tidy up."""


@dataclass
class Worker:
    """A process and the way to talk to it: contents of tasks go out, ("progress" or "done", what) come in."""

    number: int
    process: Any
    connection: Connection

    def kill(self) -> None:
        """End it at once, if it has not ended by itself."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        with contextlib.suppress(OSError):
            self.connection.close()


def start_worker(work: Work, number: int, environment: Mapping[str, str], *, quiet: bool, folder: str | None = None) -> Worker:
    """A new worker.

    environment: set there before anything is imported. quiet: what it says on stderr is dropped. folder: where it works, if
    not where this process was started.
    """
    context = get_context("spawn")
    here, there = context.Pipe()
    arguments = (there, work, dict(environment), quiet, folder)
    process = context.Process(target=_serve, args=arguments, name=f"jrs-worker-{number}", daemon=True)
    process.start()
    there.close()
    return Worker(number, process, here)


def end_workers(idle: Iterable[Worker], busy: Iterable[Worker]) -> None:
    """Let idle workers go, and stop the others: first asked, so that they tidy up, then forced."""
    every = [*idle]
    for worker in every:
        worker.connection.close()
    for worker in busy:
        worker.process.terminate()
        every.append(worker)
    until = time.monotonic() + GRACE_SECONDS
    for worker in every:
        worker.process.join(max(0.1, until - time.monotonic()))
        worker.kill()


def _serve(connection: Connection, work: Work, environment: Mapping[str, str], quiet: bool, folder: str | None) -> None:
    """A worker's life: it ends with its parent, however that ends."""
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
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
