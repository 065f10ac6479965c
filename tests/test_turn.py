"""Processes that take turns."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from jrscli.turn import FILE, turn, waited

HOLD = """
import sys, time
from pathlib import Path
from jrscli.turn import turn, waited
with turn():
    with turn():  # no second wait in one process
        began = time.time()
        Path(sys.argv[1]).touch()
        time.sleep(float(sys.argv[2]))
        print(began, time.time(), waited())
"""


def hold(place: Path, seconds: float, shared: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", HOLD, str(place), str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={FILE: str(shared), "PYTHONPATH": ":".join(sys.path)})


def until(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / "turn").touch()
    return tmp_path / "turn"


def test_two_processes_do_not_hold_it_at_once(tmp_path: Path, shared: Path) -> None:
    both = [hold(tmp_path / str(n), 0.3, shared) for n in range(2)]
    spans = sorted(tuple(map(float, one.communicate(timeout=30)[0].split())) for one in both)
    assert spans[0][1] <= spans[1][0]


def test_a_killed_process_holds_it_no_more_and_waiting_is_counted(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = hold(tmp_path / "a", 60, shared)
    until(tmp_path / "a")
    monkeypatch.setenv(FILE, str(shared))
    second = hold(tmp_path / "b", 0, shared)
    time.sleep(0.5)
    assert not (tmp_path / "b").exists()
    holder.kill()
    holder.communicate()
    _, _, seconds = map(float, second.communicate(timeout=30)[0].split())
    assert seconds > 0.05
    before = waited()
    with turn():
        assert waited() - before < 1


def test_alone_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FILE, raising=False)
    before = waited()
    with turn():
        pass
    assert waited() == before
