"""Resampling: images and labels onto other grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample, resample_labels, resample_smoothed
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume


def _ramp(geometry: Geometry) -> Volume:
    """A linear image: its value is a plane through world space, so linear interpolation makes no error."""
    points = geometry.index_to_world(np.indices(geometry.shape).reshape(3, -1).T)
    return Volume((points @ (1.0, -2.0, 0.5)).reshape(geometry.shape), geometry)


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "bspline"])
def test_onto_its_own_grid_an_image_stays(geometry, blob, interpolation):
    image = blob(geometry)
    assert np.abs(resample(image, geometry, interpolation=interpolation).array - image.array).max() < 1e-3


def test_a_linear_image_is_resampled_without_error_onto_any_grid(geometry, oblique):
    source = _ramp(Geometry((40, 40, 40), np.diag([4.0, 4.0, 4.0, 1.0]) + _origin(-100, -60, 80)))
    moved = resample(source, geometry)
    assert np.allclose(moved.array, _ramp(geometry).array, atol=1e-3)
    assert moved.array.dtype == np.float32


def _origin(x: float, y: float, z: float) -> np.ndarray:
    matrix = np.zeros((4, 4))
    matrix[:3, 3] = (x, y, z)
    return matrix


@given(lower=st.tuples(*[st.integers(-3, 6)] * 3), size=st.tuples(*[st.integers(1, 6)] * 3))
def test_onto_a_cropped_grid_is_the_slice(oblique, lower, size):
    array = np.random.default_rng(0).integers(-1000, 3000, oblique.shape).astype(np.int16)
    crop = oblique.cropped_to(lower, tuple(a + n for a, n in zip(lower, size, strict=True)))
    moved = resample(Volume(array, oblique), crop, interpolation="nearest", outside=-1024).array
    padded = np.pad(array, 16, constant_values=-1024)
    expected = padded[tuple(slice(16 + a, 16 + a + n) for a, n in zip(lower, size, strict=True))]
    assert moved.dtype == np.int16
    assert np.array_equal(moved, expected)


def test_beyond_the_image_is_its_minimum_unless_told(oblique):
    image = Volume(np.full(oblique.shape, 7.0, np.float32) + np.eye(14, 12)[:, :, None].astype(np.float32), oblique)
    away = Transform((AffineTransform.about(np.eye(3), np.zeros(3), np.array([500.0, 0.0, 0.0])),))
    assert (resample(image, oblique, away).array == 7.0).all()
    assert (resample(image, oblique, away, outside=-3.0).array == -3.0).all()


def test_a_shift_pulls(oblique):
    """out(x) = image(x + t): content moves against t."""
    image = Volume(np.pad(np.ones((1, 1, 1), np.float32), ((6, 7), (5, 6), (4, 5))), oblique)
    step = oblique.affine[:3, 0]
    moved = resample(image, oblique, Transform((AffineTransform.about(np.eye(3), np.zeros(3), step),)))
    assert np.argwhere(moved.array > 0.5).tolist() == [[5, 5, 4]]


@settings(max_examples=20)
@given(numbers=st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=6, unique=True))
def test_labels_of_any_size_survive(oblique, numbers):
    rng = np.random.default_rng(0)
    array = rng.choice(np.array([0, *numbers], np.uint32), oblique.shape)
    finer = oblique.with_spacing((0.45, 0.7, 1.0))
    labels = LabelMap(array, oblique, {numbers[0]: "first"})
    moved = resample_labels(labels, finer)
    assert moved.array.dtype == np.uint32
    assert set(moved.numbers()) == set(labels.numbers())
    assert moved.names == labels.names
    assert np.array_equal(resample_labels(moved, oblique).array, array)


def test_neighbouring_labels_above_2_to_24_stay_apart(oblique):
    array = np.full(oblique.shape, 2**24, np.uint32)
    array[3, 3, 3] = 2**24 + 1  # equal to its neighbour in float32
    assert resample_labels(LabelMap(array, oblique), oblique).mask(2**24 + 1).sum() == 1


def test_outside_a_label_map_is_background(oblique):
    labels = LabelMap(np.full(oblique.shape, 5, np.uint32), oblique)
    assert resample_labels(labels, oblique.padded((1, 1, 1))).mask(5).sum() == np.prod(oblique.shape)


def test_smoothing_keeps_a_flat_image_flat(geometry):
    flat = Volume(np.full(geometry.shape, 40.0, np.float32), geometry)
    coarse = geometry.with_spacing(tuple(3 * s for s in geometry.spacing_mm))
    assert np.allclose(resample_smoothed(flat, coarse).array, 40.0, atol=1e-3)


def test_fine_stripes_do_not_alias():
    fine = Geometry((64, 16, 16), np.eye(4))
    stripes = np.zeros(fine.shape, np.float32)
    stripes[::3] = 300.0  # mean 100, period 3 mm, looked at every 4 mm
    image = Volume(stripes, fine)
    coarse = fine.with_spacing((4.0, 4.0, 4.0))
    assert np.abs(resample(image, coarse).array[2:-2] - 100).max() > 90
    assert np.abs(resample_smoothed(image, coarse).array[2:-2] - 100).max() < 10


def test_smoothing_does_not_shift(blob, geometry):
    """The centre of mass of a blob stays where it is, on every grid."""
    image = blob(geometry)
    coarse = geometry.with_spacing(tuple(1.9 * s for s in geometry.spacing_mm))
    centres = []
    for volume in (image, resample_smoothed(image, coarse)):
        points = volume.geometry.index_to_world(np.indices(volume.array.shape).reshape(3, -1).T)
        weight = volume.array.ravel().astype(np.float64)
        centres.append(weight @ points / weight.sum())
    assert np.linalg.norm((centres[0] - centres[1]) / max(geometry.spacing_mm)) < 0.25
