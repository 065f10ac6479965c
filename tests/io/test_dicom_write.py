"""Written series: free of validator errors, true to values and place, reproducible with a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from jrscli.errors import GeometryError, UsageError, WriteError
from jrscli.io.dicom_series import read_series
from jrscli.io.dicom_write import write_series
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

DATA = Path(__file__).parents[1] / "data"
GRID = Geometry((9, 7, 4), np.diag([1.5, 0.75, 2.5, 1.0]))


def image(low=-900, high=1500, geometry=GRID, kind=np.float32):
    return Volume(np.random.default_rng(0).uniform(low, high, geometry.shape).astype(kind), geometry)


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_validator_finds_no_error(assert_valid_dicom, tmp_path, oblique, modality):
    write_series(image(geometry=oblique), tmp_path / "out", modality=modality)
    assert_valid_dicom(tmp_path / "out" / f"{modality}0001.dcm")


def test_patient_and_study_of_a_real_series_pass_the_validator(assert_valid_dicom, tmp_path):
    """The Study ID of this series is too long for DICOM: copied as it is, it would be an error."""
    volume, header, _ = read_series(DATA / "sarcoma-ct" / "image")
    written = write_series(volume, tmp_path / "out", header_from=header)
    assert_valid_dicom(tmp_path / "out" / "CT0001.dcm")
    assert written.study_instance_uid == header.study_instance_uid
    assert written.series_instance_uid != header.series_instance_uid
    assert written.frame_of_reference_uid != header.frame_of_reference_uid
    assert np.array_equal(read_series(tmp_path / "out")[0].array, volume.array)
    assert header.template.StudyID == "IBSI_1_STS_002_CT"


@pytest.mark.parametrize(("low", "high", "intercept"), [(-1000, 3000, -1024), (-3000, 3000, 0)])
def test_ct_keeps_whole_hu(tmp_path, low, high, intercept):
    volume = image(low, high, kind=np.int16)
    write_series(volume, tmp_path / "out")
    assert np.array_equal(read_series(tmp_path / "out")[0].array, volume.array)
    assert float(pydicom.dcmread(tmp_path / "out" / "CT0001.dcm").RescaleIntercept) == intercept


def test_fractional_mr_loses_at_most_half_a_step(tmp_path):
    volume = image(0.25, 7.5)
    write_series(volume, tmp_path / "out", modality="MR")
    assert np.abs(read_series(tmp_path / "out")[0].array - volume.array).max() < 7.5 / 65535


def test_itk_reads_the_same_place_and_values(tmp_path, oblique):
    volume = image(geometry=oblique, kind=np.int16)
    write_series(volume, tmp_path / "out")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "out")))
    read = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(read).transpose(2, 1, 0), volume.array)
    at = read.TransformIndexToPhysicalPoint((3, 5, 2))
    assert np.abs(oblique.index_to_world(np.array([[3, 5, 2]]))[0] - at).max() < 1e-4


def test_a_seed_gives_equal_files_and_other_content_other_uids(tmp_path):
    one = write_series(image(), tmp_path / "a", seed="demo")
    two = write_series(image(), tmp_path / "b", seed="demo")
    other = write_series(image(-900, 1000), tmp_path / "c", seed="demo")
    assert [p.read_bytes() for p in sorted((tmp_path / "a").iterdir())] == [
        p.read_bytes() for p in sorted((tmp_path / "b").iterdir())
    ]
    assert one.series_instance_uid == two.series_instance_uid != other.series_instance_uid
    assert not set(one.sop_instance_uids) & set(other.sop_instance_uids)
    assert one.study_instance_uid == other.study_instance_uid


def test_without_a_seed_uids_are_new(tmp_path):
    one, two = (write_series(image(), tmp_path / name) for name in "ab")
    assert not set(one.sop_instance_uids) & set(two.sop_instance_uids)
    assert one.frame_of_reference_uid != two.frame_of_reference_uid


def test_preamble_is_zero_and_header_is_what_is_read(tmp_path):
    header = write_series(image(), tmp_path / "out", frame_of_reference_uid="1.2.3")
    assert (tmp_path / "out" / "CT0001.dcm").read_bytes()[:132] == bytes(128) + b"DICM"
    read = read_series(tmp_path / "out")[1]
    assert read.frame_of_reference_uid == "1.2.3"
    assert read.sop_instance_uids == header.sop_instance_uids
    assert read.pseudonym == header.pseudonym


def test_names_in_other_characters_survive(tmp_path):
    _, header, _ = read_series(DATA / "sarcoma-ct" / "image")
    header.template.SpecificCharacterSet = "ISO_IR 100"
    header.template.PatientName = "Jürgens^Zoë"
    write_series(image(), tmp_path / "out", header_from=header)
    dataset = pydicom.dcmread(tmp_path / "out" / "CT0001.dcm")
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert str(dataset.PatientName) == "Jürgens^Zoë"


def test_unknown_modality_and_mirrored_grids_are_refused(tmp_path):
    with pytest.raises(UsageError, match="PT") as caught:
        write_series(image(), tmp_path / "out", modality="PT")
    assert caught.value.code == "series.modality"
    mirrored = Geometry(GRID.shape, GRID.affine @ np.diag([-1.0, 1, 1, 1]))
    with pytest.raises(GeometryError) as caught:
        write_series(image(geometry=mirrored), tmp_path / "out")
    assert caught.value.code == "series.lefthanded"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError) as caught:
        write_series(image(), tmp_path / "file" / "out")
    assert caught.value.code == "output.unwritable"
