"""``jrs report``: earlier runs as one page."""

import pytest


@pytest.fixture
def runs(jrs, files, tmp_path):
    """Two evaluations: one good, one against a structure elsewhere."""
    f = files.folder
    assert jrs("evaluate", f / "fixed-seg.nii.gz", f / "fixed-seg.nii.gz", "-o", tmp_path / "good", "--no-report").code == 0
    words = ("--resample", "-o", tmp_path / "bad", "--no-report")
    assert jrs("evaluate", f / "fixed-seg.nii.gz", f / "moving-seg.nii.gz", *words).code == 0
    return tmp_path / "good", tmp_path / "bad"


def test_runs_stand_side_by_side_under_the_worst_verdict(jrs, runs, tmp_path):
    said = jrs("report", *runs, "-o", tmp_path / "page.html")
    assert said.code == 0, said.err
    text = said.paths["report"].read_text("utf-8")
    assert '<header class="banner fail">' in text
    assert "run 2: Ball: mean surface distance" in text
    assert "run 1: Ball: nothing odd" in text


def test_one_run_by_its_record(jrs, runs, tmp_path):
    said = jrs("report", runs[0] / "run.json", "-o", tmp_path / "page.html")
    assert '<header class="banner pass">' in said.paths["report"].read_text("utf-8")


def test_what_is_no_run_is_told(jrs, tmp_path):
    jrs("report", tmp_path, "-o", tmp_path / "page.html").failed_with(4, "run.missing")
    jrs("report", tmp_path / "nothing", "-o", tmp_path / "page.html").failed_with(4, "input.missing")
    assert not (tmp_path / "page.html").exists()
