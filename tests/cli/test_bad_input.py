"""Bad input ends in one error line and one hint line, the right exit code, and nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from jrscli.io import write_image, write_labels
from jrscli.io.transforms import write_transform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume


@pytest.fixture(autouse=True)
def nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, which must hold no results afterwards."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    yield work
    assert list(work.iterdir()) == []


def test_a_missing_file(jrs: Callable, files: Any) -> None:
    said = jrs("register", files.folder / "fixed.nii.gz", "nowhere.nii.gz").failed_with(4, "input.missing")
    assert "nowhere.nii.gz" in said.err


def test_a_text_file_named_nifti(jrs: Callable, files: Any, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_text("this is no image\n")
    said = jrs("register", tmp_path / "a.nii.gz", files.folder / "moving.nii.gz").failed_with(4, "image.unreadable")
    assert "plain text" in said.err


@pytest.mark.parametrize("kept", [0, 30, 0.5])
def test_a_truncated_nifti(kept: float, jrs: Callable, files: Any, tmp_path: Path) -> None:
    data = (files.folder / "moving.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    jrs("register", files.folder / "fixed.nii.gz", tmp_path / "a.nii.gz").failed_with(4, "image.unreadable")


def test_a_four_dimensional_nifti(jrs: Callable, files: Any, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4, 3), np.int16), np.eye(4)), tmp_path / "cine.nii.gz")
    said = jrs("register", tmp_path / "cine.nii.gz", files.folder / "moving.nii.gz").failed_with(4, "image.4d")
    assert "3 frames" in said.err


def test_a_folder_with_two_series(jrs: Callable, files: Any, tmp_path: Path) -> None:
    shutil.copytree(files.folder / "fixed-ct", tmp_path / "both" / "one")
    shutil.copytree(files.folder / "moving-ct", tmp_path / "both" / "two")
    said = jrs("register", tmp_path / "both", files.folder / "moving.nii.gz").failed_with(4, "series.many")
    assert "--select" in said.err


def test_an_rtstruct_of_another_frame(jrs: Callable, files: Any) -> None:
    f = files.folder
    jrs("propagate-contours", f / "moving-ct", f / "fixed-RS.dcm", f / "fixed-ct").failed_with(4, "rs.other_space")


@pytest.mark.parametrize("option", ["--fixed-mask", "--moving-mask", "--moving-labels"])
def test_an_empty_mask(option: str, jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    grid = files.fixed if "fixed" in option else files.moving
    write_labels(LabelMap(np.zeros(grid.shape, np.uint32), grid), tmp_path / "empty.nii.gz")
    words = ("register", files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz", option, tmp_path / "empty.nii.gz")
    jrs(*words).failed_with(4, "labels.empty")


def test_empty_labels_in_evaluate(jrs: Callable, files: Any, tmp_path: Path) -> None:
    write_labels(LabelMap(np.zeros(files.fixed.shape, np.uint32), files.fixed), tmp_path / "empty.nii.gz")
    jrs("evaluate", tmp_path / "empty.nii.gz", files.folder / "fixed-seg.nii.gz").failed_with(4, "labels.empty")


def test_mismatched_grids_in_evaluate(jrs: Callable, files: Any) -> None:
    words = ("evaluate", files.folder / "fixed-seg.nii.gz", files.folder / "moving-seg.nii.gz")
    jrs(*words).failed_with(4, "grid.mismatch")


@pytest.mark.parametrize("target", ["file/out", "file"])
def test_an_output_folder_that_cannot_be_written(
    target: str, jrs: Callable, files: Any, optimiser: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    words = ("register", files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz", "-o", tmp_path / target)
    jrs(*words).failed_with(1, "output.unwritable")
    assert optimiser.calls == [], "it was found before anything was computed"


def test_a_field_file_that_cannot_be_written(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    pair = ("register", files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz")
    jrs(*pair, "--write-field", tmp_path / "file" / "a.nii.gz").failed_with(1, "output.unwritable")
    jrs(*pair, "--write-field", tmp_path / "a.png").failed_with(2, "output.format")
    assert optimiser.calls == []


def test_a_start_that_is_neither_known_nor_a_file(jrs: Callable, files: Any) -> None:
    words = ("register", files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz", "--init", "centres")
    assert "did you mean centers?" in jrs(*words).failed_with(2, "usage.init").err


def test_labels_where_an_rtstruct_is_given(jrs: Callable, files: Any) -> None:
    f = files.folder
    jrs("register", f / "fixed-ct", f / "moving-ct", "--moving-labels", f / "moving-RS.dcm").failed_with(4, "labels.contours")


def test_an_image_where_labels_are_asked(jrs: Callable, files: Any) -> None:
    f = files.folder
    jrs("evaluate", f / "fixed.nii.gz", f / "fixed-seg.nii.gz").failed_with(4, "labels.values")


def test_the_wrong_image_for_a_transform(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    f = files.folder
    done = jrs("register", f / "fixed.nii.gz", f / "moving.nii.gz", "-o", tmp_path / "done")
    said = jrs("warp", "--xfm", done.paths["xfm"], f / "fixed.nii.gz").failed_with(4, "xfm.direction")
    assert "add --inverse" in said.err
    said = jrs("warp", "--inverse", "--xfm", done.paths["xfm"], f / "moving.nii.gz").failed_with(4, "xfm.direction")
    assert "leave --inverse out" in said.err


def test_a_transform_that_does_not_say_where_to(jrs: Callable, files: Any, tmp_path: Path) -> None:
    write_transform(Transform.identity(), tmp_path / "a.h5")
    jrs("warp", "--xfm", tmp_path / "a.h5", files.folder / "fixed.nii.gz").failed_with(2, "warp.reference")


def test_a_folder_of_nothing(jrs: Callable, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    jrs("info", tmp_path / "empty").failed_with(4, "input.nothing")


def test_a_pattern_that_fits_no_roi(jrs: Callable, files: Any, optimiser: Any) -> None:
    f = files.folder
    words = ("propagate-contours", f / "moving-ct", f / "moving-RS.dcm", f / "fixed-ct", "--roi", "Bal")
    assert "Ball" not in jrs(*words).failed_with(4, "rs.name").err


def test_too_few_atlas_labels(jrs: Callable, files: Any) -> None:
    f = files.folder
    words = ("segment", f / "fixed.nii.gz", "--atlas", f / "moving.nii.gz", "--atlas", f / "moving.nii.gz")
    jrs(*words, "--atlas-labels", f / "moving-seg.nii.gz").failed_with(2, "atlas.count")


def test_an_unforeseen_error_is_two_lines_and_a_traceback_with_debug(jrs: Callable, files: Any, optimiser: Any) -> None:
    def fail(*images: Any, **options: Any) -> None:
        raise ZeroDivisionError("by zero")

    optimiser.register = fail
    pair = ("register", files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz")
    jrs(*pair).failed_with(1, "internal")
    assert "Traceback" in jrs(*pair, "--debug").err


def test_too_little_memory(jrs: Callable, files: Any, optimiser: Any) -> None:
    def fail(*images: Any, **options: Any) -> None:
        raise MemoryError

    optimiser.register = fail
    jrs("register", files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz").failed_with(1, "memory")


def test_ctrl_c(jrs: Callable, files: Any, optimiser: Any) -> None:
    def stop(*images: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    optimiser.register = stop
    jrs("register", files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz").failed_with(130, "interrupted")


HELD = """
import sys, time
from pathlib import Path
import jrscli.io.label_map as label_map
real, mark = label_map.write_names, Path(sys.argv[1])
def held(labels, path):
    real(labels, path)
    mark.touch()
    time.sleep(60)
