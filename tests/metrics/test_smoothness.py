"""Variants of SDlogJ, bending, the rigid part of a map."""

import numpy as np
import pytest
from scipy.ndimage import correlate, gaussian_filter

from jrscli.metrics.deformation import ndv
from jrscli.metrics.smoothness import bending, rigid_part, sdlogj_bench, sdlogj_l2r
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform

SHAPE = (12, 11, 10)
GRID = Geometry(SHAPE, np.diag((0.8, 1.5, 3.0, 1.0)))


def smooth(seed=0, size=0.8):
    rng = np.random.default_rng(seed)
    return size * np.stack([gaussian_filter(rng.normal(size=SHAPE), 1.5) * 10 for _ in range(3)], axis=-1)


def test_learn2reg_variant_by_its_recipe():
    voxels = smooth()
    # central differences by correlation, J = det(grad + 1), two voxels cut off, SD of ln(clip(J + 3))
    grads = np.array([[correlate(voxels[..., c], k, mode="constant") for k in kernels()] for c in range(3)])
    jacobian = np.linalg.det(np.moveaxis(grads, (0, 1), (-2, -1)) + np.eye(3))[2:-2, 2:-2, 2:-2]
    expected = np.log(np.clip(jacobian + 3, 1e-9, 1e9)).std()
    field = DisplacementField.from_voxels(voxels, GRID)
    assert sdlogj_l2r(field).value == pytest.approx(expected, rel=1e-6)


def kernels():
    return [np.moveaxis(np.array([-0.5, 0, 0.5]).reshape(3, 1, 1), 0, axis) for axis in range(3)]


def test_bench_variant_has_the_border_and_the_clip():
    jacobian = np.ones(SHAPE)
    jacobian[0] = -1.0
    share = 1 / SHAPE[0]
    expected = abs(np.log(1e-3)) * np.sqrt(share * (1 - share))
    assert sdlogj_bench(jacobian).value == pytest.approx(expected, rel=1e-9)


def test_variants_of_nothing_are_not_assessed():
    nothing = np.zeros(SHAPE, bool)
    field = DisplacementField.zeros(GRID)
    for value in (sdlogj_bench(np.ones(SHAPE), nothing), sdlogj_l2r(field, nothing), bending(field, nothing)):
        assert (value.value, value.status) == (None, "not_assessed")


def test_bending_of_a_quadratic_field_by_hand():
    x = GRID.index_to_world(np.indices(SHAPE).reshape(3, -1).T)
    u = np.zeros_like(x)
    u[:, 0] = 0.01 * x[:, 0] ** 2 + 0.02 * x[:, 0] * x[:, 1]  # second derivatives: xx 0.02, xy and yx 0.02
    field = DisplacementField(u.reshape(*SHAPE, 3), GRID)
    assert bending(field).value == pytest.approx(3 * 0.02**2, rel=1e-6)


def test_bending_of_a_linear_field_is_zero():
    x = GRID.index_to_world(np.indices(SHAPE).reshape(3, -1).T)
    field = DisplacementField((x @ np.array([[0.1, 0.2, 0], [0, 0.1, 0], [0.3, 0, 0]])).reshape(*SHAPE, 3), GRID)
    assert bending(field).value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("corner", [(0, 0, 0), (3, 4, 2)])
def test_regions_add_up_to_the_whole(corner):
    """A mask is looked at in its own box: what is found there is what the whole field shows, at the border too."""
    field = DisplacementField.from_voxels(smooth(3, size=2.5), GRID)
    part = np.zeros(SHAPE, bool)
    part[corner[0] : corner[0] + 5, corner[1] : corner[1] + 4, corner[2] : corner[2] + 6] = True
    inner = np.zeros(SHAPE, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    sizes = [np.count_nonzero(mask & inner) for mask in (part, ~part)]
    for measure in (bending, ndv):
        values = [measure(field, mask).value for mask in (part, ~part)]
        whole = measure(field).value
        assert whole > 0
        assert np.average(values, weights=sizes) == pytest.approx(whole, rel=1e-9)
    assert sdlogj_l2r(field, part, jacobian=field.jacobian()).value == sdlogj_l2r(field, part).value


def test_rigid_map_is_found_and_leaves_nothing():
    angle = np.radians(7.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    there = AffineTransform.about(turn, GRID.centre_mm, np.array([3.0, 0.0, 4.0]))
    found = {value.id: value.value for value in rigid_part(Transform((there,)), GRID)}
    assert found["rigid_part.v1(angle)"] == pytest.approx(7.0, abs=1e-6)
    assert found["rigid_part.v1(shift)"] == pytest.approx(5.0, abs=1e-9)
    assert found["rigid_part.v1(rest)"] == pytest.approx(0.0, abs=1e-9)


def test_stretch_is_not_rigid():
    there = AffineTransform.about(np.diag((1.2, 1.0, 1.0)), GRID.centre_mm, np.zeros(3))
    found = {value.id: value.value for value in rigid_part(Transform((there,)), GRID)}
    assert found["rigid_part.v1(angle)"] == pytest.approx(0.0, abs=1e-5)
    assert found["rigid_part.v1(rest)"] == pytest.approx(0.2 * 11 * 0.8 / 2, rel=1e-6)
