"""DICOM objects beside the results of commands: read as a start, written on request, free of validator errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from jrscli.io import read_image, read_labels
from jrscli.io.dose import Dose, read_dose, write_dose
from jrscli.io.registration_object import read_registration
from jrscli.io.registration_object_write import write_deformable, write_rigid
from jrscli.io.segmentation_object import read_segmentation
from jrscli.io.transforms import write_transform
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

SHIFT_MM = np.array([6.0, -4.0, 3.0])
CENTRE_MM = np.array([[27.0, 23.0, 22.0]])
COUCH = AffineTransform.about(np.eye(3), np.zeros(3), np.array([7.0, -3.0, 5.0]))


@pytest.fixture
def series(files: Any) -> list[Any]:
    return [read_image(files.folder / name).series for name in ("fixed-ct", "moving-ct")]


@pytest.fixture
def pair(files: Any) -> tuple[Path, Path]:
    return files.folder / "fixed-ct", files.folder / "moving-ct"


@pytest.fixture
def dose(files: Any, series: list[Any], tmp_path: Path) -> Path:
    """A dose on the moving image: one hot voxel round the ball's centre there."""
    values = np.zeros(files.moving.shape, np.float32)
    hot = files.moving.world_to_index(CENTRE_MM + SHIFT_MM).round().astype(int)[0]
    values[hot[0] - 1 : hot[0] + 2, hot[1] - 1 : hot[1] + 2, hot[2] - 1 : hot[2] + 2] = 50.0
    kept, plan = Dataset(), Dataset()
    kept.DoseType, kept.DoseSummationType, kept.ReferencedRTPlanSequence = "PHYSICAL", "PLAN", [plan]
    plan.ReferencedSOPClassUID, plan.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.3.4"
    given = Dose(Volume(values, files.moving), "GY", "", kept)
    write_dose(given.volume, given, series[1], tmp_path / "dose.dcm")
    return tmp_path / "dose.dcm"


def hottest(volume: Volume) -> np.ndarray:
    weights = volume.array / volume.array.sum()
    index = np.indices(volume.geometry.shape).reshape(3, -1) @ weights.ravel()
    return volume.geometry.index_to_world(index[None])[0]


def test_a_couch_shift_is_the_start(jrs: Callable, pair: tuple, series: list[Any], optimiser: Any, tmp_path: Path) -> None:
    write_rigid(COUCH, *series, tmp_path / "REG.dcm")
    said = jrs("register", *pair, "--reg", tmp_path / "REG.dcm", "-o", tmp_path / "out")
    assert said.code == 0, said.err
    np.testing.assert_allclose(optimiser.calls[0]["init"].matrix, COUCH.matrix, atol=1e-6)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["options"]["init"] == "reg"
    # the same object serves with the images the other way round
    assert jrs("register", *pair[::-1], "--reg", tmp_path / "REG.dcm", "-o", tmp_path / "back").code == 0
    np.testing.assert_allclose(optimiser.calls[1]["init"].matrix, COUCH.inverse().matrix, atol=1e-6)


def test_images_without_frames_take_the_registered_one_for_fixed(
    jrs: Callable, files: Any, series: list[Any], optimiser: Any, tmp_path: Path
) -> None:
    write_rigid(COUCH, *series, tmp_path / "REG.dcm")
    f = files.folder
    said = jrs("register", f / "fixed.nii.gz", f / "moving.nii.gz", "--reg", tmp_path / "REG.dcm", "-o", tmp_path / "out")
    assert said.code == 0
    assert "[reg.frames]" in said.err
    np.testing.assert_allclose(optimiser.calls[0]["init"].matrix, COUCH.matrix, atol=1e-6)


def test_starts_that_cannot_be(jrs: Callable, files: Any, pair: tuple, series: list[Any], tmp_path: Path) -> None:
    write_rigid(COUCH, *series, tmp_path / "REG.dcm")
    write_deformable(DisplacementField.zeros(files.fixed), *series, tmp_path / "DREG.dcm")
    jrs("register", *pair, "--reg", tmp_path / "REG.dcm", "--init", "centers").failed_with(2, "usage.combination")
    jrs("register", *pair, "--reg", tmp_path / "DREG.dcm").failed_with(4, "reg.deformable")
    jrs("register", *pair, "--reg", files.folder / "fixed-RS.dcm").failed_with(4, "reg.unreadable")
    jrs("register", pair[0], pair[0], "--reg", tmp_path / "REG.dcm").failed_with(4, "reg.many")


