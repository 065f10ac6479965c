"""Signed distances: zero midway, mm, positive inside."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from jrscli.spatial.distance import signed_distance
from jrscli.spatial.geometry import Geometry

GRID = Geometry((24, 20, 12), np.diag([1.0, 1.0, 3.0, 1.0]))


def test_sign_follows_the_mask_and_dtype_is_float32():
    mask = np.random.default_rng(0).random(GRID.shape) > 0.6
    distance = signed_distance(mask, GRID)
    assert np.array_equal(distance > 0, mask)
    assert distance.dtype == np.float32


def test_distances_are_mm_between_centres_less_half_a_pixel():
    mask = np.zeros(GRID.shape, bool)
    mask[6:15, 5:14, 3:9] = True
    distance = signed_distance(mask, GRID)
    inside, outside = distance_transform_edt(mask, GRID.spacing_mm), distance_transform_edt(~mask, GRID.spacing_mm)
    assert np.allclose(distance, np.where(mask, inside - 0.5, 0.5 - outside), atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_zero_lies_midway_between_neighbours_on_every_axis(axis):
    mask = np.zeros(GRID.shape, bool)
    mask[6:15, 5:14, 3:9] = True
    line = signed_distance(mask, GRID)[tuple(slice(None) if a == axis else (10, 9, 6)[a] for a in range(3))]
    first = int(np.argmax(line > 0))
    assert line[first] == pytest.approx(-line[first - 1], abs=1e-4)


def test_the_edge_of_the_grid_is_no_border():
    mask = np.zeros(GRID.shape, bool)
    mask[:10] = True
    distance = signed_distance(mask, GRID)
    assert distance[0].min() == pytest.approx(9.5, abs=1e-4)


@pytest.mark.parametrize(("value", "sign"), [(False, -1), (True, 1)])
def test_empty_and_full_masks_are_far_from_any_border(value, sign):
    distance = signed_distance(np.full(GRID.shape, value), GRID)
    assert (sign * distance > 40).all()
