"""Geometry: index <-> world, crops and pads, new spacings, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from jrscli.errors import ExitCode, GeometryError
from jrscli.spatial.geometry import Geometry


@given(data=st.data())
def test_world_to_index_undoes_index_to_world(any_geometry, data):
    geometry = data.draw(any_geometry)
    index = np.array([data.draw(st.tuples(*[st.floats(-50, 50)] * 3)) for _ in range(4)])
    assert np.allclose(geometry.world_to_index(geometry.index_to_world(index)), index, atol=1e-8)


def test_index_to_world_agrees_with_itk(geometry):
    image = sitk.Image(geometry.shape, sitk.sitkUInt8)
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm.tolist())
    image.SetDirection(geometry.axes.ravel().tolist())
    index = np.random.default_rng(1).uniform(-3, 15, (20, 3))
    expected = [image.TransformContinuousIndexToPhysicalPoint(i) for i in index.tolist()]
    assert np.abs(geometry.index_to_world(index) - expected).max() < 1e-9


@given(data=st.data())
def test_crop_is_the_grid_of_the_slice(any_geometry, data):
    geometry = data.draw(any_geometry)
    lower = data.draw(st.tuples(*[st.integers(-4, 8)] * 3))
    size = data.draw(st.tuples(*[st.integers(1, 6)] * 3))
    crop = geometry.cropped_to(lower, tuple(a + b for a, b in zip(lower, size, strict=True)))
    index = np.random.default_rng(2).integers(0, 6, (5, 3))
    assert crop.shape == size
    assert np.allclose(crop.index_to_world(index), geometry.index_to_world(index + np.array(lower)), atol=1e-8)


@given(data=st.data())
def test_crop_undoes_pad(any_geometry, data):
    geometry = data.draw(any_geometry)
    pad = data.draw(st.tuples(*[st.integers(0, 5)] * 3))
    upper = tuple(p + n for p, n in zip(pad, geometry.shape, strict=True))
    assert geometry.padded(pad).cropped_to(pad, upper).matches(geometry, atol_mm=1e-8)


@given(data=st.data())
def test_with_spacing_keeps_the_corners_and_is_never_coarser_than_asked(any_geometry, data):
    geometry = data.draw(any_geometry)
    asked = data.draw(st.tuples(*[st.floats(0.5, 6.0)] * 3))
    new = geometry.with_spacing(asked)
    # an axis with some extent keeps both ends; an axis of one voxel keeps its one place and its thickness
    assert np.abs(new.corners_mm - geometry.corners_mm).max() < 1e-6
    for axis in range(3):
        if geometry.shape[axis] == 1:
            assert new.shape[axis] == 1
            assert new.spacing_mm[axis] == pytest.approx(geometry.spacing_mm[axis])
        else:
            assert new.spacing_mm[axis] <= asked[axis] * (1 + 1e-6)


def test_with_the_own_spacing_is_the_same_grid(geometry):
    assert geometry.with_spacing(geometry.spacing_mm).matches(geometry)


def test_contains_the_outer_half_voxel_and_no_more(geometry):
    last = np.array(geometry.shape) - 1.0
    inside = geometry.index_to_world(np.array([[-0.49, 0, 0], last + 0.49]))
    outside = geometry.index_to_world(np.array([[-0.51, 0, 0], last + (0, 0, 0.51)]))
    assert geometry.contains(inside).all()
    assert not geometry.contains(outside).any()


def test_matches_compares_corners_and_shape(geometry):
    nudged = geometry.affine.copy()
    nudged[0, 3] += 5e-4
    assert geometry.matches(Geometry(geometry.shape, nudged))
    # a spacing that is off by 2e-4 mm per voxel adds up along the axis
    stretched = geometry.affine.copy()
    stretched[:3, 0] *= 1 + 4e-4 / geometry.spacing_mm[0]
    assert not geometry.matches(Geometry(geometry.shape, stretched))
    assert not geometry.matches(geometry.padded((0, 0, 1)))


def test_the_arrays_cannot_be_changed_from_outside():
    affine = np.eye(4)
    geometry = Geometry((2, 2, 2), affine)
    affine[0, 3] = 99.0
    assert geometry.origin_mm[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        geometry.affine[0, 0] = 2.0


def test_the_hash_knows_the_grid_and_nothing_else(geometry):
    affine = geometry.affine.copy()
    assert Geometry(geometry.shape, affine + 1e-9).sha256 == Geometry(geometry.shape, affine).sha256
    expected = geometry.sha256
    with np.printoptions(precision=1, floatmode="fixed"):
        assert Geometry(geometry.shape, affine).sha256 == expected
    affine[0, 3] += 0.01
    assert Geometry(geometry.shape, affine).sha256 != geometry.sha256
    assert geometry.padded((1, 0, 0)).sha256 != geometry.sha256


def test_the_hash_does_not_see_the_sign_of_zero():
    affine = np.eye(4)
    affine[0, 1] = -0.0
    affine[1, 3] = -1e-7
    assert Geometry((2, 2, 2), affine).sha256 == Geometry((2, 2, 2), np.eye(4)).sha256


def _with(entry: tuple[int, int], value: float) -> np.ndarray:
    affine = np.eye(4)
    affine[entry] = value
    return affine


@pytest.mark.parametrize(
    ("shape", "affine", "code"),
    [
        ((2, 2), np.eye(4), "geometry.shape"),
        ((2, 0, 2), np.eye(4), "geometry.shape"),
        ((2, 2, 2), np.eye(3), "geometry.affine"),
        ((2, 2, 2), _with((0, 3), np.nan), "geometry.affine"),
        ((2, 2, 2), _with((3, 0), 1.0), "geometry.affine"),
        ((2, 2, 2), _with((1, 1), 0.0), "geometry.affine"),
        ((2, 2, 2), _with((0, 1), 0.25), "geometry.shear"),
    ],
)
def test_what_is_no_grid_is_refused(shape, affine, code):
    with pytest.raises(GeometryError) as caught:
        Geometry(shape, affine)
    assert caught.value.code == code
    assert caught.value.exit_code == ExitCode.INPUT
    assert caught.value.hint


def test_a_rounded_direction_matrix_is_still_a_grid():
    assert Geometry((2, 2, 2), _with((0, 1), 5e-4)).shape == (2, 2, 2)


def test_the_voxel_volume_is_the_determinant(geometry):
    assert geometry.voxel_volume_mm3 == pytest.approx(abs(np.linalg.det(geometry.affine[:3, :3])))


def test_oriented_axes_point_where_the_letters_say_and_hold_the_same_voxels(geometry):
    turned = geometry.oriented("SAL")
    assert (turned.axes[2, 0], -turned.axes[1, 1], turned.axes[0, 2]) > (0.5, 0.5, 0.5)
    assert sorted(turned.shape) == sorted(geometry.shape)
    assert np.allclose(sorted(turned.corners_mm.tolist()), sorted(geometry.corners_mm.tolist()))


@pytest.mark.parametrize("letters", ["RLS", "RA", "RASS"])
def test_letters_that_are_no_three_axes_are_refused(letters):
    with pytest.raises(ValueError, match="three axes"):
        Geometry((2, 2, 2), np.eye(4)).oriented(letters)
