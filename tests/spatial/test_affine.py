"""AffineTransform: algebra of the maps, agreement with ITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jrscli.errors import GeometryError
from jrscli.spatial.affine import AffineTransform

POINTS = np.random.default_rng(3).uniform(-200, 200, (10, 3))


def _affine(numbers: np.ndarray) -> AffineTransform:
    matrix = np.eye(4)
    matrix[:3, :3] += 0.25 * numbers[:, :3]  # rows of absolute sum < 1: always invertible
    matrix[:3, 3] = 50 * numbers[:, 3]
    return AffineTransform(matrix)


affines = arrays(np.float64, (3, 4), elements=st.floats(-1, 1)).map(_affine)


@given(affines)
def test_the_inverse_undoes_the_map(affine):
    assert np.allclose(affine.inverse().map_points(affine.map_points(POINTS)), POINTS, atol=1e-6)


@given(affines, affines)
def test_then_applies_this_map_first(first, second):
    assert np.allclose(first.then(second).map_points(POINTS), second.map_points(first.map_points(POINTS)), atol=1e-8)


@given(affines, affines, affines)
def test_then_is_associative(a, b, c):
    assert np.allclose(a.then(b).then(c).matrix, a.then(b.then(c)).matrix, atol=1e-9)


@given(affines)
def test_points_go_where_itk_sends_them(affine):
    itk = sitk.AffineTransform(3)
    itk.SetMatrix(affine.matrix[:3, :3].ravel().tolist())
    itk.SetTranslation(affine.matrix[:3, 3].tolist())
    assert np.allclose(affine.map_points(POINTS), [itk.TransformPoint(p) for p in POINTS.tolist()], atol=1e-9)


def test_identity_moves_nothing():
    assert np.array_equal(AffineTransform.identity().map_points(POINTS), POINTS)


@pytest.mark.parametrize("degrees", [0.0, 3.0, 90.0, 179.0])
def test_a_rotation_about_an_off_centre_point(degrees):
    euler = sitk.Euler3DTransform((10.0, -40.0, 77.0), 0.0, 0.0, np.radians(degrees), (1.0, 2.0, 3.0))
    linear = np.array(euler.GetMatrix()).reshape(3, 3)
    affine = AffineTransform.about(linear, np.array([10.0, -40.0, 77.0]), np.array([1.0, 2.0, 3.0]))
    assert np.allclose(affine.map_points(POINTS), [euler.TransformPoint(p) for p in POINTS.tolist()], atol=1e-9)
    assert affine.map_points(np.array([[10.0, -40.0, 77.0]])) == pytest.approx(np.array([[11.0, -38.0, 80.0]]))
    assert affine.rotation_deg() == pytest.approx(degrees, abs=1e-5)
    assert affine.is_rigid()


@pytest.mark.parametrize("linear", [np.diag([1.01, 1, 1]), np.diag([-1.0, 1, 1])])
def test_a_zoom_and_a_mirror_are_not_rigid(linear):
    assert not AffineTransform.about(linear, np.zeros(3), np.zeros(3)).is_rigid()


@pytest.mark.parametrize("matrix", [np.eye(3), np.full((4, 4), np.nan), np.diag([1.0, 1, 0, 1]), np.diag([1.0, 1, 1, 2])])
def test_what_is_no_invertible_affine_map_is_refused(matrix):
    with pytest.raises(GeometryError) as caught:
        AffineTransform(matrix)
    assert caught.value.code == "transform.matrix"


def test_the_matrix_cannot_be_changed_from_outside():
    matrix = np.eye(4)
    affine = AffineTransform(matrix)
    matrix[0, 3] = 5.0
    assert affine.matrix[0, 3] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 3] = 5.0
