"""RT Dose: the right values at the right place, for us and for another reader."""

from __future__ import annotations

import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from jrscli.errors import InputError
from jrscli.io.dicom_write import write_series
from jrscli.io.dose import Dose, is_dose, read_dose, write_dose
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

GRID = Geometry((9, 8, 6), np.array([[2.0, 0, 0, -20], [0, 2.5, 0, 30], [0, 0, 3.0, -100], [0, 0, 0, 1.0]]))


def kept() -> pydicom.Dataset:
    found, plan = pydicom.Dataset(), pydicom.Dataset()
    found.DoseType, found.DoseSummationType = "PHYSICAL", "PLAN"
    plan.ReferencedSOPClassUID, plan.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.3.4"
    found.ReferencedRTPlanSequence = [plan]
    return found


@pytest.fixture
def header(tmp_path):
    return write_series(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "ct", seed="ct")


@pytest.fixture
def dose():
    values = np.random.default_rng(0).random(GRID.shape).astype(np.float32) * 70
    return Dose(Volume(values, GRID), "GY", "1.2.3", kept())


@pytest.fixture
def written(dose, header, tmp_path):
    assert write_dose(dose.volume, dose, header, tmp_path / "dose.dcm", seed="s") == ()
    return tmp_path / "dose.dcm"


def edit(path, change):
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def test_a_dose_comes_back(written, dose, header):
    found = read_dose(written)
    assert found.units == "GY"
    assert found.frame_of_reference_uid == header.frame_of_reference_uid
    assert found.volume.geometry.matches(GRID)
    np.testing.assert_allclose(found.volume.array, dose.volume.array, atol=70 / 65000)
    assert found.kept.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    assert found.kept.DoseSummationType == "PLAN"


def test_the_validator_finds_nothing(written, assert_valid_dicom):
    assert_valid_dicom(written)


def test_plastimatch_reads_the_same_dose(written, dose, tmp_path, requires_tool):
    words = ["convert", "--input", written, "--output-dose-img", tmp_path / "dose.mha"]
    subprocess.run([requires_tool("plastimatch"), *words], check=True, capture_output=True, timeout=60)
    image = sitk.ReadImage(str(tmp_path / "dose.mha"))
    np.testing.assert_allclose(image.GetOrigin(), GRID.origin_mm, atol=1e-3)
    np.testing.assert_allclose(image.GetSpacing(), GRID.spacing_mm, atol=1e-4)
    np.testing.assert_allclose(sitk.GetArrayFromImage(image).transpose(2, 1, 0), dose.volume.array, atol=70 / 65000)


def test_it_says_what_was_done_and_no_more_of_the_source(written):
    dataset = pydicom.dcmread(written)
    assert dataset.DoseComment == "deformed by jrs: point-wise dose transfer"
    assert (dataset.DoseUnits, dataset.DoseSummationType, dataset.SpatialTransformOfDose) == ("GY", "PLAN", "NON_RIGID")
    assert "DVHSequence" not in dataset
    assert written.read_bytes()[:128] == bytes(128)


