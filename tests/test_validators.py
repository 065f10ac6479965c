"""The validator that other tests rely on: it sees what is wrong, and that it saw the object at all."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from jrscli.io.dicom_write import write_series
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume


@pytest.fixture
def written(tmp_path):
    write_series(Volume(np.zeros((5, 4, 3), np.int16), Geometry((5, 4, 3), np.eye(4))), tmp_path / "ct")
    return tmp_path / "ct" / "CT0001.dcm"


def test_a_broken_object_is_an_error(written, dicom_errors, assert_valid_dicom):
    assert_valid_dicom(written)
    dataset = pydicom.dcmread(written)
    del dataset.PatientID
    dataset.PatientSex = "unknown"
    dataset.save_as(written)
    said = " ".join(dicom_errors(written))
    assert "PatientID" in said
    assert "unknown" in said
    with pytest.raises(AssertionError, match="PatientID"):
        assert_valid_dicom(written)


def test_an_object_that_the_validator_cannot_name_is_an_error(written, dicom_errors):
    dataset = pydicom.dcmread(written)
    dataset.SOPClassUID = "1.2.3.4"
    dataset.save_as(written)
    assert "did not name" in dicom_errors(written)[-1]
