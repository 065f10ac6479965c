"""How many cases of a cohort are in work at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jrscli.cli.batch_run import Asked
from jrscli.cli.executor import executor_for
from jrscli.cli.talk import Talk
from jrscli.cohort.pool import Pool


@pytest.mark.parametrize(
    ("cores", "wanted", "jobs", "turns"),
    [
        (4, {}, 2, True),
        (1, {}, 1, False),
        (4, {"jobs": 1}, 1, False),
        (4, {"jobs": 3}, 3, False),
        (4, {"threads": 1}, 1, False),
        (4, {"threads": 2}, 2, True),
        (4, {"timeout_per_case": 5.0}, 1, False),
    ],
)
def test_one_case_is_read_ahead_unless_limits_say_otherwise(
    cores: int, wanted: dict[str, float], jobs: int, turns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    pool = executor_for(Asked("register", Path("in"), Path("out"), **wanted), Talk(quiet=True))  # type: ignore[arg-type]
    assert isinstance(pool, Pool)
    assert (pool.jobs, pool.turns) == (jobs, turns)
