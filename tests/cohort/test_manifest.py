"""Lists of cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from jrscli.cohort.manifest import read_manifest
from jrscli.errors import JrsError

OPTIONS = {"linear_only": False, "fixed_mask": True, "preset": False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.nii", "b.nii", "m.nii"):
        (tmp_path / name).write_bytes(b"x" * 10)
    return tmp_path


def written(folder: Path, text: str, name: str = "cases.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_start_at_the_list_and_columns_become_arguments_and_options(folder: Path) -> None:
    text = "case,fixed,moving,linear-only,fixed_mask,preset\nx,a.nii,b.nii,yes,m.nii,\ny,b.nii,a.nii,no,,fast\n"
    x, y = read_manifest(written(folder, text), "register", OPTIONS).cases
    assert (x.key, x.inputs["fixed"].paths, x.inputs["moving"].paths) == ("x", (folder / "a.nii",), (folder / "b.nii",))
    assert x.options == ("--linear-only", "--fixed-mask", str(folder / "m.nii"))
    assert y.options == ("--preset", "fast")


def test_yaml_holds_the_same(folder: Path) -> None:
    text = "cases:\n- {case: x, fixed: a.nii, moving: b.nii, linear_only: true}\n"
    (case,) = read_manifest(written(folder, text, "cases.yaml"), "register", OPTIONS).cases
    assert (case.key, case.options) == ("x", ("--linear-only",))


def test_fixed_and_moving_name_daily_and_planning_and_cases_need_no_name(folder: Path) -> None:
    text = "fixed,moving,contours\na.nii,b.nii,m.nii\n"
    (case,) = read_manifest(written(folder, text), "propagate-contours", {}).cases
    assert {role: one.paths[0].name for role, one in case.inputs.items()} == {
        "daily": "a.nii",
        "planning": "b.nii",
        "contours": "m.nii",
    }
    assert case.key == "case-0001"


def test_a_missing_file_refuses_its_case_only(folder: Path) -> None:
    plan = read_manifest(written(folder, "case,fixed,moving\nx,a.nii,b.nii\ny,gone.nii,b.nii\n"), "register", {})
    assert [case.key for case in plan.cases] == ["x"]
    assert [(one.key, one.error.code) for one in plan.refused] == [("y", "input.missing")]
    assert "gone" not in plan.refused[0].error.message


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("c.csv", "case,fixed,moving\n", "manifest.empty"),
        ("c.csv", "case,fixed,movng\nx,a.nii,b.nii\n", "manifest.column"),
        ("c.csv", "case,fixed\nx,a.nii\n", "manifest.column"),
        ("c.csv", "case,fixed,moving\nx,a.nii\n", "manifest.unreadable"),
        ("c.csv", "case,fixed,moving\nx,a.nii,b.nii\nx,b.nii,a.nii\n", "manifest.repeated"),
        ("c.yaml", "cases: 3\n", "manifest.unreadable"),
        ("c.yaml", "cases: [\n", "manifest.unreadable"),
    ],
)
def test_a_list_that_is_none_is_refused(folder: Path, name: str, text: str, code: str) -> None:
    with pytest.raises(JrsError) as caught:
        read_manifest(written(folder, text, name), "register", {})
    assert caught.value.code == code
