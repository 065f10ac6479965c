from __future__ import annotations

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.spatial.geometry import Geometry
from jrscli.workflows.motion import random_motion

GRID = Geometry((40, 36, 24), np.diag((6.0, 6.0, 6.0, 1.0)))
TARGETS = np.array([[80.0, 80.0, 70.0], [150.0, 120.0, 60.0]])


def inner_points(n: int = 4000) -> np.ndarray:
    size = (np.array(GRID.shape) - 1) * GRID.spacing_mm
    return np.random.default_rng(0).uniform(0.05, 0.95, (n, 3)) * size


@pytest.mark.parametrize("seed", range(4))
def test_size_of_the_parts_is_as_asked(seed):
    motion = random_motion(GRID, TARGETS, seed, shift_mm=3.5, rotation_deg=2.2, peak_mm=9.0)
    assert motion.rigid.is_rigid()
    assert motion.rigid.rotation_deg() == pytest.approx(2.2, abs=1e-6)
    assert np.linalg.norm(motion.rigid.map_points(GRID.centre_mm[None])[0] - GRID.centre_mm) == pytest.approx(3.5)
    bends = np.linalg.norm(motion.bend(GRID.index_to_world(np.argwhere(np.ones(GRID.shape)))), axis=1)
    assert bends.max() == pytest.approx(9.0, abs=0.3)


def test_each_target_moves_and_its_bend_does_not_undo_the_rigid_part():
    motion = random_motion(GRID, TARGETS, 3)
    bend = motion.bend(TARGETS)
    rigid = motion.rigid.map_points(TARGETS) - TARGETS
    assert (np.linalg.norm(bend, axis=1) > 5).all()
    assert ((bend * rigid).sum(axis=1) >= -1e-6).all()


def test_together_the_region_bends_smoothly_and_every_target_moves():
    motion = random_motion(GRID, TARGETS, 3, apart=False)
    assert (np.linalg.norm(motion.map_points(TARGETS) - TARGETS, axis=1) >= 7.5).all()
    jacobian = motion.sampled(GRID)[0].displacement(GRID).jacobian()
    apart = random_motion(GRID, TARGETS, 3).sampled(GRID)[0].displacement(GRID).jacobian()
    assert np.ptp(jacobian) < 0.7 * np.ptp(apart)
    bends = np.linalg.norm(motion.bend(GRID.index_to_world(np.argwhere(np.ones(GRID.shape)))), axis=1)
    assert bends.max() == pytest.approx(10.0, abs=0.3)


def test_sampled_transform_is_the_formula_and_its_inverse_goes_back():
    motion = random_motion(GRID, TARGETS, 1)
    transform, inverse = motion.sampled(GRID)
    points = inner_points()
    exact = motion.map_points(points)
    assert np.abs(transform.map_points(points) - exact).max() < 0.12
    assert np.linalg.norm(inverse.map_points(exact) - points, axis=1).max() < 0.3


def test_nothing_folds():
    transform, _ = random_motion(GRID, TARGETS, 2).sampled(GRID)
    jacobian = transform.displacement(GRID).jacobian()
    assert 0.35 < jacobian.min() < 0.95
    assert 1.05 < jacobian.max() < 2.5


def test_an_impossible_peak_is_refused():
    with pytest.raises(InputError) as refused:
        random_motion(GRID, TARGETS, 0, peak_mm=200.0)
    assert refused.value.code == "simulate.motion"