@pytest.mark.parametrize("kind", ["rigid", "deformable"])
def test_a_registration_object_says_what_the_transform_says(
    kind: str, jrs: Callable, pair: tuple, optimiser: Any, tmp_path: Path, assert_valid_dicom: Callable
) -> None:
    said = jrs("register", *pair, "--write-reg", kind, "-o", tmp_path / "out")
    assert said.code == 0, said.err
    found = said.paths["reg"]
    assert found.name == "REG_moving-to-fixed.dcm"
    assert_valid_dicom(found)
    np.testing.assert_allclose(read_registration(found).between().map_points(CENTRE_MM), CENTRE_MM + SHIFT_MM, atol=1e-4)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["options"]["write_reg"] == kind
    assert record["registration_object"]["kind"] == kind
    if kind == "deformable":
        assert record["registration_object"]["max_error_mm"] <= 0.1
        assert "errs by at most" in said.err


def test_a_failed_registration_is_marked_in_the_object(
    jrs: Callable, pair: tuple, optimiser: Any, tmp_path: Path, assert_valid_dicom: Callable
) -> None:
    optimiser.failed = "similarity is low"
    jrs("register", *pair, "--write-reg", "rigid", "-o", tmp_path / "out").failed_with(3, "register.failed")
    assert "FAILED" in pydicom.dcmread(tmp_path / "out" / "REG_moving-to-fixed.dcm").ContentDescription
    assert_valid_dicom(tmp_path / "out" / "REG_moving-to-fixed.dcm")


def test_what_needs_dicom_is_refused_before_anything_is_computed(
    jrs: Callable, files: Any, pair: tuple, optimiser: Any, tmp_path: Path
) -> None:
    f = files.folder
    jrs("register", f / "fixed.nii.gz", pair[1], "--write-reg", "rigid").failed_with(2, "usage.dicom")
    words = ("register", f / "fixed.nii.gz", pair[1], "--write-seg", "--moving-labels", f / "moving-seg.nii.gz")
    jrs(*words).failed_with(2, "usage.dicom")
    jrs("register", *pair, "--write-seg").failed_with(2, "usage.combination")
    atlas = ("--atlas", f / "moving.nii.gz", "--atlas-labels", f / "moving-seg.nii.gz")
    jrs("segment", f / "fixed.nii.gz", *atlas, "--write-seg").failed_with(2, "usage.dicom")
    assert not optimiser.calls


@pytest.mark.parametrize("command", ["register", "segment", "propagate-contours"])
def test_labels_become_a_segmentation_of_the_fixed_series(
    command: str, jrs: Callable, files: Any, pair: tuple, optimiser: Any, tmp_path: Path, assert_valid_dicom: Callable
) -> None:
    f = files.folder
    words = {
        "register": (*pair, "--moving-labels", f / "moving-seg.nii.gz"),
        "segment": (pair[0], "--atlas", f / "moving.nii.gz", "--atlas-labels", f / "moving-seg.nii.gz"),
        "propagate-contours": (pair[1], f / "moving-RS.dcm", pair[0]),
    }[command]
    said = jrs(command, *words, "--write-seg", "-o", tmp_path / "out")
    assert said.code == 0, said.err
    assert said.paths["seg"].name == "SEG_space-fixed.dcm"
    assert_valid_dicom(said.paths["seg"])
    assert pydicom.dcmread(said.paths["seg"]).FrameOfReferenceUID == read_image(pair[0]).series.frame_of_reference_uid
    masks, _ = read_segmentation(said.paths["seg"])
    assert list(masks.names.values()) == ["Ball"]
    truth = read_labels(f / "fixed-seg.nii.gz").mask(3)
    found = masks.geometry.index_to_world(np.argwhere(masks.masks[1])).mean(axis=0)
    np.testing.assert_allclose(found, files.fixed.index_to_world(np.argwhere(truth)).mean(axis=0), atol=0.5)
    assert masks.masks[1].sum() == pytest.approx(truth.sum(), rel=0.1)