def test_equal_runs_give_equal_files_and_others_new_uids(dose, header, tmp_path):
    for name, seed in (("a", "s"), ("b", "s"), ("c", None)):
        write_dose(dose.volume, dose, header, tmp_path / name, seed=seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert pydicom.dcmread(tmp_path / "a").SOPInstanceUID != pydicom.dcmread(tmp_path / "c").SOPInstanceUID


@pytest.mark.parametrize("first", [0.0, -100.0])
def test_planes_are_offsets_or_heights(written, dose, first):
    def change(dataset):
        dataset.GridFrameOffsetVector = [first + 3 * n for n in range(GRID.shape[2])]

    found = read_dose(edit(written, change)).volume
    assert found.geometry.matches(GRID)
    np.testing.assert_allclose(found.array, dose.volume.array, atol=70 / 65000)


@pytest.mark.parametrize("first", [0.0, -100.0])
def test_planes_may_run_down(written, dose, first):
    def change(dataset):
        dataset.GridFrameOffsetVector = [first - 3 * n for n in range(GRID.shape[2])]

    found = read_dose(edit(written, change)).volume
    assert found.geometry.origin_mm[2] == pytest.approx(-115)
    np.testing.assert_allclose(found.array[:, :, ::-1], dose.volume.array, atol=70 / 65000)


def test_heights_along_a_falling_normal(written, dose):
    """The columns run backwards, as for a patient lying on the front: the normal points down, heights still count upwards."""

    def change(dataset):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
        dataset.GridFrameOffsetVector = [-100 + 3 * n for n in range(GRID.shape[2])]

    found = read_dose(edit(written, change)).volume
    top = found.geometry.world_to_index(np.array([[-20.0, 30.0, -100.0]])).round().astype(int)[0]
    assert found.array[tuple(top)] == pytest.approx(dose.volume.array[0, 0, 0], abs=0.002)
    other = found.geometry.world_to_index(np.array([[-18.0, 27.5, -85.0]])).round().astype(int)[0]
    assert found.array[tuple(other)] == pytest.approx(dose.volume.array[1, 1, 5], abs=0.002)


def test_one_plane_and_no_dose_at_all(dose, header, tmp_path):
    plane = Geometry((9, 8, 1), GRID.affine)
    write_dose(Volume(np.zeros(plane.shape, np.float32), plane), dose, header, tmp_path / "a.dcm", rigid=True)
    found = read_dose(tmp_path / "a.dcm")
    assert found.volume.geometry.matches(plane)
    assert not found.volume.array.any()
    assert pydicom.dcmread(tmp_path / "a.dcm").SpatialTransformOfDose == "RIGID"


def uneven(dataset):
    dataset.GridFrameOffsetVector = [0, 3, 6, 9, 15, 18]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (uneven, "dose.uneven"),
        (lambda d: setattr(d, "GridFrameOffsetVector", [0, 3]), "dose.unreadable"),
        (lambda d: setattr(d, "DoseUnits", ""), "dose.units"),
        (lambda d: setattr(d, "NumberOfFrames", 2_000_000_000), "input.too_big"),
        (lambda d: setattr(d, "PixelData", d.PixelData[:-8]), "dose.unreadable"),
        (lambda d: delattr(d, "DoseGridScaling"), "dose.unreadable"),
        (lambda d: setattr(d, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "geometry.affine"),
    ],
)
def test_broken_doses_are_refused(written, change, code):
    with pytest.raises(InputError) as caught:
        read_dose(edit(written, change))
    assert caught.value.code == code


def test_what_is_no_dose_is_refused(tmp_path, header, dose):
    image = next((tmp_path / "ct").iterdir())
    assert not is_dose(image)
    with pytest.raises(InputError) as caught:
        read_dose(image)
    assert caught.value.code == "dose.unreadable"
    with pytest.raises(InputError) as caught:
        write_dose(Volume(dose.volume.array - 50, GRID), dose, header, tmp_path / "a.dcm")
    assert caught.value.code == "dose.negative"


def test_what_the_source_does_not_say_but_has_to_is_told(dose, header, tmp_path):
    bare = Dose(dose.volume, "GY", "", kept())
    del bare.kept.DoseType, bare.kept.DoseSummationType
    notices = write_dose(dose.volume, bare, header, tmp_path / "a.dcm")
    assert [notice.code for notice in notices] == ["dose.type", "dose.type"]
    assert pydicom.dcmread(tmp_path / "a.dcm").DoseSummationType == "PLAN"


def test_a_dose_of_no_plan_is_not_written_as_dicom(dose, header, tmp_path):
    bare = Dose(dose.volume, "GY", "", pydicom.Dataset())
    with pytest.raises(InputError) as caught:
        write_dose(dose.volume, bare, header, tmp_path / "a.dcm")
    assert caught.value.code == "dose.plan"
    assert not (tmp_path / "a.dcm").exists()
