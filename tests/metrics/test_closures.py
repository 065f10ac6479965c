"""Closures: drawn masks and drawn series."""

import numpy as np
import pytest

from jrscli.metrics.closures import Closures, closures, is_closed, runs


@pytest.mark.parametrize(("touching", "closed"), [(0, False), (2, False), (3, True), (5, True)])
def test_three_touching_pixels_are_a_closure(touching, closed):
    wall, flap = np.zeros((2, 12, 12), bool)
    wall[8:] = True
    flap[2:6, 1:10] = True
    flap[6:8, 1 : 1 + touching] = True
    assert is_closed(flap, wall) is closed


def test_pixels_that_meet_at_a_corner_touch():
    wall, flap = np.zeros((2, 9, 9), bool)
    flap[2, 2] = flap[4, 4] = flap[6, 6] = True
    wall[3, 3] = wall[5, 5] = True
    assert is_closed(flap, wall)
    assert not is_closed(flap, wall, least=4)


def test_runs_are_first_and_last_frame():
    assert runs([True, False, True, True, False, True]) == [(0, 0), (2, 3), (5, 5)]
    assert runs([False, False]) == []


def test_a_closure_is_captured_if_a_run_overlaps_it():
    #                1  1        1  1  1        1
    true = [bool(n) for n in (0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0)]
    late = [bool(n) for n in (0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1)]
    assert closures(true, late) == Closures(reference=3, captured=1, invented=1)
    assert closures(true, true) == Closures(3, 3, 0)
    assert closures(true, [False] * 12) == Closures(3, 0, 0)


def test_a_long_run_may_capture_two():
    assert closures([True, False, True], [True, True, True]) == Closures(2, 2, 0)


def test_both_series_have_the_same_frames():
    with pytest.raises(ValueError, match="3 and 2 frames"):
        closures([True] * 3, [True] * 2)
