"""The workers of a Dask cluster that somebody else runs, one case at a time on each."""

from __future__ import annotations

import contextlib
import queue
import secrets
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jrscli import __version__
from jrscli.cohort.dask_worker import Order, about, do, is_busy, let_go, seen
from jrscli.cohort.pool import Event, Task
from jrscli.cohort.worker import GRACE_SECONDS, Work
from jrscli.errors import InputError, ModelError, ProviderError

_HEARTBEAT_SECONDS = 0.5
_CONNECT_SECONDS = 15


def connected(address: str) -> Any:
    """A client of the scheduler at ``address`` (``tcp://…``), or of the one that wrote this file.

    Raises ModelError `extra.missing`, InputError `input.missing` (no such file), ProviderError `dask.unreachable`.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        if error.name not in ("distributed", "dask"):
            raise
        raise ModelError(
            "--executor dask needs Dask, which is not installed", code="extra.missing", hint="pip install 'jrscli[dask]'"
        ) from None
    where: dict[str, str] = {"address": address}
    if address.endswith(".json"):
        if not Path(address).is_file():
            raise InputError(f"no such file: {address}", code="input.missing", hint="dask scheduler --scheduler-file writes it")
        where = {"scheduler_file": address}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other versions of Python and packages on the cluster
            return Client(**where, timeout=_CONNECT_SECONDS, set_as_default=False, name="jrs-batch")
    except (OSError, ValueError) as error:
        raise ProviderError(
            f"no Dask scheduler answers at {address}",
            code="dask.unreachable",
            hint="check the address (tcp://HOST:8786), that the scheduler runs, and that nothing blocks the way to it",
        ) from error


@dataclass
class _Seat:
    """A Dask worker and what it is at."""

    number: int
    threads: int
    task: Task | None = None
    attempt: int = 1
    future: Any = None


@dataclass
class DaskPool:
    """Workers of the cluster that ``client`` is connected to, as an `Executor`; `run` closes the connection.

    output: a folder that every worker has to see. jobs: tasks at once, None for one on each worker. suited: a task's content
    and environment for a worker that has so many threads. timeout, retries, quiet: as for `Pool`.
    """

    work: Work
    client: Any
    output: Path
    jobs: int | None = None
    timeout: float | None = None
    retries: int = 1
    suited: Callable[[Any, int], tuple[Any, Mapping[str, str]]] = lambda content, threads: (content, {})
    quiet: bool = True
    gigabytes: float | None = None
    _seats: dict[str, _Seat] = field(default_factory=dict, init=False)
    _unfit: dict[str, str] = field(default_factory=dict, init=False)
    _news: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue, init=False)
    _seen: str = field(default="", init=False)
    _made: int = field(default=0, init=False)
    _topic: str = field(default_factory=lambda: f"jrs-{secrets.token_hex(4)}", init=False)

    def run(self, tasks: Sequence[Task]) -> Generator[Event]:
        """Do all tasks and tell what happens. Closing the iterator (or an exception in its user) stops what runs.

        Raises ProviderError `dask.unfit` (no worker can do this), `dask.lost` (the scheduler went away).
        """
        waiting: list[tuple[Task, int]] = [(task, 1) for task in tasks]
        client, self._seen = self.client, seen(self.output.absolute())
        try:
            client.subscribe_topic(self._topic, lambda event: self._news.put(("progress", *event[1])))
            looked, lonely = -_HEARTBEAT_SECONDS, False
            while waiting or any(seat.task for seat in self._seats.values()):
                if time.monotonic() - looked >= _HEARTBEAT_SECONDS:
                    yield from self._look(client, waiting)
                    looked = time.monotonic()
                if not self._seats and not lonely:
                    yield Event("waiting", "", 0)
                lonely = not self._seats
                yield from self._start(client, waiting)
                yield from self._listen(client, waiting)
        except OSError as error:  # Dask's own errors of connections are of this kind
            raise self._gone() from error
        finally:
            self._end(client)

    def _look(self, client: Any, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        """Which workers came and went."""
        now: dict[str, int] = client.nthreads()
        for address in sorted(self._seats.keys() - now.keys()):
            yield from self._lose(self._seats.pop(address), "ended", "its Dask worker is gone", waiting)
        for address in sorted(now.keys() - self._seats.keys() - self._unfit.keys()):
            words = self._why_not(client, address)
            if words:
                self._unfit[address] = words
                yield Event("unfit", address, 0, words)
            elif words is not None:
                self._made += 1
                self._seats[address] = _Seat(self._made, now[address])
        if now and not now.keys() - self._unfit.keys():
            raise ProviderError(
                f"no worker of the Dask cluster can be used: {self._unfit[next(iter(now))]}",
                code="dask.unfit",
                hint="give all workers the same jrscli, and the folders of the cohort on a shared disk",
            )

    def _why_not(self, client: Any, address: str) -> str | None:
        """Why a worker cannot be used, "" where it can, None where it went away meanwhile."""
        try:
            found = client.run(about, self._seen, str(Path.cwd()), workers=[address], on_error="return")[address]
        except (OSError, KeyError, ValueError):
            return None
        if isinstance(found, ImportError | AttributeError):
            return f"it has no jrscli {__version__}"
        if isinstance(found, OSError):
            return None
        if isinstance(found, Exception):
            return f"it cannot run jrscli ({type(found).__name__})"
        version, sees = found
        if version != __version__:
            return f"it has jrscli {version}, not {__version__}"
        return "" if sees else f"it does not see {self.output}"

    def _start(self, client: Any, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        busy = sum(seat.task is not None for seat in self._seats.values())
        for address, seat in self._seats.items():
            if not waiting or (self.jobs is not None and busy >= self.jobs):
                return
            if seat.task is not None:
                continue
            busy += 1
            task, attempt = waiting.pop(0)
            content, environment = self.suited(task.content, seat.threads)
            order = Order(
                self.work, content, task.key, attempt, environment, str(Path.cwd()), self.timeout, self._topic, self.quiet
            )
            name = f"{self._topic}-{task.key}-{attempt}"
            # bound to this worker: who is lost, and how often a case is tried, is counted here
            future = client.submit(do, order, key=name, workers=[address], pure=False, retries=0)
            seat.task, seat.attempt, seat.future = task, attempt, future
            future.add_done_callback(lambda future, key=task.key, attempt=attempt: self._news.put(("end", key, attempt)))
            yield Event("start", task.key, seat.number, attempt=attempt)

    def _listen(self, client: Any, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        try:
            kind, key, attempt, *rest = self._news.get(timeout=_HEARTBEAT_SECONDS)
        except queue.Empty:
            return
        seat = next((one for one in self._seats.values() if one.task and (one.task.key, one.attempt) == (key, attempt)), None)
        if seat is None:
            return
        if kind == "progress":
            yield Event("progress", key, seat.number, tuple(rest), attempt=attempt)
            return
        if client.status != "running":
            raise self._gone()
        end, result = seat.future.result() if seat.future.status == "finished" else ("ended", "Dask gave the case up")
        if end == "done":
            seat.task = seat.future = None
            yield Event("done", key, seat.number, result, attempt=attempt)
        else:
            yield from self._lose(seat, "timeout" if end == "timeout" else "ended", result, waiting)

    def _lose(self, seat: _Seat, reason: str, result: object, waiting: list[tuple[Task, int]]) -> Iterator[Event]:
        task, future = seat.task, seat.future
        seat.task = seat.future = None
        if task is None:
            return
        future.cancel()
        final = seat.attempt > self.retries
        if not final:
            waiting.insert(0, (task, seat.attempt + 1))
        yield Event("lost", task.key, seat.number, result, reason, seat.attempt, final)

    def _gone(self) -> ProviderError:
        return ProviderError(
            "the Dask scheduler went away",
            code="dask.lost",
            hint="start it again; the same command goes on with the cases that are left",
        )

    def _end(self, client: Any) -> None:
        """Stop what runs and wait until it has tidied up; then let the processes on the workers go."""
        with contextlib.suppress(Exception):  # the cluster may be gone, and nothing here is worth an error then
            running = {address: seat.future for address, seat in self._seats.items() if seat.task is not None}
            client.cancel(list(running.values()), force=True)
            until = time.monotonic() + 2 * GRACE_SECONDS
            while running and time.monotonic() < until:
                busy = client.run(is_busy, workers=list(running), on_error="return")
                running = {address: one for address, one in running.items() if busy.get(address) is True}
                time.sleep(0.1)
            client.run(let_go, workers=list(self._seats), on_error="return")
        with contextlib.suppress(Exception):
            client.close(timeout=GRACE_SECONDS)
        self._seats.clear()
