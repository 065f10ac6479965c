"""What is seen of a running cohort."""

from __future__ import annotations

import json

import pytest

from jrscli.cli.batch_view import View
from jrscli.cli.talk import ProgressMode, Talk
from jrscli.cohort.conduct import News
from jrscli.cohort.outcome import Outcome
from jrscli.cohort.pool import Event


def shown(mode: ProgressMode, capsys: pytest.CaptureFixture[str]) -> str:
    with Talk(progress=mode) as talk:
        view = View(talk, 2)
        for event in (
            Event("start", "a", 1),
            Event("progress", "a", 1, ("linear", 1, 4)),
            Event("lost", "a", 1, -9, "ended", 1, False),
            Event("start", "a", 2, attempt=2),
            Event("done", "a", 2),
        ):
            view.hear(News(event=event))
        view.hear(News(outcome=Outcome("a", "review", figures={"dice_min": 0.5}, timing={"seconds": 1.25})))
        view.hear(News(outcome=Outcome("b", "quarantined", 4, "series.missing", "1 slice(s) missing")))
        view.close()
    out, err = capsys.readouterr()
    assert out == ""
    return err


@pytest.mark.parametrize("mode", ["none", "bar"])
def test_each_case_gets_a_line(mode: ProgressMode, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(mode, capsys).splitlines()
    assert "1/2  a                         review       1.2 s  Dice min 0.5" in lines
    assert "2/2  b                         quarantined  1 slice(s) missing [series.missing]" in lines
    assert "warning: a lost its process: tried again [worker.lost]" in lines


def test_programs_get_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    found = [json.loads(line) for line in shown("json", capsys).splitlines() if line.startswith("{")]
    assert found[1] == {"case": "a", "stage": "linear", "done": 1, "total": 4}
    assert (found[-1]["case"], found[-1]["status"]) == ("b", "quarantined")


def test_what_is_amiss_with_a_cluster_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Talk(progress="none") as talk:
        view = View(talk, 1)
        view.hear(News(event=Event("waiting", "", 0)))
        view.hear(News(event=Event("unfit", "tcp://10.0.0.7:1", 0, "it does not see out")))
    waits, unfit = capsys.readouterr().err.splitlines()
    assert "waiting" in waits
    assert unfit == "warning: the Dask worker tcp://10.0.0.7:1 is left out: it does not see out [dask.unfit]"
