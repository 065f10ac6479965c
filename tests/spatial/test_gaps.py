"""Slices left out when drawing, filled on request."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.spatial.gaps import fill_gaps
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import contour_volume_mm3, rasterize
from jrscli.spatial.structures import Contour, Roi

GRID = Geometry((60, 50, 24), np.array([[1.0, 0, 0, -30], [0, 1.2, 0, -30], [0, 0, 2.0, -24], [0, 0, 0, 1]]))


def circle(radius, k, centre=(0.0, 0.0)):
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    flat = np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)
    return Contour(np.column_stack([flat, np.full(180, -24 + 2.0 * k)]))


def ball(slices, hole=0.0):
    """A ball of 20 mm about slice 12, perhaps with another left out of it."""
    both = [(full, k) for k in slices for full in (20.0, hole) if full > abs(2.0 * (k - 12))]
    return Roi(7, "ball", tuple(circle(np.sqrt(full**2 - (2.0 * (k - 12)) ** 2), k) for full, k in both))


@pytest.mark.parametrize("hole", [0.0, 9.0])
def test_every_other_slice_left_out_comes_back(hole):
    whole, thin = ball(range(3, 22), hole), ball(range(3, 22, 2), hole)
    filled, count = fill_gaps(thin, GRID)
    assert count == 9
    assert filled.contours[: len(thin.contours)] == thin.contours
    a, b = rasterize(filled, GRID), rasterize(whole, GRID)
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.97
    assert contour_volume_mm3(filled, GRID) == pytest.approx(contour_volume_mm3(whole, GRID), rel=0.02)
    assert rasterize(thin, GRID).sum() < 0.55 * b.sum()


def test_the_outline_wanders_from_one_slice_to_the_other():
    roi = Roi(1, "a", (circle(6, 4), circle(10, 8, centre=(4, 0))))
    filled, count = fill_gaps(roi, GRID)
    assert count == 3
    middle = filled.contours[3].points
    assert middle[:, 2] == pytest.approx(-24 + 2 * 6)
    assert (middle[:, 0].min() + middle[:, 0].max()) / 2 == pytest.approx(2, abs=0.3)
    assert np.ptp(middle[:, 0]) / 2 == pytest.approx(8, abs=0.3)


def test_parts_with_nothing_in_common_are_not_joined():
    filled, count = fill_gaps(Roi(1, "a", (circle(5, 4, centre=(-18, 0)), circle(5, 8, centre=(18, 0)))), GRID)
    assert count == 0
    assert len(filled.contours) == 2


def test_without_gaps_nothing_changes():
    roi = ball(range(3, 22))
    assert fill_gaps(roi, GRID) == (roi, 0)


def test_slices_along_another_axis_are_filled_as_well():
    turned = Geometry((24, 60, 50), GRID.affine[:, [2, 0, 1, 3]])
    thin = ball(sorted(set(range(3, 22)) - {8, 9, 14}))
    (a, _), (b, count) = fill_gaps(thin, GRID), fill_gaps(thin, turned)
    assert count == 3
    assert np.array_equal(rasterize(b, turned), rasterize(a, GRID).transpose(2, 0, 1))
