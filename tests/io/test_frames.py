"""Cines from a file and from a folder."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.io import write_image
from jrscli.io.frames import is_cine, read_cine, read_label_frames, write_label_frames
from jrscli.io.nifti import write_frames
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume

GRID = Geometry((6, 5, 4), np.diag([2.0, 2.0, 8.0, 1.0]))


def frame(value: float, geometry: Geometry = GRID) -> Volume:
    array = np.zeros(geometry.shape, np.float32)
    array[1:3] = value
    return Volume(array, geometry)


def test_frames_of_a_folder_are_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1):
        write_image(frame(number), tmp_path / f"heart-{number}.nii.gz")
    found = read_cine(tmp_path)
    assert [one.array.max() for one in found.frames] == [1, 9, 10]
    assert found.kind == "folder"
    assert [notice.code for notice in found.notices] == ["cine.gap"]
    assert "7 numbers are left out" in found.notices[0].message


@pytest.mark.parametrize("names", [("ed", "es"), ("f1", "f2"), ("s1-f1", "s2-f2")])
def test_names_without_a_gap_say_nothing(tmp_path, names):
    for name in names:
        write_image(frame(1), tmp_path / f"{name}.nii.gz")
    assert read_cine(tmp_path).notices == ()


def test_file_and_folder_give_the_same(tmp_path):
    (tmp_path / "frames").mkdir()
    frames = (frame(1), frame(2))
    for number, one in enumerate(frames):
        write_image(one, tmp_path / "frames" / f"{number}.nii.gz")
    write_frames(frames, tmp_path / "cine.nii.gz")
    one, two = read_cine(tmp_path / "frames"), read_cine(tmp_path / "cine.nii.gz")
    for a, b in zip(one.frames, two.frames, strict=True):
        np.testing.assert_array_equal(a.array, b.array)
        assert a.geometry.matches(b.geometry)
    assert is_cine(tmp_path / "cine.nii.gz")
    assert not is_cine(tmp_path / "frames" / "0.nii.gz")


def test_frames_of_different_size_are_refused(tmp_path):
    write_image(frame(1), tmp_path / "0.nii.gz")
    write_image(frame(1, Geometry((6, 5, 3), GRID.affine)), tmp_path / "1.nii.gz")
    with pytest.raises(InputError, match="frame 1 has another grid than frame 0: 6×5×3 and 6×5×4 voxels") as error:
        read_cine(tmp_path)
    assert error.value.code == "cine.sizes"


def test_an_empty_frame_is_refused(tmp_path):
    write_frames((frame(1), frame(0)), tmp_path / "cine.nii.gz")
    with pytest.raises(InputError, match="frame 1 is empty") as error:
        read_cine(tmp_path / "cine.nii.gz")
    assert error.value.code == "cine.empty"


def test_what_is_no_cine_is_refused(tmp_path):
    write_image(frame(1), tmp_path / "one.nii.gz")
    (tmp_path / "text.txt").write_text("no image")
    for path, code in (
        (tmp_path / "one.nii.gz", "cine.frames"),
        (tmp_path, "cine.frames"),
        (tmp_path / "text.txt", "cine.format"),
    ):
        with pytest.raises(InputError) as error:
            read_cine(path)
        assert error.value.code == code


def test_labels_of_frames_keep_their_names(tmp_path):
    drawn = np.zeros(GRID.shape, np.uint8)
    drawn[2] = 3
    maps = [LabelMap(drawn * on, GRID, {3: "left ventricle"}) for on in (1, 0)]
    write_label_frames(maps, tmp_path / "seg.nii.gz")
    found = read_label_frames(tmp_path / "seg.nii.gz")
    assert [one.numbers() for one in found] == [[3], []]
    assert found[0].name(3) == "left ventricle"
