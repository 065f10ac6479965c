"""Rounding back to whole numbers, where that is harmless."""

from __future__ import annotations

import numpy as np

from jrscli.io.whole_numbers import rounded_like
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

GRID = Geometry((2, 2, 2), np.eye(4))


def _volume(values: list[float], dtype: type) -> Volume:
    return Volume(np.resize(np.array(values, dtype), GRID.shape), GRID)


def test_a_ct_becomes_whole_numbers_again_within_its_type() -> None:
    moved = _volume([-1000.4, 40_000.0, 12.6], np.float32)
    found = rounded_like(moved, _volume([-1024, 3071], np.int16)).array
    assert found.dtype == np.int16
    assert found.ravel()[:3].tolist() == [-1000, 32767, 13]


def test_few_steps_and_floating_point_stay_as_they_are() -> None:
    moved = _volume([0.5, 1.5], np.float32)
    assert rounded_like(moved, _volume([0, 100], np.int16)) is moved
    assert rounded_like(moved, _volume([0, 1000], np.float32)) is moved
