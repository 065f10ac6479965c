"""A dose carried over: the right place, its own resolution, and zero where nothing is known, counted."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume
from jrscli.workflows.warp import warp_dose

SHIFT_MM = np.array([7.0, -3.0, 5.0])


def grid(shape: tuple[int, int, int], spacing_mm: float, origin_mm: tuple[float, float, float]) -> Geometry:
    affine = np.diag((spacing_mm, spacing_mm, spacing_mm, 1.0))
    affine[:3, 3] = origin_mm
    return Geometry(shape, affine)


def ramp(geometry: Geometry) -> Volume:
    """A dose that tells its place: 10 + x/100 + y/10 + z."""
    points = geometry.index_to_world(np.moveaxis(np.indices(geometry.shape), 0, -1).reshape(-1, 3))
    return Volume((10 + points @ [0.01, 0.1, 1.0]).reshape(geometry.shape).astype(np.float32), geometry)


def pull(shift: np.ndarray) -> Transform:
    return Transform((AffineTransform.about(np.eye(3), np.zeros(3), shift),))


def test_dose_goes_with_its_place_at_its_own_resolution():
    dose = ramp(grid((30, 30, 30), 3.0, (-20, -20, -8)))
    target = grid((40, 40, 40), 1.0, (0, 0, 0))
    found = warp_dose(dose, target, pull(SHIFT_MM))
    assert found.outside == 0
    assert found.volume.geometry.spacing_mm == pytest.approx((3.0, 3.0, 3.0))
    points = found.volume.geometry.index_to_world(np.array([[0, 0, 0], [4, 7, 2]]))
    expected = 10 + (points + SHIFT_MM) @ [0.01, 0.1, 1.0]
    np.testing.assert_allclose([found.volume.array[0, 0, 0], found.volume.array[4, 7, 2]], expected, atol=1e-4)


def test_beyond_the_dose_it_is_zero_and_counted():
    dose = Volume(np.full((10, 10, 10), 2.0, np.float32), grid((10, 10, 10), 2.0, (0, 0, 0)))
    found = warp_dose(dose, grid((10, 10, 20), 2.0, (0, 0, 0)), pull(np.zeros(3)))
    assert found.outside == 1000
    assert found.outside_percent == pytest.approx(50)
    assert found.volume.array[:, :, :10].min() == 2
    assert not found.volume.array[:, :, 10:].any()


def test_a_dose_elsewhere_is_refused():
    dose = Volume(np.ones((10, 10, 10), np.float32), grid((10, 10, 10), 2.0, (500, 0, 0)))
    with pytest.raises(InputError) as caught:
        warp_dose(dose, grid((10, 10, 10), 2.0, (0, 0, 0)), pull(np.zeros(3)))
    assert caught.value.code == "overlap.none"


def test_spacing_follows_the_direction_and_not_the_number_of_an_axis():
    turned = np.zeros((4, 4))
    turned[0, 2], turned[1, 0], turned[2, 1], turned[3, 3] = 5.0, 2.0, 3.0, 1.0
    dose = Volume(np.ones((40, 40, 40), np.float32), Geometry((40, 40, 40), turned))
    found = warp_dose(dose, grid((61, 61, 61), 1.0, (0, 0, 0)), pull(np.zeros(3)))
    assert found.volume.geometry.spacing_mm == pytest.approx((5.0, 2.0, 3.0))
