"""Tasks on a Dask cluster of two processes: what dies, hangs and is given up there."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jrscli.cohort import dask_pool
from jrscli.cohort.dask_pool import DaskPool, connected
from jrscli.cohort.pool import Event, Task
from jrscli.errors import InputError, ModelError, ProviderError

TOY = """
import multiprocessing, os, time
from pathlib import Path

def children():
    return len(multiprocessing.active_children())

def work(task, tell):
    kind, value = task
    tell(kind, 1, 2)
    first = value and not Path(value).exists()
    if value:
        Path(value).touch()
    if kind == "die" or (kind == "die once" and first):
        os.kill(os.getpid(), 9)
    if kind == "lose worker once" and first:
        os.kill(os.getppid(), 9)
        time.sleep(60)
    if kind == "hang":
        try:
            time.sleep(60)
        finally:
            Path(value).write_text("tidied up")
    return os.getpid(), os.getppid(), os.getcwd(), os.environ.get("JRS_TOY")
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two worker processes with two threads each, that know the toy work."""
    distributed = pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("toy")
    (folder / "jrs_dask_toy.py").write_text(TOY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0", silence_logs=50
        ) as found:
            yield found


@pytest.fixture
def told(cluster: Any, tmp_path: Path) -> Callable[..., list[Event]]:
    """``told((kind, value), …, retries=…)`` is what a pool tells of these tasks."""

    def run(*tasks: tuple[str, Any], **options: Any) -> list[Event]:
        return list(pool(cluster, tmp_path, **options).run([Task(f"t{n}", one) for n, one in enumerate(tasks)]))

    return run


def pool(cluster: Any, folder: Path, **options: Any) -> DaskPool:
    return DaskPool(
        importlib.import_module("jrs_dask_toy").work,
        connected(cluster.scheduler_address),
        folder,
        suited=lambda content, threads: (content, {"JRS_TOY": str(threads)}),
        **options,
    )


def ends(events: list[Event]) -> list[tuple[str, str, str]]:
    return sorted((event.key, event.kind, event.reason) for event in events if event.kind in ("done", "lost"))


def test_each_worker_does_one_task_at_a_time_in_a_process_that_stays(told: Callable[..., list[Event]]) -> None:
    events = told(*[("go", "")] * 8)
    results = [event.result for event in events if event.kind == "done"]
    assert len(results) == 8
    assert len({pid for pid, _, _, _ in results}) == len({parent for _, parent, _, _ in results}) == 2
    assert {(folder, threads) for _, _, folder, threads in results} == {(str(Path.cwd()), "2")}
    assert ("go", 1, 2) in [event.result for event in events if event.kind == "progress"]
    most = now = 0
    for event in events:
        now += {"start": 1, "done": -1}.get(event.kind, 0)
        most = max(most, now)
    assert most == 2


def test_nothing_of_ours_stays_on_the_workers(told: Callable[..., list[Event]], cluster: Any) -> None:
    told(("go", ""), ("go", ""))
    client = connected(cluster.scheduler_address)
    until = time.monotonic() + 20
    while any(client.run(importlib.import_module("jrs_dask_toy").children).values()):
        assert time.monotonic() < until, "a process waits for cases that never come"
        time.sleep(0.05)
    client.close()


def test_what_dies_costs_one_retry_and_a_dead_worker_too(told: Callable[..., list[Event]], tmp_path: Path) -> None:
    events = told(("die", ""), ("die once", str(tmp_path / "a")), ("lose worker once", str(tmp_path / "b")), ("go", ""))
    assert ends(events) == [
        ("t0", "lost", "ended"),
        ("t0", "lost", "ended"),
        ("t1", "done", ""),
        ("t1", "lost", "ended"),
        ("t2", "done", ""),
        ("t2", "lost", "ended"),
        ("t3", "done", ""),
    ]
    lost = {(event.key, event.result): event.final for event in events if event.kind == "lost"}
    assert lost == {("t0", -9): True, ("t1", -9): False, ("t2", "its Dask worker is gone"): False}


def test_a_task_that_hangs_is_stopped(told: Callable[..., list[Event]], tmp_path: Path) -> None:
    began = time.monotonic()
    assert ends(told(("hang", str(tmp_path / "x")), ("go", ""), timeout=1.0, retries=0)) == [
        ("t0", "lost", "timeout"),
        ("t1", "done", ""),
    ]
    assert time.monotonic() - began < 30


def test_giving_up_lets_what_runs_tidy_up(cluster: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with closing(pool(cluster, tmp_path).run([Task("a", ("hang", str(mark)))])) as events:
        for _ in events:
            until = time.monotonic() + 30
            while not mark.exists() and time.monotonic() < until:
                time.sleep(0.02)
            break
    assert mark.read_text() == "tidied up"


def test_a_folder_of_that_name_on_another_disk_is_not_taken_for_ours(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_pool, "seen", lambda output: f"1:{output}")
    with pytest.raises(ProviderError, match="does not see") as caught:
        list(pool(cluster, tmp_path).run([Task("a", ("go", ""))]))
    assert caught.value.code == "dask.unfit"


def test_another_version_on_the_workers_is_said(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_pool, "__version__", "99.0")
    with pytest.raises(ProviderError, match=r"not 99\.0") as caught:
        list(pool(cluster, tmp_path).run([Task("a", ("go", ""))]))
    assert caught.value.code == "dask.unfit"


def test_without_workers_it_waits_and_a_scheduler_that_goes_away_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_pool, "_CONNECT_SECONDS", 1)
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as empty:
        found = DaskPool(os.getpid, connected(empty.scheduler_address), tmp_path)  # type: ignore[arg-type]
        events = found.run([Task("a", 0)])
        assert next(events).kind == "waiting"
    with pytest.raises(ProviderError) as caught:
        list(events)
    assert caught.value.code == "dask.lost"


def test_a_scheduler_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_pool, "_CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "no such host:1", "gibberish://x"):
        with pytest.raises(ProviderError) as caught:
            connected(address)
        assert caught.value.code == "dask.unreachable"
    with pytest.raises(InputError, match=r"no such file"):
        connected(str(tmp_path / "scheduler.json"))


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ModelError) as caught:
        connected("tcp://127.0.0.1:8786")
    assert (caught.value.code, caught.value.exit_code, "jrscli[dask]" in caught.value.hint) == ("extra.missing", 5, True)
