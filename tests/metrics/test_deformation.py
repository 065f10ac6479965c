"""Jacobian, folding, smoothness, inverse consistency."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from jrscli.errors import GeometryError
from jrscli.metrics.deformation import (
    inner_voxels,
    inverse_consistency,
    jacobian_values,
    ndv,
    neg_jac,
    sdlogj,
    transitivity,
    worse_of,
)
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.itk import array_from_image, image_from_array
from jrscli.spatial.transform import Transform

SHAPE = (12, 10, 8)
GRID = Geometry(SHAPE, np.diag((0.8, 1.5, 3.0, 1.0)))


def linear_field(matrix, geometry=GRID):
    """The field of x -> matrix x."""
    points = geometry.index_to_world(np.indices(geometry.shape).reshape(3, -1).T)
    return DisplacementField((points @ (np.asarray(matrix) - np.eye(3)).T).reshape(*geometry.shape, 3), geometry)


def smooth_field(seed=0, size=2.0, geometry=GRID):
    rng = np.random.default_rng(seed)
    parts = [gaussian_filter(rng.normal(size=geometry.shape), 2.0) for _ in range(3)]
    return DisplacementField(size * np.stack(parts, axis=-1) / np.std(parts), geometry)


def rotation(degrees=20.0):
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def by_id(values):
    return {value.id: value.value for value in values}


def test_jacobian_agrees_with_simpleitk_inside():
    field = smooth_field(size=0.4)
    theirs = array_from_image(sitk.DisplacementFieldJacobianDeterminant(image_from_array(field.array, GRID)))
    inside = inner_voxels(SHAPE)
    np.testing.assert_allclose(field.jacobian()[inside], theirs[inside], atol=1e-5)


@pytest.mark.parametrize(("matrix", "determinant"), [(np.eye(3), 1.0), (1.3 * np.eye(3), 1.3**3), (rotation(), 1.0)])
def test_jacobian_of_linear_maps(matrix, determinant):
    found = by_id(jacobian_values(linear_field(matrix).jacobian()))
    for part in ("min", "median", "max", "mean"):
        assert found[f"jacobian.v1({part})"] == pytest.approx(determinant, abs=1e-6)


def test_jacobian_does_not_depend_on_the_direction_of_the_axes():
    affine = np.eye(4)
    affine[:3, :3] = rotation(30) @ np.diag((0.8, -1.5, 3.0))
    oblique = Geometry(SHAPE, affine)
    stretch = np.diag((1.1, 0.9, 1.2))
    found = by_id(jacobian_values(linear_field(stretch, oblique).jacobian()))
    assert found["jacobian.v1(min)"] == pytest.approx(1.1 * 0.9 * 1.2, abs=1e-6)
    assert found["jacobian.v1(max)"] == pytest.approx(1.1 * 0.9 * 1.2, abs=1e-6)


def test_statistics_of_the_jacobian_by_hand():
    jacobian = np.ones(SHAPE)
    mask = np.zeros(SHAPE, bool)
    mask[1:11, 2, 3], jacobian[1:11, 2, 3] = True, np.arange(1.0, 11.0)
    found = by_id(jacobian_values(jacobian, mask))
    names = ("min", "p1", "p5", "median", "p95", "p99", "max", "mean")
    assert [found[f"jacobian.v1({name})"] for name in names] == pytest.approx([1, 1.09, 1.45, 5.5, 9.55, 9.91, 10, 5.5])


def test_border_voxels_are_left_out():
    jacobian = np.full(SHAPE, 7.0)
    jacobian[1:-1, 1:-1, 1:-1] = 1.0
    assert by_id(jacobian_values(jacobian))["jacobian.v1(max)"] == 1.0


def test_only_the_mask_counts():
    jacobian = np.ones(SHAPE)
    jacobian[5, 5, 4] = -1.0
    mask = np.zeros(SHAPE, bool)
    mask[5, 5, 3:5] = True
    percent, count = neg_jac(jacobian, mask)
    assert (percent.value, count.value) == (50.0, 1)


def test_planted_fold_is_found():
    field = np.zeros((*SHAPE, 3))
    # neighbours along axis 0 cross in one place: u falls by more than two voxels over two voxels
    field[4, 5, 4, 0], field[6, 5, 4, 0] = 1.2 * 0.8, -1.2 * 0.8
    percent, count = neg_jac(DisplacementField(field, GRID).jacobian())
    assert count.value == 1
    assert percent.value == pytest.approx(100 / np.count_nonzero(inner_voxels(SHAPE)))


def test_checkerboard_fold_shows_in_ndv_only():
    sign = (-1.0) ** np.indices(SHAPE).sum(axis=0)
    field = np.zeros((*SHAPE, 3))
    field[..., 0] = 0.7 * 0.8 * sign
    board = DisplacementField(field, GRID)
    assert neg_jac(board.jacobian())[0].value == 0
    assert ndv(board).value > 1


def test_ndv_of_a_mirrored_grid_is_everything():
    assert ndv(linear_field(np.diag([-1, 1, 1]))).value == pytest.approx(100.0)


def test_ndv_of_a_smooth_field_is_zero():
    assert ndv(smooth_field(size=0.2)).value == 0


@pytest.mark.parametrize(("seed", "percent"), [(0, 109.28702545166016), (1, 105.393310546875), (2, 96.59074401855469)])
def test_ndv_is_that_of_its_authors(seed, percent):
    # the percentages were computed with digital-diffeomorphism 1.1.1 (float32), mask: the inner voxels
    rng = np.random.default_rng(seed)
    parts = [gaussian_filter(rng.normal(size=SHAPE), 1.0) for _ in range(3)]
    field = DisplacementField(2.0 * np.stack(parts, axis=-1) / np.std(parts), Geometry(SHAPE, np.eye(4)))
    assert ndv(field).value == pytest.approx(percent, rel=1e-6)


def test_sdlogj_of_a_uniform_scaling_is_zero():
    assert sdlogj(linear_field(1.2 * np.eye(3)).jacobian()).value == pytest.approx(0, abs=1e-9)


def test_sdlogj_by_hand():
    jacobian = np.ones(SHAPE)
    mask = np.zeros(SHAPE, bool)
    mask[3:5, 5, 4] = True
    jacobian[4, 5, 4] = np.e**2
    assert sdlogj(jacobian, mask).value == pytest.approx(1.0)


def test_empty_mask_is_not_assessed():
    nothing = np.zeros(SHAPE, bool)
    field = smooth_field()
    values = (
        *jacobian_values(field.jacobian(), nothing),
        *neg_jac(field.jacobian(), nothing),
        sdlogj(field.jacobian(), nothing),
    )
    assert {(value.value, value.status) for value in (*values, ndv(field, nothing))} == {(None, "not_assessed")}


def test_field_one_voxel_thick_has_a_jacobian_and_no_ndv():
    flat = Geometry((12, 10, 1), np.diag((1.0, 1.0, 5.0, 1.0)))
    field = DisplacementField(np.zeros((12, 10, 1, 3)), flat)
    assert by_id(jacobian_values(field.jacobian()))["jacobian.v1(mean)"] == 1
    assert ndv(field).status == "not_assessed"


def test_mask_of_another_grid_is_refused():
    with pytest.raises(GeometryError) as caught:
        neg_jac(np.ones(SHAPE), np.ones((3, 3, 3), bool))
    assert caught.value.code == "grid.mismatch"


def test_exact_inverse_is_consistent():
    there = Transform((AffineTransform.about(rotation(5), GRID.centre_mm, np.array([0.5, -0.3, 0.2])),))
    found = by_id(inverse_consistency(there, Transform((there.as_affine().inverse(),)), GRID, GRID))
    assert found["inverse_consistency.v1(max)"] == pytest.approx(0, abs=1e-9)


def test_inverse_of_nothing_is_off_by_the_shift():
    there = Transform((AffineTransform.about(np.eye(3), np.zeros(3), np.array([0.8, 0.0, 0.0])),))
    found = by_id(inverse_consistency(there, Transform.identity(), GRID, GRID))
    assert found["inverse_consistency.v1(mean)"] == pytest.approx(0.8)
    # one layer of voxels lands beyond the grid
    assert found["inverse_consistency.v1(outside)"] == pytest.approx(100 / 12)


def test_inverse_consistency_sees_only_the_mask():
    field = np.zeros((*SHAPE, 3), np.float32)
    field[5, 5, 4] = (0.3, 0, 0)
    mask = np.zeros(SHAPE, bool)
    mask[5, 5, 4] = True
    found = by_id(inverse_consistency(Transform((DisplacementField(field, GRID),)), Transform.identity(), GRID, GRID, mask))
    assert found["inverse_consistency.v1(mean)"] == pytest.approx(0.3, abs=1e-6)


def test_inverse_consistency_of_nothing_is_not_assessed():
    nothing = np.zeros(SHAPE, bool)
    values = inverse_consistency(Transform.identity(), Transform.identity(), GRID, GRID, nothing)
    assert {value.status for value in values} == {"not_assessed"}


def test_stride_takes_every_nth_voxel():
    there = Transform((smooth_field(size=0.5),))
    every = by_id(inverse_consistency(there, Transform.identity(), GRID, GRID))
    some = by_id(inverse_consistency(there, Transform.identity(), GRID, GRID, stride=2))
    assert some["inverse_consistency.v1(mean)"] == pytest.approx(every["inverse_consistency.v1(mean)"], rel=0.3)
    assert some != every


def moved(*shift_mm):
    return Transform((AffineTransform.about(np.eye(3), np.zeros(3), np.array(shift_mm)),))


def test_a_translation_moves_no_volume_and_its_inverse_is_exact():
    field = DisplacementField(np.full((*SHAPE, 3), 1.5), GRID)
    assert by_id(jacobian_values(field.jacobian()))["jacobian.v1(min)"] == 1.0
    found = by_id(inverse_consistency(moved(1.5, 1.5, 1.5), moved(-1.5, -1.5, -1.5), GRID, GRID))
    assert found["inverse_consistency.v1(max)"] == pytest.approx(0, abs=1e-12)


def test_the_worse_of_two_directions_counts():
    good = inverse_consistency(moved(0.1, 0, 0), Transform.identity(), GRID, GRID)
    bad = inverse_consistency(moved(0.4, 0, 0), Transform.identity(), GRID, GRID)
    assert worse_of(good, bad) == worse_of(bad, good) == bad


def test_symmetry_has_the_formula_and_a_name_of_its_own():
    found = by_id(inverse_consistency(moved(0.5, 0, 0), moved(-0.3, 0, 0), GRID, GRID, name="symmetry.v1"))
    assert found["symmetry.v1(mean)"] == pytest.approx(0.2)


def test_transitivity_is_the_distance_that_three_transforms_leave():
    three = moved(1.0, 0, 0), moved(0, 2.0, 0), moved(-1.0, -1.7, 0)
    found = by_id(transitivity(three, (GRID, GRID, GRID)))
    assert found["transitivity.v1(mean)"] == pytest.approx(0.3)
    # one layer of voxels along axis 0 and one along axis 1 land beyond the third grid
    assert found["transitivity.v1(outside)"] == pytest.approx(100 * (1 - 11 * 9 / 120))
