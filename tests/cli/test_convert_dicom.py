"""`jrs convert` between the DICOM objects and other formats: nothing moves on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jrscli.io import read_contours, read_image, read_labels
from jrscli.io.registration_object import read_registration
from jrscli.io.registration_object_write import write_rigid
from jrscli.io.segmentation_object import read_segmentation
from jrscli.io.transforms import read_transform, write_transform
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform

SHIFT = AffineTransform.about(np.eye(3), np.zeros(3), np.array([7.0, -3.0, 5.0]))
LANDMARK = np.array([[20.0, 18.0, 15.0]])


def bump(geometry: Geometry) -> DisplacementField:
    index = np.moveaxis(np.indices(geometry.shape), 0, -1)
    offset = (index - (np.array(geometry.shape) - 1) / 2) / (np.array(geometry.shape) / 5)
    weight = np.exp(-0.5 * (offset**2).sum(-1))
    return DisplacementField((weight[..., None] * (6.0, -3.0, 2.0)).astype(np.float32), geometry)


@pytest.fixture
def reg(files: Any, tmp_path: Path) -> Path:
    series = [read_image(files.folder / name).series for name in ("fixed-ct", "moving-ct")]
    write_rigid(SHIFT, *series, tmp_path / "REG.dcm")
    return tmp_path / "REG.dcm"


@pytest.fixture
def deformable(files: Any, tmp_path: Path) -> Path:
    write_transform(Transform((bump(files.fixed), SHIFT)), tmp_path / "xfm.h5")
    return tmp_path / "xfm.h5"


@pytest.mark.parametrize("name", ["a.tfm", "a.h5", "a.mat", "a0GenericAffine.mat", "a.nrrd", "TransformParameters.0.txt"])
def test_a_rigid_registration_in_other_formats(name: str, jrs: Callable, files: Any, reg: Path, tmp_path: Path) -> None:
    said = jrs("convert", "reg", reg, "--reference", files.folder / "fixed.nii.gz", "--to", tmp_path / name)
    assert said.code == 0, said.err
    np.testing.assert_allclose(read_transform(tmp_path / name).map_points(LANDMARK), LANDMARK + (7, -3, 5), atol=1e-4)


def test_series_say_which_end_is_which(jrs: Callable, files: Any, reg: Path, tmp_path: Path) -> None:
    f = files.folder
    there, back = tmp_path / "there.tfm", tmp_path / "back.tfm"
    assert jrs("convert", "reg", reg, "--fixed", f / "fixed-ct", "--moving", f / "moving-ct", "--to", there).code == 0
    assert jrs("convert", "reg", reg, "--fixed", f / "moving-ct", "--moving", f / "fixed-ct", "--to", back).code == 0
    np.testing.assert_allclose(read_transform(there).map_points(LANDMARK), LANDMARK + (7, -3, 5), atol=1e-6)
    np.testing.assert_allclose(read_transform(back).map_points(LANDMARK), LANDMARK - (7, -3, 5), atol=1e-6)
    assert json.loads(there.with_suffix(".json").read_text())["images"] == "moving -> fixed"


def test_a_deformation_becomes_dicom_with_its_error_told(
    jrs: Callable, files: Any, deformable: Path, tmp_path: Path, assert_valid_dicom: Callable
) -> None:
    f = files.folder
    pair = ("--fixed", f / "fixed-ct", "--moving", f / "moving-ct")
    said = jrs("convert", "reg", deformable, *pair, "--to", tmp_path / "D.dcm", "--json", "--reg-accuracy", 1.0)
    assert said.code == 0, said.err
    told = json.loads(said.out)["registration_object"]
    assert told["kind"] == "deformable"
    assert 0 < told["max_error_mm"] <= 1.0
    assert_valid_dicom(tmp_path / "D.dcm")
    found, original = read_registration(tmp_path / "D.dcm").between(), read_transform(deformable)
    points = files.fixed.index_to_world(np.argwhere(np.ones(files.fixed.shape)))
    error = np.linalg.norm(found.map_points(points) - original.map_points(points), axis=1).max()
    assert error == pytest.approx(told["max_error_mm"], abs=1e-3)
    back = jrs("convert", "reg", tmp_path / "D.dcm", "--to", tmp_path / "back.h5")
    assert back.code == 0, back.err
    np.testing.assert_allclose(read_transform(tmp_path / "back.h5").map_points(LANDMARK), found.map_points(LANDMARK), atol=1e-4)


def test_the_pair_of_ants_goes_both_ways(jrs: Callable, deformable: Path, tmp_path: Path) -> None:
    pair = tmp_path / "a0GenericAffine.mat"
    assert jrs("convert", "reg", deformable, "--to", pair).code == 0
    assert jrs("convert", "reg", tmp_path / "a1Warp.nii.gz", pair, "--to", tmp_path / "b.h5").code == 0
    original = read_transform(deformable).map_points(LANDMARK)
    np.testing.assert_allclose(read_transform(tmp_path / "b.h5").map_points(LANDMARK), original, atol=1e-3)
    jrs("convert", "reg", deformable, "--to", pair).failed_with(1, "output.exists")


def test_dicom_registrations_need_two_series(jrs: Callable, files: Any, deformable: Path, reg: Path, tmp_path: Path) -> None:
    f = files.folder
    jrs("convert", "reg", deformable, "--to", tmp_path / "D.dcm").failed_with(2, "usage.dicom")
    words = ("--fixed", f / "fixed.nii.gz", "--moving", f / "moving-ct", "--to", tmp_path / "D.dcm")
    jrs("convert", "reg", deformable, *words).failed_with(2, "usage.dicom")
    pair = ("--fixed", f / "fixed-ct", "--moving", f / "moving-ct", "--to", tmp_path / "D.dcm")
    jrs("convert", "reg", deformable, *pair, "--kind", "rigid").failed_with(4, "transform.not_linear")
    jrs("convert", "reg", deformable, "--to", tmp_path / "TransformParameters.0.txt").failed_with(4, "transform.not_linear")
    assert not (tmp_path / "D.dcm").exists()


def test_a_field_for_plastimatch(jrs: Callable, files: Any, deformable: Path, tmp_path: Path, requires_tool: Callable) -> None:
    import subprocess

    tool = requires_tool("plastimatch")
    reference = files.folder / "fixed.nii.gz"
    assert jrs("convert", "reg", deformable, "--reference", reference, "--to", tmp_path / "vf.nrrd").code == 0
    words = ["xf-convert", "--input", tmp_path / "vf.nrrd", "--output-type", "vf", "--fixed", reference]
    subprocess.run([tool, *words, "--output", tmp_path / "again.mha"], check=True, capture_output=True, timeout=60)
    original = read_transform(deformable).map_points(LANDMARK)
    np.testing.assert_allclose(read_transform(tmp_path / "again.mha").map_points(LANDMARK), original, atol=0.1)


def test_a_structure_set_becomes_a_segmentation_and_comes_back(
    jrs: Callable, files: Any, tmp_path: Path, assert_valid_dicom: Callable
) -> None:
    f = files.folder
    seg, image = tmp_path / "S.dcm", ("--reference", f / "moving-ct")
    assert jrs("convert", "contours", f / "moving-RS.dcm", *image, "--format", "seg", "--to", seg).code == 0
    assert_valid_dicom(seg)
    truth = read_labels(f / "moving-seg.nii.gz").mask(3)
    masks, _ = read_segmentation(seg)
    assert masks.names == {1: "Ball"}
    assert masks.masks[1].sum() == truth.sum()
    assert jrs("convert", "contours", seg, *image, "--to", tmp_path / "labels.nii.gz").code == 0
    labels = read_labels(tmp_path / "labels.nii.gz")
    assert labels.geometry.matches(files.moving)
    assert (labels.mask(1) == truth).all()
    assert labels.names == {1: "Ball"}
    assert jrs("convert", "contours", seg, *image, "--to", tmp_path / "RS.dcm").code == 0
    assert_valid_dicom(tmp_path / "RS.dcm")
    back = tmp_path / "back.nii.gz"
    assert jrs("convert", "contours", tmp_path / "RS.dcm", *image, "--to", back).code == 0
    assert (read_labels(back).mask(1) == truth).all()


def test_labels_become_a_label_map_object(jrs: Callable, files: Any, tmp_path: Path) -> None:
    f = files.folder
    words = ("--reference", f / "moving-ct", "--format", "seg", "--seg-kind", "labelmap", "--to", tmp_path / "S.dcm")
    said = jrs("convert", "contours", f / "moving-seg.nii.gz", *words)
    assert said.code == 0, said.err
    assert "seg.renumbered" in said.err
    assert read_contours(tmp_path / "S.dcm").mask(1).sum() == read_labels(f / "moving-seg.nii.gz").mask(3).sum()


def test_a_segmentation_without_its_series_or_elsewhere_is_refused(jrs: Callable, files: Any, tmp_path: Path) -> None:
    f = files.folder
    words = ("--format", "seg", "--to", tmp_path / "S.dcm")
    labels = f / "moving-seg.nii.gz"
    jrs("convert", "contours", labels, *words).failed_with(2, "convert.reference")
    jrs("convert", "contours", labels, "--reference", f / "moving.nii.gz", *words).failed_with(2, "convert.reference")
    jrs("convert", "contours", labels, "--reference", f / "fixed-ct", *words).failed_with(4, "geometry.other_grid")
    assert not (tmp_path / "S.dcm").exists()
