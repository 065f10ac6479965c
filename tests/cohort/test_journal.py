"""The log of a cohort."""

from __future__ import annotations

import json
from pathlib import Path

from jrscli.cohort.collect import merged_logs
from jrscli.cohort.journal import Journal
from jrscli.cohort.outcome import Outcome, exit_of
from jrscli.errors import ExitCode


def cases(path: Path) -> list[str]:
    return [json.loads(line)["case"] for line in path.read_text().splitlines()]


def test_a_line_that_was_cut_by_a_kill_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    Journal(path).add(Outcome("a", "ok"))
    with path.open("a") as file:
        file.write('{"case": "b", "sta')
    Journal(path).add(Outcome("c", "ok"))
    assert cases(path) == ["a", "c"]


def test_what_is_known_already_is_not_written_again_but_news_are(tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    Journal(path).add(Outcome("a", "failed", 1, "memory", timing={"seconds": 1.0}))
    Journal(path).add(Outcome("a", "failed", 1, "memory", timing={"seconds": 2.0}, again=True))
    assert cases(path) == ["a"]
    journal = Journal(path)
    journal.add(Outcome("a", "ok"))
    assert cases(path) == ["a", "a"]
    assert journal.latest["a"]["status"] == "ok"


def test_of_two_shards_that_knew_a_case_the_one_that_did_it_is_believed(tmp_path: Path) -> None:
    Journal(tmp_path / "batch-1of2.jsonl").add(Outcome("a", "ok", outputs=("run.json",)))
    Journal(tmp_path / "batch-2of2.jsonl").add(Outcome("a", "failed", 1, "case.busy"))
    assert merged_logs(tmp_path)["a"]["status"] == "ok"


def test_the_exit_code_of_a_cohort() -> None:
    ok, review, gate = Outcome("a", "ok"), Outcome("b", "review"), Outcome("c", "failed", 3, "gate.failed")
    held, failed = Outcome("d", "quarantined", 4, "series.missing"), Outcome("e", "failed", 5, "model.missing")
    assert exit_of([ok, review]) is ExitCode.OK
    assert exit_of([ok, gate]) is ExitCode.GATE
    assert exit_of([ok, gate, held]) is ExitCode.INPUT
    assert exit_of([held, failed, gate]) is ExitCode.FAILURE