def test_propagation_starts_from_the_couch_and_takes_dose_and_registration_along(
    jrs: Callable, files: Any, pair: tuple, series: list[Any], dose: Path, optimiser: Any, tmp_path: Path
) -> None:
    write_rigid(COUCH, *series, tmp_path / "REG.dcm")
    words = (pair[1], files.folder / "moving-RS.dcm", pair[0], "--reg", tmp_path / "REG.dcm", "--dose", dose)
    said = jrs("propagate-contours", *words, "--write-reg", "deformable", "-o", tmp_path / "out")
    assert said.code == 0, said.err
    np.testing.assert_allclose(optimiser.calls[0]["init"].matrix, COUCH.matrix, atol=1e-6)
    assert {"rtstruct", "reg", "dose"} <= set(said.paths)
    np.testing.assert_allclose(hottest(read_dose(said.paths["dose"]).volume), CENTRE_MM[0], atol=1.0)


@pytest.mark.parametrize("reference", ["fixed-ct", "fixed.nii.gz"])
def test_dose_is_warped_with_the_frame_of_the_reference(
    reference: str, jrs: Callable, files: Any, dose: Path, tmp_path: Path, assert_valid_dicom: Callable
) -> None:
    write_transform(Transform((AffineTransform.about(np.eye(3), np.zeros(3), SHIFT_MM),)), tmp_path / "x.h5")
    words = ("--xfm", tmp_path / "x.h5", "--reference", files.folder / reference, "-o", tmp_path / "out")
    said = jrs("warp", dose, *words)
    assert said.code == 0, said.err
    assert "point by point" in said.err
    path = said.paths["dose"]
    moved = read_dose(path).volume if path.suffix == ".dcm" else read_image(path).volume
    np.testing.assert_allclose(hottest(moved), CENTRE_MM[0], atol=1.0)
    (told,) = json.loads((tmp_path / "out" / "run.json").read_text())["doses"]
    assert told["method"] == "point-wise dose transfer"
    outside = ~files.moving.contains(moved.geometry.index_to_world(np.argwhere(np.ones(moved.geometry.shape))) + SHIFT_MM)
    assert told["outside_voxels"] == pytest.approx(outside.sum(), abs=2)
    assert 0 < told["outside_percent"] < 100
    if path.suffix == ".dcm":
        assert path.name == "dose_space-fixed.dcm"
        assert_valid_dicom(path)
        written = pydicom.dcmread(path)
        assert written.FrameOfReferenceUID == read_image(files.folder / "fixed-ct").series.frame_of_reference_uid
        assert written.SpatialTransformOfDose == "RIGID"


def test_a_dicom_registration_moves_images_by_itself(jrs: Callable, files: Any, series: list[Any], tmp_path: Path) -> None:
    write_rigid(AffineTransform.about(np.eye(3), np.zeros(3), SHIFT_MM), *series, tmp_path / "REG.dcm")
    words = ("--xfm", tmp_path / "REG.dcm", "--reference", files.folder / "fixed-ct", "-o", tmp_path / "out")
    said = jrs("warp", files.folder / "moving.nii.gz", *words)
    ball = read_image(said.paths["image"]).volume
    found = ball.geometry.index_to_world(np.argwhere(ball.array > 150)).mean(axis=0)
    np.testing.assert_allclose(found, CENTRE_MM[0], atol=0.8)


def test_a_dose_of_no_plan_comes_out_as_nifti(jrs: Callable, files: Any, dose: Path, tmp_path: Path) -> None:
    given = pydicom.dcmread(dose)
    del given.ReferencedRTPlanSequence
    given.save_as(dose)
    write_transform(Transform((AffineTransform.about(np.eye(3), np.zeros(3), SHIFT_MM),)), tmp_path / "x.h5")
    said = jrs("warp", dose, "--xfm", tmp_path / "x.h5", "--reference", files.folder / "fixed-ct", "-o", tmp_path / "out")
    assert said.code == 0, said.err
    assert "names no plan" in said.err
    assert said.paths["dose"].name.endswith(".nii.gz")
    np.testing.assert_allclose(hottest(read_image(said.paths["dose"]).volume), CENTRE_MM[0], atol=1.0)
