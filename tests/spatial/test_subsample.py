"""A transform on a coarse grid: as coarse as the asked accuracy allows, with the error that it really has."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.subsample import subsample
from jrscli.spatial.transform import Transform

GRID = Geometry((40, 36, 20), np.diag((1.0, 1.0, 2.0, 1.0)))


def wave(length_mm: float, height_mm: float = 4.0) -> DisplacementField:
    nodes = GRID.index_to_world(np.moveaxis(np.indices(GRID.shape), 0, -1).reshape(-1, 3))
    values = height_mm * np.sin(2 * np.pi * nodes / length_mm)
    return DisplacementField(values.reshape((*GRID.shape, 3)).astype(np.float32), GRID)


def error_of(field: DisplacementField, transform: Transform) -> float:
    nodes = GRID.index_to_world(np.moveaxis(np.indices(GRID.shape), 0, -1).reshape(-1, 3))
    return float(np.linalg.norm(field.map_points(nodes) - transform.map_points(nodes), axis=1).max())


@pytest.mark.parametrize("length_mm", [300.0, 60.0, 12.0])
def test_the_reported_error_is_the_real_one_and_below_the_tolerance(length_mm):
    transform = Transform((wave(length_mm), AffineTransform.about(np.eye(3), np.zeros(3), np.array([7.0, -3, 5]))))
    found = subsample(transform, GRID)
    assert found.max_error_mm <= 0.1
    assert found.max_error_mm == pytest.approx(error_of(found.field, transform), abs=1e-4)


def test_the_grid_of_the_transform_itself_loses_nothing():
    nodes = np.random.default_rng(0).normal(0, 5, (18, 16, 18, 3)).astype(np.float32)
    affine = np.diag((2.5, 2.5, 2.5, 1.0))
    affine[:3, 3] = (-1.3, -1.2, -1.1)
    rough = DisplacementField(nodes, Geometry((18, 16, 18), affine))
    linear = AffineTransform.about(np.array([[0.9, -0.3, 0], [0.3, 0.9, 0], [0, 0, 1.1]]), np.zeros(3), np.array([7.0, -3, 5]))
    found = subsample(Transform((rough, linear)), GRID)
    assert found.field.geometry.shape == (18, 16, 18)
    assert found.max_error_mm < 1e-3
    # in the other order the matrix bends the field's grid, which then holds nothing exactly
    other = subsample(Transform((linear, rough)), GRID)
    assert other.field.geometry.shape != (18, 16, 18)


def test_large_images_are_asked_at_some_of_their_voxels(monkeypatch):
    monkeypatch.setattr("jrscli.spatial.subsample.MOST_POINTS", 4000)
    transform = Transform((wave(60.0),))
    found = subsample(transform, GRID)
    assert found.max_error_mm <= 0.1
    assert found.max_error_mm == pytest.approx(error_of(found.field, transform), rel=0.3)


def test_smooth_movements_get_coarse_grids_and_rough_ones_fine_grids():
    spacing = {length: subsample(Transform((wave(length),)), GRID).field.geometry.spacing_mm for length in (300.0, 60.0, 12.0)}
    assert spacing[300.0] == pytest.approx((3.0, 3.0, 4.0), abs=0.25)
    assert spacing[12.0] == pytest.approx((1.0, 1.0, 2.0))
    assert spacing[12.0] <= spacing[60.0] < spacing[300.0]


def test_a_looser_tolerance_gives_a_coarser_grid():
    transform = Transform((wave(40.0),))
    loose, tight = subsample(transform, GRID, tolerance_mm=1.0), subsample(transform, GRID, tolerance_mm=0.01)
    assert np.prod(loose.field.geometry.shape) < np.prod(tight.field.geometry.shape)
    assert 0.1 < loose.max_error_mm <= 1.0


def test_the_grid_covers_the_outer_half_of_the_border_voxels():
    shift = AffineTransform.about(np.eye(3), np.zeros(3), np.array([7.0, -3, 5]))
    field = subsample(Transform((shift,)), GRID).field
    corners = GRID.index_to_world(np.array([[-0.5, -0.5, -0.5], np.array(GRID.shape) - 0.5]))
    np.testing.assert_allclose(field.at(corners), [[7, -3, 5]] * 2, atol=1e-5)


def test_grids_in_any_orientation(oblique):
    shift = AffineTransform.about(np.eye(3), np.zeros(3), np.array([7.0, -3, 5]))
    found = subsample(Transform((shift,)), oblique)
    assert found.max_error_mm < 1e-4
    np.testing.assert_allclose(found.field.at(oblique.corners_mm), [[7, -3, 5]] * 8, atol=1e-4)
