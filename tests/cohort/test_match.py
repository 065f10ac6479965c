"""Cases by patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from jrscli.cohort.match import matched
from jrscli.errors import UsageError


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_the_case_is_what_stands_in_its_place(tmp_path: Path) -> None:
    tree(tmp_path, "p1/p1_ED.nii", "p1/p1_ES.nii", "p2/p2_ED.nii", "p2/p2_ES.nii", "p2/notes.txt")
    plan = matched(tmp_path, "register", ["fixed={case}/*_ES.nii", "moving={case}/{case}_ED.nii"])
    assert [case.key for case in plan.cases] == ["p1", "p2"]
    assert plan.cases[0].inputs["fixed"].paths == (tmp_path / "p1/p1_ES.nii",)


def test_a_case_without_a_partner_and_one_with_two_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.nii", "a/2.nii", "a/f.mha", "b/1.nii")
    plan = matched(tmp_path, "register", ["fixed={case}/*.mha", "moving={case}/*.nii"])
    assert [(one.key, one.error.code) for one in plan.refused] == [("a", "match.several"), ("b", "match.missing")]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    tree(tmp_path, "a/x.nii")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    plan = matched(tmp_path, "segment", ["image=**/{case}.nii"])
    assert [case.key for case in plan.cases] == ["x"]


@pytest.mark.parametrize("patterns", [["fixed=a.nii"], ["image={case}"], ["fixed={case}.nii"], ["fixed"]])
def test_a_pattern_that_cannot_work_is_refused(tmp_path: Path, patterns: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        matched(tmp_path, "register", patterns)
    assert caught.value.code == "usage.match"
