"""Labels, contours and landmarks of both images on their way to the optimiser; the optimiser itself is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jrscli
from jrscli.io import read_labels
from jrscli.spatial.structures import StructureSet

HEAD = "x_lps_mm,y_lps_mm,z_lps_mm,label\n"


@pytest.fixture
def pair(files: Any) -> tuple[Path, Path]:
    return files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz"


def both(files: Any) -> tuple[object, ...]:
    return "--fixed-labels", files.folder / "fixed-seg.nii.gz", "--moving-labels", files.folder / "moving-seg.nii.gz"


def test_labels_of_both_images_guide(jrs: Callable, files: Any, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    assert jrs("register", *pair, *both(files), "-o", tmp_path).code == 0
    (options,) = optimiser.calls
    assert options["guide"] is True
    assert options["fixed_labels"].numbers() == options["moving_labels"].numbers() == [3]
    assert (tmp_path / "seg_space-fixed.nii.gz").exists()
    assert {"fixed labels", "moving labels"} <= {
        one["role"] for one in json.loads((tmp_path / "run.json").read_text())["inputs"]
    }


def test_what_guided_is_said_and_recorded(jrs: Callable, files: Any, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    optimiser.guided_by = "1 label"
    said = jrs("register", *pair, *both(files), "-o", tmp_path, "--report")
    assert "guided by 1 label: figures taken from them are no independent check" in said.err
    assert json.loads((tmp_path / "run.json").read_text())["guided_by"] == "1 label"
    page = (tmp_path / "report.html").read_text()
    assert "Labels after registration" not in page
    assert "contours drawn on the fixed image dashed" in page


def test_labels_that_do_not_guide_judge(jrs: Callable, files: Any, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    jrs("register", *pair, *both(files), "-o", tmp_path, "--no-guide", "--report")
    assert optimiser.calls[0]["guide"] is False
    assert "Labels after registration" in (tmp_path / "report.html").read_text()


def test_contours_guide_and_come_along(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    f = files.folder
    words = ("--fixed-labels", f / "fixed-RS.dcm", "--moving-labels", f / "moving-RS.dcm")
    assert jrs("register", f / "fixed-ct", f / "moving-ct", *words, "-o", tmp_path).code == 0
    assert isinstance(optimiser.calls[0]["fixed_labels"], StructureSet)
    moved, truth = read_labels(tmp_path / "seg_space-fixed.nii.gz").mask(3), read_labels(f / "fixed-seg.nii.gz").mask(3)
    assert 2 * (moved & truth).sum() / (moved.sum() + truth.sum()) > 0.9


def test_landmarks_are_read_and_paired_by_name(jrs: Callable, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    fixed, moving = tmp_path / "f.csv", tmp_path / "m.csv"
    fixed.write_text(HEAD + "20,20,20,a\n30,25,20,b\n")
    moving.write_text(HEAD + "36,21,23,b\n26,16,23,a\n")
    jrs("register", *pair, "--fixed-points", fixed, "--moving-points", moving, "-o", tmp_path / "out")
    (options,) = optimiser.calls
    np.testing.assert_allclose(options["moving_points_mm"] - options["fixed_points_mm"], [(6, -4, 3)] * 2)
    roles = [one["role"] for one in json.loads((tmp_path / "out" / "run.json").read_text())["inputs"]]
    assert roles[2:] == ["fixed points", "moving points"]


def test_landmarks_that_do_not_pair_are_refused(jrs: Callable, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    fixed, moving = tmp_path / "f.csv", tmp_path / "m.csv"
    fixed.write_text(HEAD + "20,20,20,a\n30,25,20,b\n")
    words = ("register", *pair, "-o", tmp_path / "out", "--fixed-points", fixed)
    jrs(*words).failed_with(2, "usage.combination")
    moving.write_text(HEAD + "26,16,23,a\n")
    jrs(*words, "--moving-points", moving).failed_with(4, "points.pairs")
    moving.write_text(HEAD + "26,16,23,a\n36,21,23,c\n")
    jrs(*words, "--moving-points", moving).failed_with(4, "points.names")
    assert not optimiser.calls
    assert not (tmp_path / "out").exists()


def test_contours_of_the_day_guide_what_is_carried(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> None:
    f = files.folder
    words = ("propagate-contours", f / "moving-ct", f / "moving-RS.dcm", "--daily-contours", f / "fixed-RS.dcm", "--no-report")
    optimiser.guided_by = "1 label"
    assert "guided by 1 label" in jrs(*words, f / "fixed-ct", "-o", tmp_path / "out").err
    (options,) = optimiser.calls
    assert [options[side].rois[0].name for side in ("fixed_labels", "moving_labels")] == ["Ball", "Ball"]
    jrs(*words, f / "fixed-ct", f / "fixed-ct", "-o", tmp_path / "two").failed_with(2, "usage.combination")


def test_python_takes_paths_too(files: Any, pair: Any, optimiser: Any, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(HEAD + "20,20,20,a\n30,25,20,b\n")
    (tmp_path / "m.csv").write_text(HEAD + "36,21,23,b\n26,16,23,a\n")
    given = dict(zip(("fixed_labels", "moving_labels"), both(files)[1::2], strict=True))
    points = {"fixed_points_mm": tmp_path / "f.csv", "moving_points_mm": tmp_path / "m.csv"}
    jrscli.register(*pair, model="none", progress=lambda *_: None, **given, **points)
    (options,) = optimiser.calls
    assert options["fixed_labels"].numbers() == options["moving_labels"].numbers() == [3]
    np.testing.assert_allclose(options["moving_points_mm"] - options["fixed_points_mm"], [(6, -4, 3)] * 2)
