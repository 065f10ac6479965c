"""Equal runs give equal files, and a recorded run can be done again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def lasting(folder: Path) -> dict[str, bytes]:
    """The files of a result, run.json without its timing."""
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    record = json.loads(found["run.json"])
    assert record.pop("timing")["seconds"] >= 0
    return {**found, "run.json": json.dumps(record).encode()}


@pytest.fixture
def carried(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> Callable[..., Path]:
    """``carried("name", *options)``: a result of propagate-contours on DICOM."""

    def run(name: str, *words: str) -> Path:
        inputs = [files.folder / one for one in ("moving-ct", "moving-RS.dcm", "fixed-ct")]
        said = jrs("propagate-contours", *inputs, "-o", tmp_path / name, "--model", "none", *words)
        assert said.code == 0, said.err
        return tmp_path / name

    return run


def test_a_deterministic_run_gives_equal_files_and_one_thread(carried: Callable[..., Path], optimiser: Any) -> None:
    words = ("--deterministic", "--write-seg", "--write-reg", "deformable")
    one, other = lasting(carried("a", *words)), lasting(carried("b", *words))
    assert {"RS_space-fixed_propagated.dcm", "SEG_space-fixed.dcm", "REG_moving-to-fixed.dcm", "report.html"} < one.keys()
    assert [name for name in one if one[name] != other[name]] == []
    assert [call["threads"] for call in optimiser.calls] == [1, 1]


def test_other_runs_write_objects_of_their_own(carried: Callable[..., Path]) -> None:
    one, other = lasting(carried("a", "--no-report")), lasting(carried("b", "--no-report"))
    assert one["RS_space-fixed_propagated.dcm"] != other["RS_space-fixed_propagated.dcm"]
    assert one["warped.nii.gz"] == other["warped.nii.gz"]


def test_a_run_is_done_again_from_files_of_other_names(
    jrs: Callable, files: Any, carried: Callable[..., Path], tmp_path: Path
) -> None:
    result = carried("a", "--deterministic", "--no-report")
    heap = tmp_path / "heap"  # two series and a structure set in one folder
    heap.mkdir()
    for name in ("moving-ct", "fixed-ct"):
        for path in (files.folder / name).iterdir():
            shutil.copy(path, heap / f"{name}-{path.name}")
    shutil.copy(files.folder / "moving-RS.dcm", heap / "x")
    said = jrs("rerun", result, heap, "-o", tmp_path / "again")
    assert said.code == 0, said.err
    outputs = json.loads((result / "run.json").read_text())["outputs"]
    assert f"{len(outputs)} of {len(outputs)} outputs are equal" in said.err
    assert lasting(tmp_path / "again") == lasting(result)


def test_a_deterministic_run_that_comes_out_otherwise_is_exit_3(
    jrs: Callable, files: Any, carried: Callable[..., Path], tmp_path: Path
) -> None:
    result = carried("a", "--deterministic", "--no-report")
    record = json.loads((result / "run.json").read_text())
    record["outputs"][0]["sha256"] = "0" * 64
    record["packages"]["numpy"] = "0.1"
    (result / "run.json").write_text(json.dumps(record))
    said = jrs("rerun", result, files.folder, "-o", tmp_path / "again").failed_with(3, "rerun.differs")
    assert "numpy 0.1 ->" in said.err


def test_what_may_name_a_patient_is_not_recorded_and_has_to_be_given_again(
    jrs: Callable, files: Any, carried: Callable[..., Path], tmp_path: Path
) -> None:
    result = carried("a", "--roi", "Ball", "--deterministic", "--no-report")
    assert "Ball" not in (result / "run.json").read_text()
    jrs("rerun", result, files.folder).failed_with(2, "rerun.private")
    said = jrs("rerun", result, files.folder, "-o", tmp_path / "again", "--add", "--roi Ball")
    assert said.code == 0, said.err
    assert lasting(tmp_path / "again") == lasting(result)


@pytest.mark.parametrize(("change", "code"), [("inputs", "rerun.inputs"), ("given", "rerun.given"), ("all", "run.missing")])
def test_what_cannot_be_done_again_is_said(
    change: str, code: str, jrs: Callable, carried: Callable[..., Path], tmp_path: Path
) -> None:
    result = carried("a", "--no-report")
    record = json.loads((result / "run.json").read_text())
    if change == "given":
        del record["given"]
    (result / "run.json").write_text("[]" if change == "all" else json.dumps(record))
    jrs("rerun", result, tmp_path / "a").failed_with(4, code)