label_map.write_names = held
from jrscli.cli import app
sys.argv = ["jrs", *sys.argv[2:]]
sys.exit(app())
"""
"""`jrs`, halted right after it has written its first output."""


def _held(work: Path, words: list[str], tmp_path: Path) -> subprocess.Popen[str]:
    mark = tmp_path / "written"
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background job ignores it, and so do its children
    try:
        process = subprocess.Popen([sys.executable, "-c", HELD, str(mark), *words], cwd=work, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    for _ in range(600):
        if mark.exists():
            return process
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    process.kill()
    raise AssertionError("it never wrote anything")


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_kill_in_the_middle_of_writing(jrs: Callable, files: Any, tmp_path: Path, nothing_half_written: Path) -> None:
    work = nothing_half_written
    words = ["convert", "contours", str(files.folder / "fixed-seg.nii.gz"), "--to", "labels.nii.gz"]
    process = _held(work, words, tmp_path)
    process.kill()
    process.communicate(timeout=20)
    left = [path.name for path in work.iterdir()]
    assert [name.endswith(".partial") and name.startswith(".") for name in left] == [True], left
    assert jrs(*words).code == 0
    assert sorted(path.name for path in work.iterdir()) == ["labels.json", "labels.nii.gz"]
    for path in work.iterdir():
        path.unlink()


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_in_the_middle_of_writing_leaves_nothing(number: signal.Signals, files: Any, tmp_path: Path) -> None:
    words = ["convert", "contours", str(files.folder / "fixed-seg.nii.gz"), "--to", "labels.nii.gz"]
    process = _held(Path.cwd(), words, tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "hint"]


def test_values_that_are_not_finite(jrs: Callable, files: Any, tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6), np.float32)
    nib.save(nib.Nifti1Image(np.where(np.arange(6) == 2, np.nan, array), np.eye(4)), tmp_path / "a.nii.gz")
    jrs("info", tmp_path / "a.nii.gz").failed_with(4, "image.values")


def test_a_grid_that_does_not_overlap_its_mask(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, 3] = 5000
    write_labels(LabelMap(np.ones((4, 4, 4), np.uint32), Geometry((4, 4, 4), affine)), tmp_path / "far.nii.gz")
    words = ("register", files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz", "--fixed-mask", tmp_path / "far.nii.gz")
    jrs(*words).failed_with(4, "overlap.none")


def test_dicom_needs_a_modality(jrs: Callable, files: Any, tmp_path: Path) -> None:
    write_image(Volume(np.zeros((4, 4, 4), np.int16), Geometry((4, 4, 4), np.eye(4))), tmp_path / "a.nii.gz")
    jrs("convert", "series", tmp_path / "a.nii.gz", "--to", "out").failed_with(2, "convert.modality")
