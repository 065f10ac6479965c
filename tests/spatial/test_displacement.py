"""DisplacementField: agreement with ITK on every grid, conversion, inversion, Jacobian."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

import jrscli.spatial.displacement as displacement_module
from jrscli.errors import GeometryError, InputError
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.itk import image_from_array
from jrscli.spatial.resample import resample
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume


def random_field(geometry: Geometry, peak_mm: float, seed: int = 0, margin: int = 2) -> DisplacementField:
    """A smooth field whose longest vector has this length, fading to zero in the outer ``margin`` voxels."""
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=(*geometry.shape, 3)), (2, 2, 2, 0))
    for axis, n in enumerate(geometry.shape):
        if margin and n > 2 * margin:
            ramp = np.clip((np.arange(n) - margin + 1) / (0.3 * n), 0, 1)
            window = np.sin(np.pi / 2 * np.minimum(ramp, ramp[::-1])) ** 2
            smooth *= window.reshape([n if a == axis else 1 for a in range(4)])
    return DisplacementField(smooth * (peak_mm / np.linalg.norm(smooth, axis=-1).max()), geometry)


def nodes_of(geometry: Geometry) -> np.ndarray:
    """All voxel centres, LPS mm."""
    return geometry.index_to_world(np.indices(geometry.shape).reshape(3, -1).T)


def linear_field(geometry: Geometry, linear: np.ndarray) -> DisplacementField:
    """u(x) = (linear − I)(x − centre)."""
    points = nodes_of(geometry)
    u = (points - geometry.centre_mm) @ (linear - np.eye(3)).T
    return DisplacementField(u.reshape(*geometry.shape, 3), geometry)


def test_a_field_of_whole_voxels_is_a_shift_without_error(geometry):
    image = Volume(np.random.default_rng(0).normal(size=geometry.shape).astype(np.float32), geometry)
    shift = np.array([2, -1, 3])
    field = DisplacementField.from_voxels(np.broadcast_to(shift, (*geometry.shape, 3)).astype(np.float64), geometry)
    moved = resample(image, geometry, Transform((field,))).array
    # moved[i] = moving[i + shift] wherever that lies inside
    assert np.abs(moved[:-2, 1:, :-3] - image.array[2:, :-1, 3:]).max() < 1e-5


def test_points_go_where_itk_sends_them(geometry):
    field = random_field(geometry, peak_mm=4.0, margin=0)
    itk = sitk.DisplacementFieldTransform(image_from_array(field.array.astype(np.float64), geometry))
    # inside, in the outer half voxel, and beyond the grid
    index = np.random.default_rng(1).uniform(-2, np.array(geometry.shape) + 1.0, (300, 3))
    points = geometry.index_to_world(index)
    expected = np.array([itk.TransformPoint(p) for p in points.tolist()])
    assert 0.1 < geometry.contains(points).mean() < 0.9
    assert np.abs(field.map_points(points) - expected).max() < 1e-6


@pytest.mark.parametrize("seed", [1, 2])
def test_a_warp_pulls_from_where_the_field_points(geometry, blob, seed):
    field = random_field(geometry, peak_mm=2.5, seed=seed)
    image = blob(geometry)
    moved = resample(image, geometry, Transform((field,))).array
    index = geometry.world_to_index(field.map_points(nodes_of(geometry)))
    inside = ((index >= 0) & (index <= np.array(geometry.shape) - 1)).all(axis=1)
    low = np.clip(np.floor(index).astype(int), 0, np.array(geometry.shape) - 2)
    part = index - low
    expected = np.zeros(len(index))
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(np.array(corner), part, 1 - part).prod(axis=1)
        expected += weight * image.array[tuple((low + corner).T)]
    assert inside.mean() > 0.5
    assert np.abs(moved.ravel() - expected)[inside].max() < 2e-4 * 1000


def test_voxels_and_millimetres(geometry):
    voxels = np.random.default_rng(4).normal(size=(*geometry.shape, 3))
    field = DisplacementField.from_voxels(voxels, geometry)
    assert np.allclose(field.to_voxels(), voxels, atol=1e-12)
    start = np.array([[5.0, 4.0, 6.0]])
    moved = geometry.world_to_index(field.map_points(geometry.index_to_world(start)))
    assert np.allclose(moved, start + voxels[5, 4, 6], atol=1e-9)


@settings(max_examples=15)
@given(data=st.data())
def test_the_inverse_composes_to_the_identity(any_geometry, data):
    geometry = Geometry((20, 18, 16), data.draw(any_geometry).affine)
    field = random_field(geometry, peak_mm=0.8 * min(geometry.spacing_mm), seed=data.draw(st.integers(0, 99)), margin=3)
    inverse = field.inverse(tolerance_mm=1e-4)
    # exact at the nodes of the inverse; between them both fields are linear, which costs some hundredths of a voxel
    nodes = nodes_of(geometry)
    assert np.abs(field.map_points(inverse.map_points(nodes)) - nodes).max() < 1e-3
    there_and_back = np.linalg.norm(inverse.map_points(field.map_points(nodes)) - nodes, axis=1)
    assert np.percentile(there_and_back, 95) < 0.06 * min(geometry.spacing_mm)
    assert there_and_back.max() < 0.4 * min(geometry.spacing_mm)


@pytest.mark.parametrize("stretch", [0.2, 2, 4, 6])
def test_the_inverse_of_a_strong_stretch(geometry, stretch):
    """Fold-free, with derivatives far from zero: at 4 and 6 the plain fixed-point iteration runs away."""
    grid = Geometry((40, 3, 3), geometry.affine)
    slope = 1 + (stretch - 1) * np.exp(-((np.linspace(-1, 1, 39) / 0.25) ** 2))
    mapped = np.concatenate([[0], np.cumsum(slope)]) * 39 / slope.sum()
    voxels = np.zeros((*grid.shape, 3))
    voxels[..., 0] = (mapped - np.arange(40))[:, None, None]
    field = DisplacementField.from_voxels(voxels, grid)
    assert field.jacobian().min() > 0.1
    inverse = field.inverse(iterations=100, tolerance_mm=1e-3)
    nodes = nodes_of(grid)
    assert np.abs(field.map_points(inverse.map_points(nodes)) - nodes).max() < 0.01


def test_the_zero_field_moves_nothing(geometry):
    zero = DisplacementField.zeros(geometry)
    points = geometry.corners_mm
    assert np.array_equal(zero.map_points(points), points)
    assert np.array_equal(zero.jacobian(), np.ones(geometry.shape))
    assert np.array_equal(zero.inverse().array, zero.array)


@pytest.mark.parametrize(
    "linear", [np.diag([1.2, 0.9, 1.1]), np.array([[1.0, 0.3, 0], [-0.2, 1.1, 0.1], [0, 0.4, 0.8]]), -np.eye(3)]
)
def test_the_jacobian_of_a_linear_map_is_its_determinant(geometry, linear):
    assert np.allclose(linear_field(geometry, linear).jacobian(), np.linalg.det(linear), atol=1e-9)


def test_the_jacobian_agrees_with_itk_inside(geometry):
    field = random_field(geometry, peak_mm=3.0)
    # ITK differentiates along the array's axes and knows no directions: give it the components along those axes
    turned = field.array @ geometry.axes
    image = sitk.GetImageFromArray(np.ascontiguousarray(turned.transpose(2, 1, 0, 3)), isVector=True)
    image.SetSpacing(geometry.spacing_mm)
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image)).transpose(2, 1, 0)
    inside = (slice(1, -1),) * 3
    assert np.abs(field.jacobian()[inside] - expected[inside]).max() < 1e-5


@pytest.mark.parametrize("voxels", [1, 3 * 14 * 12])
def test_jacobian_and_inverse_are_the_same_slab_by_slab(oblique, monkeypatch, voxels):
    field = random_field(oblique, peak_mm=1.0)
    jacobian, inverse = field.jacobian(), field.inverse().array
    monkeypatch.setattr(displacement_module, "SLAB_VOXELS", voxels)
    assert np.array_equal(field.jacobian(), jacobian)
    assert np.array_equal(field.inverse().array, inverse)


def test_a_field_one_voxel_thick():
    flat = Geometry((9, 8, 1), np.diag([1.0, 2.0, 5.0, 1.0]))
    field = linear_field(flat, np.diag([1.1, 0.9, 1.0]))
    assert np.allclose(field.jacobian(), 0.99)
    assert np.abs(random_field(flat, 0.5, margin=1).inverse().array).max() > 0.1


def test_what_is_no_field_is_refused(oblique):
    with pytest.raises(GeometryError) as caught:
        DisplacementField(np.zeros(oblique.shape), oblique)
    assert caught.value.code == "field.shape"
    with pytest.raises(GeometryError) as caught:
        DisplacementField(np.zeros((3, 3, 3, 3)), oblique)
    assert caught.value.code == "geometry.shape"
    with pytest.raises(InputError) as caught:
        DisplacementField(np.full((*oblique.shape, 3), np.nan), oblique)
    assert caught.value.code == "field.values"


def test_the_field_is_read_only(oblique):
    field = DisplacementField.zeros(oblique)
    with pytest.raises(ValueError, match="read-only"):
        field.array[0, 0, 0, 0] = 1.0
