"""The options for DICOM images that are not as they should be: what is picked, what is repaired, and where it is told."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from jrscli.io import read_image
from jrscli.io.dicom_series import read_series
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume


def ball(count: int = 10, seed: int = 0) -> Volume:
    index = np.moveaxis(np.indices((20, 18, count)), 0, -1)
    inside = np.linalg.norm((index - (10, 9, count / 2)) * (1, 1, 1.5), axis=-1) < 6
    noise = np.random.default_rng(seed).integers(0, 50, inside.shape)
    return Volume((inside * 900 + noise).astype(np.uint16), Geometry((20, 18, count), np.diag((2.0, 2.0, 3.0, 1.0))))


@pytest.fixture
def make(tmp_path: Path, dicom_slices: Callable, save_slices: Callable) -> Callable[..., Path]:
    """A folder of images, each changed by a function of its number and itself."""

    def run(name: str, change: Callable[[int, Dataset], object] = lambda n, one: None, volume: Volume | None = None) -> Path:
        images = dicom_slices(volume or ball())
        for n, one in enumerate(images):
            change(n, one)
        return save_slices(images, tmp_path / name)

    return run


def turned(n: int, one: Dataset) -> None:
    if n >= 6:
        one.ImageOrientationPatient = ["0", "1", "0", "0", "0", "-1"]
        one.ImagePositionPatient = [f"{3 * n}", "0", "0"]


def tilted(n: int, one: Dataset) -> None:
    one.ImagePositionPatient = ["0", f"{0.7 * n:.1f}", f"{3 * n}"]


def test_an_orientation_is_picked(jrs: Callable, make: Callable, tmp_path: Path) -> None:
    folder = make("mixed", turned)
    convert = ("convert", "series", folder, "--to", tmp_path / "a.nii.gz")
    assert "--select orientation=K picks one of: 1: 6 axial; 2: 4 sagittal" in jrs(*convert).failed_with(4, "series.mixed").err
    assert jrs(*convert, "--select", "orientation=2").code == 0
    assert read_image(tmp_path / "a.nii.gz").volume.geometry.shape == (20, 18, 4)
    jrs(*convert, "--select", "orientation=3").failed_with(4, "series.select")


def test_one_echo_of_one_series_among_several_is_picked(jrs: Callable, make: Callable, tmp_path: Path) -> None:
    def echo(time: str, series: str) -> Callable:
        def change(n: int, one: Dataset) -> None:
            one.SeriesInstanceUID, one.EchoTime, one.FrameOfReferenceUID = series, time, "1.2.9"

        return change

    folder = make("all", echo("4.6", "1.2.1"))
    make("all", echo("9.2", "1.2.1"), ball(seed=1))
    make("all", echo("4.6", "1.2.2"), ball(seed=2))
    convert = ("convert", "series", folder, "--to", tmp_path / "a.nii.gz", "--exist", "overwrite")
    jrs(*convert).failed_with(4, "series.many")
    assert "EchoTime=" in jrs(*convert, "--select", "1").failed_with(4, "series.dup_diff").err
    for select, seed in (("1,EchoTime=9.2", 1), ("1.2.1,EchoTime=4.60", 0), ("2", 2), ("EchoTime=9.2", 1)):
        assert jrs(*convert, "--select", select).code == 0, select
        np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").volume.array, ball(seed=seed).array)
    info = json.loads(jrs("info", folder, "--select", "1,EchoTime=9.2", "--json").out)
    assert [content["path"] for content in info["contents"]] == ["series 1"]
    assert not info["contents"][0]["problems"]


def test_one_selection_goes_to_the_image_that_needs_it(
    jrs: Callable, make: Callable, tmp_path: Path, optimiser: ModuleType
) -> None:
    mixed, plain = make("mixed", turned), make("plain", volume=ball(6))
    said = jrs("register", plain, mixed, "--select", "orientation=1", "-o", tmp_path / "out", "--json")
    assert said.code == 0, said.err


def test_an_irregular_stack_is_resampled_and_recorded(
    jrs: Callable, make: Callable, tmp_path: Path, optimiser: ModuleType
) -> None:
    folder = make("tilted", tilted)
    register = ("register", folder, make("plain"), "-o", tmp_path / "out")
    assert "--resample-irregular" in jrs(*register).failed_with(4, "series.tilt").err
    said = jrs(*register, "--resample-irregular")
    assert said.code == 0
    assert "warning: gantry tilt 13.1°" in said.err
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["repairs"] == ["series.tilt"]
    assert record["options"]["resample_irregular"] is True
    assert record["options"]["assign_uids"] is False
    # the grid has grown by the shear of 6.3 mm: 3.15 pixels
    assert read_image(said.paths["image"]).volume.geometry.shape == (20, 22, 10)


def no_uids(n: int, one: Dataset) -> None:
    one.SOPInstanceUID = one.FrameOfReferenceUID = ""


def test_contours_refer_to_the_repaired_copy_that_lies_beside_them(
    jrs: Callable, make: Callable, files: Any, tmp_path: Path, optimiser: ModuleType
) -> None:
    folder = make("blank", no_uids)
    labels = tmp_path / "labels.nii.gz"
    assert jrs("convert", "series", folder, "--to", tmp_path / "atlas.nii.gz").code == 0
    shutil.copyfile(tmp_path / "atlas.nii.gz", labels)
    from jrscli.io import write_labels
    from jrscli.spatial.volume import LabelMap

    write_labels(LabelMap((ball().array > 500).astype(np.uint32), ball().geometry, {1: "Ball"}), labels)
    segment = ("segment", folder, "--atlas", tmp_path / "atlas.nii.gz", "--atlas-labels", labels, "-o", tmp_path / "out")
    jrs(*segment).failed_with(4, "series.for_blank")
    said = jrs(*segment, "--assign-uids")
    assert said.code == 0, said.err
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert {"series.for_blank", "series.uid_blank"} <= set(record["repairs"])
    copied = read_series(said.paths["series"])[1]
    contours = pydicom.dcmread(said.paths["rtstruct"])
    assert contours.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID == copied.frame_of_reference_uid
    named = {
        item.ReferencedSOPInstanceUID
        for contour in contours.ROIContourSequence[0].ContourSequence
        for item in contour.ContourImageSequence
    }
    assert named
    assert named <= set(copied.sop_instance_uids)


def test_convert_writes_the_repaired_copy(jrs: Callable, make: Callable, tmp_path: Path) -> None:
    folder = make("blank", no_uids)
    assert jrs("convert", "series", folder, "--to", tmp_path / "copy", "--assign-uids").code == 0
    volume, header, notices = read_series(tmp_path / "copy")
    assert not notices
    assert header.sop_instance_uids == read_series(folder, assign_uids=True)[1].sop_instance_uids
    np.testing.assert_array_equal(volume.array, ball().array)


def test_a_directory_file_is_walked_over_and_never_followed(jrs: Callable, make: Callable, tmp_path: Path) -> None:
    """A DICOMDIR that names other files changes nothing."""
    folder = make("disc")
    index = Dataset()
    index.FileSetID = "SECRET"
    record = Dataset()
    record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["ELSEWHERE", "IM0001"]
    index.DirectoryRecordSequence = [record]
    index.file_meta = pydicom.dataset.FileMetaDataset()
    index.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    index.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    index.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    index.save_as(folder / "DICOMDIR", enforce_file_format=True)
    make("ELSEWHERE", volume=ball(seed=5))
    said = jrs("convert", "series", folder, "--to", tmp_path / "a.nii.gz", "--json")
    assert json.loads(said.out)["notices"] == []
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").volume.array, ball().array)


def test_a_zip_is_read_in_place_with_its_folders(jrs: Callable, make: Callable, tmp_path: Path) -> None:
    make("disc/one/two")
    archive = shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path / "disc")
    before = sorted(tmp_path.rglob("*"))
    assert jrs("convert", "series", archive, "--to", tmp_path / "a.nii.gz").code == 0
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").volume.array, ball().array)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "a.nii.gz"])


@pytest.mark.parametrize("name", ["../a.dcm", "/tmp/a.dcm", "C:/a.dcm", "x/../../a.dcm", "..\\a.dcm"])
def test_a_zip_that_points_outside_is_refused(jrs: Callable, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, b"x" * 300)
    jrs("info", tmp_path / "bad.zip", "--json").failed_with(4, "input.zip")


def test_a_damaged_zip_is_refused(jrs: Callable, make: Callable, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "all"), "zip", make("disc")))
    archive.write_bytes(archive.read_bytes()[:-400])
    said = jrs("convert", "series", archive, "--to", tmp_path / "a.nii.gz", "--json").failed_with(4, "input.zip")
    assert json.loads(said.out)["code"] == "input.zip"
