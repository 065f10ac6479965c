"""What a verdict leaves in the contours themselves."""

import json

import numpy as np
import pydicom
import pytest

from jrscli.io import read_image
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.contours import structures_of_labels


@pytest.fixture
def carried(jrs, files, optimiser, tmp_path):
    """``carried(labels=…, …)`` carries the ball (or labels) to the fixed CT; what was said, the description, the record."""

    def run(*words, contours=None):
        f = files.folder
        out = ("-o", tmp_path / "out", "--no-report")
        said = jrs("propagate-contours", f / "moving-ct", contours or f / "moving-RS.dcm", f / "fixed-ct", *out, *words)
        path = tmp_path / "out" / "RS_space-fixed_propagated.dcm"
        record = json.loads((tmp_path / "out" / "run.json").read_text())
        return said, pydicom.dcmread(path), record

    return run


@pytest.fixture
def crumbs(files, tmp_path):
    """An RTSTRUCT with one ROI in five pieces, which has to be looked at."""
    array = np.zeros(files.moving.shape, np.uint32)
    for i in range(5):
        array[4 + 4 * i : 7 + 4 * i, 8:14, 6:12] = 1
    image = read_image(files.folder / "moving-ct")
    path = tmp_path / "crumbs.dcm"
    structures = structures_of_labels(LabelMap(array, files.moving, {1: "Crumbs"}))
    write_rtstruct(structures, image.series, files.moving, path)
    return path


def test_contours_that_pass_carry_no_mark(carried):
    said, structures, record = carried()
    assert said.code == 0
    assert record["gate"]["status"] == "pass"
    assert "QA:" not in structures.StructureSetDescription
    assert "qa" not in record


def test_contours_to_be_looked_at_say_so(carried, crumbs, assert_valid_dicom, tmp_path):
    said, structures, record = carried(contours=crumbs)
    assert said.code == 0
    assert "[gate.review]" in said.err
    assert structures.StructureSetDescription.startswith("QA: review; propagated by jrs")
    assert structures.ApprovalStatus == "UNAPPROVED"
    assert record["qa"] == "QA: review"
    assert_valid_dicom(tmp_path / "out" / "RS_space-fixed_propagated.dcm")


def test_contours_of_a_closed_gate_are_written_and_say_so(carried, crumbs, monkeypatch):
    from jrscli.metrics import structure_gates

    monkeypatch.setattr(structure_gates, "_FAILING_FLAGS", ("islands",))
    said, structures, record = carried("--gate", "fail", contours=crumbs)
    assert said.code == 3
    assert structures.StructureSetDescription.startswith("QA: review")
    assert (record["code"], record["qa"]) == ("gate.failed", "QA: review")


@pytest.mark.parametrize("gate", ["off", "warn", "fail"])
def test_a_registration_not_to_be_trusted_marks_its_contours_under_every_gate(carried, optimiser, gate):
    optimiser.failed = "the starts disagree by 40 mm"
    said, structures, record = carried("--gate", gate)
    said.failed_with(3, "register.failed")
    assert structures.StructureSetDescription.startswith("QA: failed")
    assert record["qa"] == "QA: failed"


def test_without_a_gate_nothing_is_marked(carried, crumbs):
    _, structures, record = carried("--gate", "off", contours=crumbs)
    assert "QA:" not in structures.StructureSetDescription
    assert "gate" not in record


def test_the_marked_file_is_the_recorded_one(carried, crumbs, tmp_path):
    from jrscli.io.run_record import recorded_outputs, sha256_of

    carried(contours=crumbs)
    name = "RS_space-fixed_propagated.dcm"
    assert recorded_outputs(tmp_path / "out")[name] == sha256_of(tmp_path / "out" / name)
