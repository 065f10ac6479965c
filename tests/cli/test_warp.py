"""`jrs warp` moves images, labels, points and contours the same way, in either direction."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jrscli.io import read_image, read_labels
from jrscli.io.points import read_points, write_points
from jrscli.io.rtstruct import read_rtstruct
from jrscli.io.transforms import write_field, write_transform
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.transform import Transform

SHIFT_MM = np.array([6.0, -4.0, 3.0])
CENTRE_MM = np.array([27.0, 23.0, 22.0])


@pytest.fixture
def xfm(jrs: Callable, files: Any, optimiser: Any, tmp_path: Path) -> Path:
    pair = (files.folder / "fixed.nii.gz", files.folder / "moving.nii.gz")
    return jrs("register", *pair, "-o", tmp_path / "registered").paths["xfm"]


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_an_image_arrives_on_the_fixed_grid(jrs: Callable, files: Any, xfm: Path, tmp_path: Path) -> None:
    said = jrs("warp", "--xfm", xfm, files.folder / "moving.nii.gz", "-o", tmp_path / "out")
    assert said.paths["image"].name == "warped_space-fixed.nii.gz"
    found = read_image(said.paths["image"]).volume
    assert found.geometry.matches(files.fixed)
    again = read_image(xfm.parent / "warped.nii.gz").volume
    np.testing.assert_allclose(found.array, again.array, atol=1e-3)


def test_the_other_way_arrives_on_the_moving_grid(jrs: Callable, files: Any, xfm: Path, tmp_path: Path) -> None:
    said = jrs("warp", "--xfm", xfm, "--inverse", files.folder / "fixed.nii.gz", "-o", tmp_path / "out")
    assert said.paths["image"].name == "warped_space-moving.nii.gz"
    found = read_image(said.paths["image"]).volume
    assert found.geometry.matches(files.moving)
    assert _dice(found.array > 150, read_labels(files.folder / "moving-seg.nii.gz").mask(3)) > 0.9


def test_the_inverse_file_and_the_inverse_option_agree(jrs: Callable, files: Any, xfm: Path, tmp_path: Path) -> None:
    twin = xfm.with_name("from-fixed_to-moving_mode-image_xfm.h5")
    one = jrs("warp", "--xfm", xfm, "--inverse", files.folder / "fixed.nii.gz", "-o", tmp_path / "a").paths["image"]
    two = jrs("warp", "--xfm", twin, files.folder / "fixed.nii.gz", "-o", tmp_path / "b").paths["image"]
    np.testing.assert_array_equal(read_image(one).volume.array, read_image(two).volume.array)
    twin.unlink()
    three = jrs("warp", "--xfm", xfm, "--inverse", files.folder / "fixed.nii.gz", "-o", tmp_path / "c").paths["image"]
    np.testing.assert_allclose(read_image(three).volume.array, read_image(one).volume.array, atol=1)


def test_labels_are_told_and_stay_whole(jrs: Callable, files: Any, xfm: Path, tmp_path: Path) -> None:
    said = jrs("warp", "--xfm", xfm, files.folder / "moving-seg.nii.gz", "-o", tmp_path / "out")
    labels = read_labels(said.paths["labels"])
    assert labels.numbers() == [3]
    assert dict(labels.names) == {3: "Ball"}
    assert _dice(labels.mask(3), read_labels(files.folder / "fixed-seg.nii.gz").mask(3)) > 0.9


@pytest.mark.parametrize("name", ["points.csv", "points.fcsv", "points.mrk.json"])
def test_points_go_where_the_image_goes(name: str, jrs: Callable, xfm: Path, tmp_path: Path) -> None:
    write_points(np.array([CENTRE_MM + SHIFT_MM]), ("Ball",), tmp_path / name)
    said = jrs("warp", "--xfm", xfm, tmp_path / name, "-o", tmp_path / "out")
    assert said.paths["points"].name == f"points_space-fixed{name.removeprefix('points')}"
    points, labels = read_points(said.paths["points"])
    np.testing.assert_allclose(points, [CENTRE_MM], atol=1e-4)
    assert labels == ("Ball",)
    back = jrs("warp", "--xfm", xfm, "--inverse", said.paths["points"], "-o", tmp_path / "back")
    np.testing.assert_allclose(read_points(back.paths["points"])[0], [CENTRE_MM + SHIFT_MM], atol=1e-4)


def test_an_rtstruct_arrives_on_the_slices_of_the_other_series(jrs: Callable, files: Any, xfm: Path, tmp_path: Path) -> None:
    f = files.folder
    said = jrs("warp", "--xfm", xfm, f / "moving-RS.dcm", "--reference", f / "fixed-ct", "-o", tmp_path / "out")
    assert said.code == 0, said.err
    header = read_image(f / "fixed-ct").series
    moved = read_rtstruct(said.paths["rtstruct"], header, files.fixed)
    assert [(roi.number, roi.name) for roi in moved.rois] == [(3, "Ball")]
    assert _dice(rasterize(moved.rois[0], files.fixed), read_labels(f / "fixed-seg.nii.gz").mask(3)) > 0.9


def test_an_rtstruct_needs_a_series_to_refer_to(jrs: Callable, files: Any, xfm: Path) -> None:
    jrs("warp", "--xfm", xfm, files.folder / "moving-RS.dcm").failed_with(2, "warp.reference")


def test_an_image_of_neither_grid_is_placed_by_its_header_and_said(
    jrs: Callable, files: Any, xfm: Path, tmp_path: Path
) -> None:
    from jrscli.io import write_image
    from jrscli.spatial.resample import resample

    moving = read_image(files.folder / "moving.nii.gz").volume
    write_image(resample(moving, files.moving.with_spacing((3.0, 3.0, 3.0))), tmp_path / "coarse.nii.gz")
    said = jrs("warp", "--xfm", xfm, tmp_path / "coarse.nii.gz", "-o", tmp_path / "out")
    assert "[xfm.geometry]" in said.err
    assert (
        _dice(read_image(said.paths["image"]).volume.array > 150, read_labels(files.folder / "fixed-seg.nii.gz").mask(3)) > 0.8
    )


def test_several_inputs_are_counted(jrs: Callable, files: Any, xfm: Path, tmp_path: Path) -> None:
    moving = files.folder / "moving.nii.gz"
    said = jrs("warp", "--xfm", xfm, moving, files.folder / "points.csv", "-o", tmp_path / "out")
    assert [Path(line.split("\t")[1]).name for line in said.out.splitlines()] == [
        "warped_space-fixed_1.nii.gz",
        "points_space-fixed_2.csv",
        "run.json",
    ]


def test_foreign_transforms_and_fields_need_a_reference_only(jrs: Callable, files: Any, tmp_path: Path) -> None:
    f = files.folder
    shift = AffineTransform.about(np.eye(3), np.zeros(3), SHIFT_MM)
    write_transform(Transform((shift,)), tmp_path / "a.mat")
    array = np.broadcast_to(SHIFT_MM.astype(np.float32), (*files.fixed.shape, 3)).copy()
    write_field(DisplacementField(array, files.fixed), tmp_path / "a.nii.gz")
    truth = read_labels(f / "fixed-seg.nii.gz").mask(3)
    for name in ("a.mat", "a.nii.gz"):
        words = ("warp", "--xfm", tmp_path / name, f / "moving-seg.nii.gz", "--reference", f / "fixed.nii.gz")
        said = jrs(*words, "-o", tmp_path / f"out-{name[2:5]}")
        assert _dice(read_labels(said.paths["labels"]).mask(3), truth) > 0.9


def test_nearest_keeps_the_values_of_the_image(jrs: Callable, files: Any, xfm: Path, tmp_path: Path) -> None:
    moving = files.folder / "moving.nii.gz"
    said = jrs("warp", "--xfm", xfm, moving, "--interp", "nearest", "-o", tmp_path / "out")
    found = read_image(said.paths["image"]).volume.array
    assert set(np.unique(found)) <= set(np.unique(read_image(moving).volume.array))


def test_no_names_of_inputs_in_the_results(jrs: Callable, files: Any, xfm: Path, tmp_path: Path) -> None:
    (tmp_path / "Doe^Jane.nii.gz").write_bytes((files.folder / "moving.nii.gz").read_bytes())
    said = jrs("warp", "--xfm", xfm, tmp_path / "Doe^Jane.nii.gz", "-o", tmp_path / "out")
    names = " ".join(path.name for path in (tmp_path / "out").iterdir())
    assert not re.search("doe|jane", names + (tmp_path / "out" / "run.json").read_text(), re.IGNORECASE)
    assert said.code == 0
