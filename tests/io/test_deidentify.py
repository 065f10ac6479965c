"""De-identified objects name nobody, fit together, and are still valid objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from jrscli.io.deidentify import NOT_DONE, deidentified_notice, deidentify_file, deidentify_folder
from jrscli.io.dicom_series import read_series
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct import read_rtstruct
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.spatial.contouring import contours_from_mask
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import Roi, StructureSet
from jrscli.spatial.volume import Volume

DATA = Path(__file__).parents[1] / "data"
GRID = Geometry((12, 10, 5), np.diag((1.0, 1.0, 2.0, 1.0)))
SECRET = "XQZSECRET"
UID = "1.2.3.987654321"


def _patient(dataset: Dataset) -> None:
    """Everything that may name somebody, and a private element, and an overlay's comment."""
    dataset.PatientName, dataset.PatientID, dataset.AccessionNumber = f"{SECRET}^A", f"{SECRET}B", f"{SECRET}C"
    dataset.PatientBirthDate, dataset.StudyDate, dataset.StudyInstanceUID = "19610203", "20210203", UID
    dataset.ReferringPhysicianName, dataset.StudyDescription, dataset.StudyID = f"{SECRET}^D", f"{SECRET}E", f"{SECRET}F"


@pytest.fixture
def study(tmp_path):
    """A CT and its structure set, full of secrets; the folder."""
    template = Dataset()
    _patient(template)
    header = write_series(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "plain")
    for keyword in template.dir():
        header.template[keyword] = template[keyword]
    image = Volume(np.random.default_rng(0).integers(-900, 900, GRID.shape).astype(np.int16), GRID)
    header = write_series(image, tmp_path / "study" / "ct", header_from=header)
    mask = np.zeros(GRID.shape, bool)
    mask[3:8, 2:7, 1:4] = True
    roi = Roi(number=7, name=f"{SECRET}G", contours=contours_from_mask(mask, GRID), kind="ORGAN")
    write_rtstruct(StructureSet(rois=(roi,), label=SECRET), header, GRID, tmp_path / "study" / "rs.dcm", description=SECRET)
    dataset = pydicom.dcmread(tmp_path / "study" / "rs.dcm")
    dataset.add_new(0x00091001, "LO", SECRET)
    dataset.StructureSetROISequence[0].add_new(0x00091002, "LO", SECRET)
    dataset.StructureSetROISequence[0].ROIDescription = SECRET
    dataset.RTROIObservationsSequence[0].ROIObservationLabel = SECRET
    dataset.RTROIObservationsSequence[0].ROIInterpreter = SECRET
    dataset.StationName = dataset.InstitutionName = dataset.OperatorsName = SECRET
    dataset.save_as(tmp_path / "study" / "rs.dcm")
    (tmp_path / "study" / "seg.json").write_text(json.dumps({"labels": {"7": f"{SECRET}G"}}))
    return tmp_path / "study"


def test_nothing_that_names_somebody_is_left(study):
    uids = {UID, *(str(pydicom.dcmread(path).SOPInstanceUID) for path in study.rglob("*.dcm"))}
    before = b"".join(path.read_bytes() for path in study.rglob("*.*"))
    assert all(word.encode() in before for word in (SECRET, "19610203", "20210203", *uids))
    assert deidentify_folder(study) == 7
    after = b"".join(path.read_bytes() for path in study.rglob("*.*"))
    assert not [word for word in (SECRET, "19610203", "20210203", *uids) if word.encode() in after]
    assert json.loads((study / "seg.json").read_text()) == {"labels": {"7": "ROI-7"}}


def test_objects_still_belong_together_and_hold_what_they_held(study):
    image, header, _ = read_series(study / "ct")
    contours = read_rtstruct(study / "rs.dcm", header, GRID).rois[0].contours
    deidentify_folder(study)
    after, other, _ = read_series(study / "ct")
    assert np.array_equal(after.array, image.array)
    assert after.geometry.matches(image.geometry)
    assert other.frame_of_reference_uid != header.frame_of_reference_uid
    structures = read_rtstruct(study / "rs.dcm", other, GRID)
    assert structures.frame_of_reference_uid == other.frame_of_reference_uid
    assert structures.rois[0].name == "ROI-7"
    assert structures.rois[0].kind == "ORGAN"
    assert [c.points.tolist() for c in structures.rois[0].contours] == [c.points.tolist() for c in contours]
    dataset = pydicom.dcmread(study / "rs.dcm")
    series = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert {item.ReferencedSOPInstanceUID for item in series.ContourImageSequence} == set(other.sop_instance_uids)
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert str(dataset.PatientID) == str(dataset.PatientName) == header.pseudonym


def test_they_say_what_was_done(study):
    deidentify_folder(study)
    dataset = pydicom.dcmread(study / "rs.dcm")
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert dataset.LongitudinalTemporalInformationModified == "REMOVED"
    assert all(words in deidentified_notice().message for words in NOT_DONE)
    assert (study / "rs.dcm").read_bytes()[:128] == bytes(128)


def test_they_are_valid(study, assert_valid_dicom):
    deidentify_folder(study)
    assert_valid_dicom(study / "rs.dcm")
    assert_valid_dicom(next((study / "ct").iterdir()))


def test_a_real_structure_set(tmp_path, assert_valid_dicom):
    volume, header, _ = read_series(DATA / "sarcoma-ct" / "image")
    structures = read_rtstruct(DATA / "sarcoma-ct" / "structures.dcm", header, volume.geometry)
    write_rtstruct(structures, header, volume.geometry, tmp_path / "rs.dcm")
    deidentify_file(tmp_path / "rs.dcm")
    assert_valid_dicom(tmp_path / "rs.dcm")
    dataset = pydicom.dcmread(tmp_path / "rs.dcm")
    assert str(header.template.PatientID) not in str(dataset)
    assert header.series_instance_uid not in str(dataset)


def test_names_of_rois_alone(study):
    deidentify_folder(study, rois_only=True)
    dataset = pydicom.dcmread(study / "rs.dcm")
    assert dataset.StructureSetROISequence[0].ROIName == "ROI-7"
    assert dataset.PatientID == f"{SECRET}B"
