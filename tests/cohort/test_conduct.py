"""What becomes of cases that never reach a worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jrscli.cohort.case import Case, Input, Plan, Refused
from jrscli.cohort.conduct import Job, conduct
from jrscli.cohort.journal import Journal
from jrscli.cohort.pool import Pool
from jrscli.errors import InputError


def never(task: Any, tell: Any) -> Any:
    raise AssertionError("no case fits")


def test_a_case_that_does_not_fit_is_not_begun_and_a_refused_one_is_told_first(tmp_path: Path) -> None:
    case = Case("large", {"image": Input((Path("x"),), voxels=10**9)})
    refused = Refused("bad", InputError("no", code="pair.ambiguous", hint="say"), (Path("Doe.dcm"),))
    journal = Journal(tmp_path / "batch.jsonl")
    job = Job(case, "segment", (), tmp_path)
    news = list(conduct(Plan((case,), (refused,)), [job], Pool(never, gigabytes=2.0), journal, tmp_path))
    outcomes = [one.outcome for one in news if one.outcome]
    assert [(one.case, one.status, one.code) for one in outcomes] == [
        ("bad", "quarantined", "pair.ambiguous"),
        ("large", "failed", "memory"),
    ]
    reason = json.loads((tmp_path / "quarantine/bad/reason.json").read_text())
    assert (reason["hint"], reason["inputs"]) == ("say", {"files": 1})
    assert "Doe" not in json.dumps(reason)
