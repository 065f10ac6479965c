"""What a folder of patients holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from jrscli.errors import InputError
from jrscli.io import write_image
from jrscli.io.dicom_write import write_series
from jrscli.io.survey import survey
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

GRID = Geometry((6, 5, 4), np.diag((2.0, 2.0, 3.0, 1.0)))
IMAGE = Volume(np.random.default_rng(0).normal(100, 50, GRID.shape).astype(np.int16), GRID)


def test_series_of_one_heap_are_told_apart_even_where_their_uids_are_equal(tmp_path: Path) -> None:
    write_series(IMAGE, tmp_path / "one", seed="a")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for path in (tmp_path / "two").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "other"
        dataset.save_as(path)
        path.rename(tmp_path / "one" / f"x{path.name}")
    found = survey(tmp_path)
    assert [len(one.paths) for one in found.series] == [4, 4]
    assert len({one.patient for one in found.series}) == 2
    assert {one.voxels for one in found.series} == {120}
    assert found.empty == (tmp_path / "two",)


def test_links_are_followed_once_and_the_output_is_left_out(tmp_path: Path) -> None:
    real, root, out = tmp_path / "real", tmp_path / "root", tmp_path / "root" / "out"
    write_series(IMAGE, real, seed="a")
    root.mkdir()
    (root / "link").symlink_to(real, target_is_directory=True)
    (root / "again").symlink_to(real, target_is_directory=True)
    (root / "circle").symlink_to(root, target_is_directory=True)
    (root / "broken").symlink_to(tmp_path / "nowhere")
    out.mkdir()
    write_image(IMAGE, out / "warped.nii.gz")
    found = survey(root, leave_out=[out])
    assert [len(one.paths) for one in found.series] == [4]
    assert found.images == ()


def test_what_cannot_be_read_does_not_stop_the_rest(tmp_path: Path) -> None:
    write_image(IMAGE, tmp_path / "good.nii.gz")
    content = (tmp_path / "good.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    (tmp_path / "cut.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    (tmp_path / "notes.txt").write_text("nothing")
    found = survey(tmp_path)
    assert [one.path.name for one in found.images] == ["good.nii.gz"]
    assert sorted(path.name for path, _ in found.unreadable) == ["cut.dcm", "cut.nii.gz"]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        survey(tmp_path / "nowhere")
    assert caught.value.code == "input.missing"
