"""The figures and the report of the commands that register or segment."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from jrscli.io import read_labels, write_labels
from jrscli.spatial.resample import resample_labels
from jrscli.spatial.volume import LabelMap

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/metrics.schema.json").read_text("utf-8"))


@pytest.fixture
def pair(files):
    return files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz"


@pytest.fixture
def drawn(files):
    f = files.folder
    return "--fixed-labels", f / "fixed-seg.nii.gz", "--moving-labels", f / "moving-seg.nii.gz", "--no-guide"


def figures(folder):
    document = json.loads((folder / "metrics.json").read_text())
    jsonschema.validate(document, SCHEMA)
    return document


def test_likeness_of_the_images_is_shown_and_not_gated(jrs, pair, optimiser, tmp_path):
    said = jrs("register", *pair, "--report", "-o", tmp_path / "a")
    assert said.code == 0, said.err
    document = figures(tmp_path / "a")
    before, after = document["images"]["rows"]
    assert after["metrics"]["ncc.v1"]["value"] > before["metrics"]["ncc.v1"]["value"] + 0.1
    assert after["metrics"]["mean_abs_diff.v1"]["value"] < before["metrics"]["mean_abs_diff.v1"]["value"]
    assert not [row for row in document["gate"]["rows"] if row["id"].startswith(("ncc", "nmi", "mean_abs"))]
    page = (tmp_path / "a" / "report.html").read_text("utf-8")
    assert "Likeness of the images" in page
    assert "ncc.v1" in page


def test_known_labels_judge_a_registration(jrs, pair, drawn, optimiser, tmp_path):
    said = jrs("register", *pair, *drawn, "--report", "-o", tmp_path / "a", "--gate", "fail")
    assert said.code == 0, said.err
    document = figures(tmp_path / "a")
    assert document["kind"] == "labels"
    assert document["structures"][0]["metrics"]["dice.v1"]["value"] > 0.9
    assert next(row for row in document["gate"]["rows"] if row["id"] == "msd.v1")["status"] == "pass"
    page = (tmp_path / "a" / "report.html").read_text("utf-8")
    assert "Labels before registration" in page
    assert "Labels after registration" in page


def test_one_dice_wherever_it_is_asked_for(jrs, pair, drawn, optimiser, tmp_path):
    """`evaluate`, the report of `register` and the training loop have one implementation."""
    import torch

    from jrscli.training.validate import hard_dice

    truth, moving = read_labels(drawn[1]), read_labels(drawn[3])
    start = resample_labels(moving, truth.geometry)
    write_labels(start, tmp_path / "start.nii.gz")
    jrs("evaluate", drawn[1], tmp_path / "start.nii.gz", "-o", tmp_path / "e", "--no-report")
    evaluated = figures(tmp_path / "e")["structures"][0]["metrics"]["dice.v1"]["value"]
    assert 0.2 < evaluated < 0.9
    jrs("register", *pair, *drawn, "--report", "-o", tmp_path / "a")
    page = (tmp_path / "a" / "report.html").read_text("utf-8")
    table = page[page.index("Labels before registration") : page.index("Labels after registration</h2>")]
    assert f"{evaluated:.3f}" in table
    arrays = [torch.from_numpy((one.array > 0).astype(np.int64)) for one in (truth, start)]
    assert hard_dice(*arrays, classes=2) == pytest.approx(evaluated, abs=1e-12)


def test_report_of_a_segmentation_by_an_atlas(jrs, files, optimiser, tmp_path):
    f = files.folder
    atlas = ("--atlas", f / "moving.nii.gz", "--atlas-labels", f / "moving-seg.nii.gz")
    said = jrs("segment", f / "fixed.nii.gz", *atlas, "--report", "-o", tmp_path / "a")
    assert said.code == 0, said.err
    assert said.paths["report"].name == "report.html"
    document = figures(tmp_path / "a")
    rows = {(row["id"], row["structure"]): row["status"] for row in document["gate"]["rows"]}
    assert rows["contour.v1", "Ball"] == "pass"
    assert rows["neg_jac.v1", ""] == "pass"
    page = said.paths["report"].read_text("utf-8")
    assert "contoured by labelled atlases" in page
    assert page.count("data:image/jpeg") >= 3


def test_structure_of_the_atlas_that_is_lost_fails(jrs, files, optimiser, tmp_path):
    f = files.folder
    labels = read_labels(f / "moving-seg.nii.gz")
    array = labels.array.copy()
    array[0, 0, 0] = 7  # one voxel in the corner, which the shift carries out of the image
    write_labels(LabelMap(array, labels.geometry, {3: "Ball", 7: "Crumb"}), tmp_path / "labels.nii.gz")
    atlas = ("--atlas", f / "moving.nii.gz", "--atlas-labels", tmp_path / "labels.nii.gz")
    said = jrs("segment", f / "fixed.nii.gz", *atlas, "--gate", "fail", "-o", tmp_path / "a")
    said.failed_with(3, "gate.failed")
    row = next(
        row for row in figures(tmp_path / "a")["gate"]["rows"] if row["structure"] == "Crumb" and row["id"] == "contour.v1"
    )
    assert (row["status"], row["sentence"]) == ("fail", "Crumb: not found in the image")
