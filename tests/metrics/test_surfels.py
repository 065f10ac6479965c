"""The surface elements and their areas."""

import numpy as np
import pytest
from surface_distance import lookup_tables

from jrscli.metrics.surfels import area_table, bounding_box, surfels


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.9, 5.1)])
def test_table_is_that_of_surface_distance(spacing):
    theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    # their code numbers the corners from the other end; a code and its complement have one area
    np.testing.assert_allclose(area_table(spacing), theirs, rtol=0, atol=1e-12)


def test_a_code_and_its_complement_have_the_same_area():
    table = area_table((1.0, 2.0, 3.0))
    np.testing.assert_array_equal(table, table[::-1])


def test_large_flat_side_has_its_true_area():
    mask = np.zeros((30, 30, 30), bool)
    mask[5:25, 5:25, 5:25] = True
    found = surfels(mask, (1.0, 2.0, 3.0))
    side = found.corner[:, 0] == 5
    inner = side & (np.abs(found.corner[:, 1:] - 15) < 9).all(axis=1)
    assert found.area_mm2[inner] == pytest.approx(6.0)


def test_border_is_background_so_a_full_image_has_a_surface():
    full = surfels(np.ones((4, 5, 6), bool), (1.0, 1.0, 1.0))
    assert full.corner.min() == 0
    assert full.corner.max(axis=0).tolist() == [4, 5, 6]
    padded = surfels(np.pad(np.ones((4, 5, 6), bool), 3), (1.0, 1.0, 1.0))
    assert full.area_mm2.sum() == pytest.approx(padded.area_mm2.sum())


def test_one_voxel_has_eight_elements():
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True
    found = surfels(mask, (1.0, 1.0, 1.0))
    assert len(found.corner) == 8
    assert found.area_mm2 == pytest.approx(np.sqrt(3) / 8)


def test_image_one_voxel_thick_has_no_faces():
    mask = np.zeros((12, 12, 1), bool)
    mask[2:10, 2:10] = True
    found = surfels(mask, (1.0, 1.0, 4.0))
    lengths = lookup_tables.create_table_neighbour_code_to_contour_length((1.0, 1.0))
    contour = 4 * lengths[0b0001] + 4 * 7 * lengths[0b0011]
    assert found.area_mm2.sum() == pytest.approx(4.0 * contour)


def test_bounding_box_of_nothing_is_none():
    assert bounding_box(np.zeros((3, 4, 5), bool)) is None


def test_bounding_box_is_tight():
    mask = np.zeros((6, 7, 8), bool)
    mask[1:3, 4:7, 2] = True
    assert bounding_box(mask) == (slice(1, 3), slice(4, 7), slice(2, 3))
