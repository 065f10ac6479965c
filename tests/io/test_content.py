"""Files are told by what is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.io import read_contours, read_image, read_labels, write_image, write_labels
from jrscli.io.content import kind_of
from jrscli.io.label_map import holds_labels
from jrscli.io.points import write_points
from jrscli.io.transforms import write_transform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume

GRID = Geometry((6, 5, 4), np.diag((1.0, 2.0, 3.0, 1.0)))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd"])
def test_images_are_known_under_any_name(name: str, tmp_path: Path) -> None:
    array = np.arange(120, dtype=np.int16).reshape(GRID.shape)
    write_image(Volume(array, GRID), tmp_path / name)
    (tmp_path / name).rename(tmp_path / "picture")
    found = read_image(tmp_path / "picture")
    assert found.kind == ("nifti" if "nii" in name else "itk")
    assert found.volume.geometry.matches(GRID)
    np.testing.assert_array_equal(found.volume.array, array)


def test_transforms_and_points_are_no_images(tmp_path: Path) -> None:
    write_transform(Transform.identity(), tmp_path / "a.h5")
    write_points(np.zeros((1, 3)), ("",), tmp_path / "a.csv")
    assert kind_of(tmp_path / "a.h5") == "transform"
    assert kind_of(tmp_path / "a.csv") == "points"
    with pytest.raises(InputError, match="is a transform, not an image"):
        read_image(tmp_path / "a.h5")


def test_a_missing_path_and_an_unknown_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        kind_of(tmp_path / "nothing")
    assert caught.value.code == "input.missing"
    (tmp_path / "x.nii.gz").write_text("hello")
    with pytest.raises(InputError, match="plain text") as caught:
        read_image(tmp_path / "x.nii.gz")
    assert caught.value.code == "image.unreadable"


def test_stems_leave_the_endings_away(tmp_path: Path) -> None:
    write_image(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "patient.a.nii.gz")
    assert read_image(tmp_path / "patient.a.nii.gz").stem == "patient.a"


def test_labels_come_back_with_names(tmp_path: Path) -> None:
    array = np.zeros(GRID.shape, np.uint32)
    array[1:3] = 2**24 + 1
    write_labels(LabelMap(array, GRID, {2**24 + 1: "Bladder"}), tmp_path / "a.nii.gz")
    found = read_contours(tmp_path / "a.nii.gz")
    assert isinstance(found, LabelMap)
    assert dict(found.names) == {2**24 + 1: "Bladder"}
    np.testing.assert_array_equal(found.array, array)


def test_labels_stored_as_floating_point_are_taken_as_meant(tmp_path: Path) -> None:
    array = np.zeros(GRID.shape, np.float32)
    array[1:3] = 2
    write_image(Volume(array, GRID), tmp_path / "a.nii.gz")
    assert read_labels(tmp_path / "a.nii.gz").numbers() == [2]
    write_image(Volume(array + 0.5, GRID), tmp_path / "b.nii.gz")
    with pytest.raises(InputError) as caught:
        read_labels(tmp_path / "b.nii.gz")
    assert caught.value.code == "labels.values"


def test_a_label_map_is_told_from_an_image_of_whole_numbers(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 90, (20, 20, 20))
    grid = Geometry((20, 20, 20), np.eye(4))
    blocks = np.kron(np.random.default_rng(1).integers(0, 3, (5, 5, 5)), np.ones((4, 4, 4), int))
    assert not holds_labels(Volume(noise.astype(np.uint8), grid), tmp_path / "x.nii")
    assert not holds_labels(Volume((noise - 50).astype(np.int16), grid), tmp_path / "x.nii")
    assert not holds_labels(Volume(blocks.astype(np.float32) / 2, grid), tmp_path / "x.nii")
    assert holds_labels(Volume(blocks.astype(np.uint8), grid), tmp_path / "x.nii")
    assert holds_labels(Volume(blocks.astype(np.float32), grid), tmp_path / "x.nii")
