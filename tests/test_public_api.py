"""The public names, and the four jobs on Volumes and on paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jrscli

PUBLIC = {
    "AffineTransform", "Contour", "DisplacementField", "ExitCode", "Geometry", "JrsError", "LabelMap", "Roi", "StructureSet",
    "Transform", "Volume", "evaluate", "propagate", "read_contours", "read_image", "read_labels", "register", "segment",
    "write_image", "write_labels",
}  # fmt: skip


def test_public_names() -> None:
    assert set(jrscli.__all__) == PUBLIC
    assert all(callable(getattr(jrscli, name)) for name in PUBLIC)
    assert set(dir(jrscli)) == PUBLIC | {"__version__"}


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'deform'"):
        _ = jrscli.deform  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def pair() -> tuple[jrscli.Volume, jrscli.LabelMap, jrscli.Volume, jrscli.LabelMap]:
    """Two ellipsoids with a core, the second 3 mm along and a little larger."""
    geometry = jrscli.Geometry((24, 24, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
    i, j, k = np.indices(geometry.shape) * 2.0
    images = []
    for shift, size in ((0.0, 1.0), (3.0, 1.15)):
        distance = ((i - 24 - shift) / (14 * size)) ** 2 + ((j - 24) / (12 * size)) ** 2 + ((k - 20) / (10 * size)) ** 2
        grey = 60.0 * (distance < 1) + 60.0 * (distance < 0.3) + 0.2 * np.hypot(i, j)
        images += [jrscli.Volume(grey.astype(np.float32), geometry), jrscli.LabelMap(distance < 1, geometry, {1: "body"})]
    return images[0], images[1], images[2], images[3]  # type: ignore[return-value]


def test_register_on_volumes_moves_the_image(pair) -> None:
    fixed, _fixed_labels, moving, _moving_labels = pair
    registration = jrscli.register(fixed, moving, preset="fast")
    assert registration.failed is None
    warped = registration.warp(moving, fixed.geometry)
    inside = np.s_[4:-4, 4:-4, 4:-4]
    before = np.abs(moving.array - fixed.array)[inside].mean()
    assert np.abs(warped.array - fixed.array)[inside].mean() < 0.4 * before


def test_propagate_and_evaluate_on_volumes(pair) -> None:
    fixed, fixed_labels, moving, moving_labels = pair
    propagation = jrscli.propagate(moving, moving_labels, fixed, preset="fast")
    assert propagation.labels is not None
    after = jrscli.evaluate(fixed_labels, propagation.labels).mean("dice.v1")
    before = jrscli.evaluate(fixed_labels, moving_labels).mean("dice.v1")
    assert after is not None
    assert before is not None
    assert after > 0.95 > before + 0.05


def test_register_and_segment_on_paths(pair, tmp_path: Path) -> None:
    fixed, fixed_labels, moving, moving_labels = pair
    jrscli.write_image(fixed, tmp_path / "fixed.nii.gz")
    jrscli.write_image(moving, tmp_path / "moving.nii.gz")
    jrscli.write_labels(moving_labels, tmp_path / "labels.nii.gz")
    atlas = (tmp_path / "moving.nii.gz", tmp_path / "labels.nii.gz")
    segmentation = jrscli.segment(tmp_path / "fixed.nii.gz", [atlas], preset="fast")
    dice = jrscli.evaluate(fixed_labels, segmentation.labels).mean("dice.v1")
    assert dice is not None
    assert dice > 0.95


def test_missing_path_is_one_of_our_errors(tmp_path: Path) -> None:
    with pytest.raises(jrscli.JrsError) as caught:
        jrscli.register(tmp_path / "none.nii.gz", tmp_path / "none.nii.gz")
    assert caught.value.exit_code == jrscli.ExitCode.INPUT


def test_a_model_serves_the_python_api_too(pair, make_model, tmp_path) -> None:
    """By the path of its card, or loaded once for many pairs."""
    from jrscli.errors import ModelError
    from jrscli.runtime.predict import Predictor
    from jrscli.runtime.store import read_model

    card = make_model(tmp_path, shift=(0.0, 0.0, 0.0))
    one, labels, other, _ = pair
    found = jrscli.register(one, other, model=card, refine=0, init="header")
    assert found.model == "tiny@1.0"
    predictor = Predictor(read_model(card), device="cpu")
    assert jrscli.register(one, other, model=predictor, refine=0).model == "tiny@1.0"
    assert jrscli.segment(one, model=predictor).labels.numbers() == [1, 2]
    carried = jrscli.propagate(one, labels, one, model=predictor, refine=0)
    assert carried.registration.model == "tiny@1.0"
    with pytest.raises(ModelError) as caught:
        jrscli.segment(one, model="none")
    assert caught.value.code == "model.none"
