"""Workers that stay, die, hang and are told to stop."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jrscli.cohort.pool import Event, Pool, Task

TOY = """
import os, time
from pathlib import Path

def work(task, tell):
    kind, value = task
    tell(kind, 1, 2)
    if kind == "die" or (kind == "die once" and not Path(value).exists()):
        if kind == "die once":
            Path(value).touch()
        os.kill(os.getpid(), 9)
    if kind == "hang":
        time.sleep(60)
    if kind == "mark":
        Path(value).write_text("begun")
        time.sleep(60)
    if kind == "say":
        print("noise")
    return os.getpid(), os.environ.get("JRS_TOY") or os.environ.get("JRS_TURN_FILE")
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    (tmp_path / "jrs_toy_work.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module("jrs_toy_work").work


def told(pool: Pool, *tasks: tuple[str, Any]) -> list[Event]:
    return list(pool.run([Task(f"t{n}", content) for n, content in enumerate(tasks)]))


def ends(events: list[Event]) -> list[tuple[str, str, str]]:
    return [(event.key, event.kind, event.reason) for event in events if event.kind in ("done", "lost")]


def test_one_worker_does_all_tasks_in_its_own_environment(work: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    events = told(Pool(work, environment={"JRS_TOY": "1"}), ("say", 0), ("say", 0))
    results = [event.result for event in events if event.kind == "done"]
    assert len({pid for pid, _ in results} - {os.getpid()}) == 1
    assert [value for _, value in results] == ["1", "1"]
    assert [event.result for event in events if event.kind == "progress"] == [("say", 1, 2)] * 2
    assert capfd.readouterr().out == ""


def test_a_worker_that_dies_costs_its_task_one_retry_and_no_other_anything(work: Callable[..., Any], tmp_path: Path) -> None:
    events = told(Pool(work, retries=1), ("die", 0), ("die once", str(tmp_path / "x")), ("go", 0))
    assert ends(events) == [
        ("t0", "lost", "ended"),
        ("t0", "lost", "ended"),
        ("t1", "lost", "ended"),
        ("t1", "done", ""),
        ("t2", "done", ""),
    ]
    assert [event.final for event in events if event.kind == "lost"] == [False, True, False]
    assert {event.result for event in events if event.kind == "lost"} == {-9}


def test_a_task_that_hangs_is_stopped(work: Callable[..., Any]) -> None:
    began = time.monotonic()
    events = told(Pool(work, timeout=1.0, retries=0), ("hang", 0), ("go", 0))
    assert ends(events) == [("t0", "lost", "timeout"), ("t1", "done", "")]
    assert time.monotonic() - began < 20


def test_tasks_that_do_not_fit_together_run_one_after_another(work: Callable[..., Any]) -> None:
    pool = Pool(work, jobs=2, gigabytes=10.0)
    events = list(pool.run([Task("a", ("go", 0), 6.0), Task("b", ("go", 0), 6.0), Task("c", ("go", 0), 3.0)]))
    order = [(event.kind, event.key) for event in events if event.kind in ("start", "done")]
    assert order.index(("start", "b")) > order.index(("done", "a"))
    assert order.index(("start", "c")) < order.index(("done", "a"))


def test_giving_up_ends_the_worker(work: Callable[..., Any], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with closing(Pool(work).run([Task("a", ("mark", str(mark)))])) as events:
        for _ in events:
            while not mark.exists():
                time.sleep(0.02)
            break
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if children.exists():
        names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.read_text().split()]
        assert not any(b"spawn_main" in name for name in names)


def test_workers_that_take_turns_share_one_file(work: Callable[..., Any]) -> None:
    found = [event.result for event in told(Pool(work, jobs=2, turns=True), ("say", 0), ("say", 0)) if event.kind == "done"]
    assert len({path for _, path in found}) == 1
    assert found[0][1]
    assert not Path(found[0][1]).exists()
    alone = [event.result for event in told(Pool(work, jobs=2), ("say", 0)) if event.kind == "done"]
    assert alone[0][1] is None
