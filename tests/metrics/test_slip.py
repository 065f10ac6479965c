"""Sliding along the border of a structure."""

import numpy as np
import pytest

from jrscli.metrics.slip import slip
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry

SHAPE = (24, 20, 16)
TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def grid(spacing=(1.0, 1.0, 1.0), turned=False):
    affine = np.eye(4)
    affine[:3, :3] = (TURN if turned else np.eye(3)) @ np.diag(spacing)
    return Geometry(SHAPE, affine)


def half(axis=0):
    mask = np.zeros(SHAPE, bool)
    mask[(*(slice(None),) * axis, slice(SHAPE[axis] // 2, None))] = True
    return mask


def values(field, mask):
    return [value.value for value in slip(field, mask)]


@pytest.mark.parametrize("turned", [False, True])
def test_two_plates_that_slide_do_so_by_what_they_move(turned):
    place, mask = grid(turned=turned), half()
    u = np.zeros((*SHAPE, 3))
    along = place.affine[:3, 1]  # the second axis of the array lies in the border
    u[mask] = 4.0 * along
    across, near = values(DisplacementField(u, place), mask)
    assert across == pytest.approx(4.0, abs=1e-6)
    assert near == pytest.approx(0.0, abs=1e-9)


def test_plates_that_part_do_not_slide():
    place, mask = grid(), half()
    u = np.zeros((*SHAPE, 3))
    u[mask, 0] = 4.0
    assert values(DisplacementField(u, place), mask) == pytest.approx([0.0, 0.0], abs=1e-6)


def test_a_shear_is_alike_on_and_beside_the_border():
    place, mask = grid(), half()
    u = np.zeros((*SHAPE, 3))
    u[..., 1] = 0.1 * np.arange(SHAPE[0])[:, None, None]
    across, near = values(DisplacementField(u, place), mask)
    assert across == pytest.approx(near, rel=1e-6)
    assert across == pytest.approx(0.3, rel=1e-6)


def test_thick_slices_are_not_compared():
    place, mask = grid((1.0, 1.0, 8.0)), half(axis=2)
    u = np.zeros((*SHAPE, 3))
    u[mask, 0] = 4.0
    assert [value.status for value in slip(DisplacementField(u, place), mask)] == ["not_assessed"] * 2
    assert values(DisplacementField(u, grid()), mask)[0] == pytest.approx(4.0, abs=1e-6)


@pytest.mark.parametrize("mask", [None, np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
def test_without_a_border_nothing_is_said(mask):
    assert [value.status for value in slip(DisplacementField.zeros(grid()), mask)] == ["not_assessed"] * 2
