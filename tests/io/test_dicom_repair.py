"""UIDs that are blank or shared get new ones, the same from the same files; a copy of the series bears them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from jrscli.errors import InputError
from jrscli.io.dicom_repair import write_repaired
from jrscli.io.dicom_series import read_series
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

GRID = Geometry((8, 7, 5), np.diag((1.0, 1.5, 2.0, 1.0)))
ARRAY = np.random.default_rng(0).integers(0, 3000, GRID.shape).astype(np.uint16)


@pytest.fixture
def series(tmp_path: Path, dicom_slices: Callable, save_slices: Callable) -> Callable:
    """A series whose images have the elements given, and a private one."""

    def make(**elements: str) -> Path:
        images = dicom_slices(Volume(ARRAY, GRID))
        for one in images:
            one.private_block(0x0011, "SOMEBODY", create=True).add_new(1, "LO", "SECRET")
            for keyword, value in elements.items():
                setattr(one, keyword, value)
        return save_slices(images, tmp_path / "series")

    return make


SPOILT = [
    ("series.for_blank", {"FrameOfReferenceUID": ""}),
    ("series.uid_blank", {"SOPInstanceUID": "", "SeriesInstanceUID": "", "StudyInstanceUID": ""}),
    ("series.uid_dup", {"SOPInstanceUID": "1.2.3"}),
]


@pytest.mark.parametrize(("code", "elements"), SPOILT)
def test_new_uids_are_assigned_and_told(series: Callable, code: str, elements: dict) -> None:
    folder = series(**elements)
    volume, header, notices = read_series(folder, assign_uids=True)
    assert [notice.code for notice in notices] == [code]
    np.testing.assert_array_equal(volume.array, ARRAY)
    uids = [header.series_instance_uid, header.study_instance_uid, header.frame_of_reference_uid, *header.sop_instance_uids]
    assert len(set(uids)) == 3 + 5
    assert all(pydicom.uid.UID(uid).is_valid and len(uid) <= 64 for uid in uids)
    again = read_series(folder, assign_uids=True)[1]
    assert again.sop_instance_uids == header.sop_instance_uids
    assert again.frame_of_reference_uid == header.frame_of_reference_uid


@pytest.mark.parametrize(("code", "elements"), SPOILT)
def test_the_copy_bears_them_and_needs_no_repair(series: Callable, tmp_path: Path, code: str, elements: dict) -> None:
    folder = series(**elements)
    _, header, _ = read_series(folder, assign_uids=True)
    assert write_repaired(folder, tmp_path / "copy") == 5
    volume, copied, notices = read_series(tmp_path / "copy")
    assert not notices
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert copied.sop_instance_uids == header.sop_instance_uids
    assert copied.frame_of_reference_uid == header.frame_of_reference_uid
    assert copied.study_instance_uid == header.study_instance_uid
    first = next((tmp_path / "copy").iterdir())
    assert first.read_bytes()[:128] == bytes(128)
    assert not any(element.tag.is_private for element in pydicom.dcmread(first))
    assert pydicom.dcmread(first).file_meta.MediaStorageSOPInstanceUID == pydicom.dcmread(first).SOPInstanceUID


def test_good_uids_are_kept(series: Callable) -> None:
    folder = series()
    assert not read_series(folder, assign_uids=True)[2]
    assert read_series(folder, assign_uids=True)[1].sop_instance_uids == read_series(folder)[1].sop_instance_uids


def test_one_file_twice_keeps_its_uid(series: Callable) -> None:
    folder = series()
    before = read_series(folder)[1].sop_instance_uids
    shutil.copyfile(folder / "image2", folder / "again")
    _, header, notices = read_series(folder, assign_uids=True)
    assert [notice.code for notice in notices] == ["series.dup_same"]
    assert header.sop_instance_uids == before


def test_without_being_asked_nothing_is_assigned(series: Callable) -> None:
    with pytest.raises(InputError) as refused:
        read_series(series(SOPInstanceUID="1.2.3"))
    assert refused.value.code == "series.uid_dup"
    assert "--assign-uids" in refused.value.hint
