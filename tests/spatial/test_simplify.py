"""Fewer points on a ring, within a distance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.spatial.simplify import keep_within


def star(seed, n=80):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    radius = 10 + np.random.default_rng(seed).uniform(-2, 2, n)
    return np.stack([radius * np.cos(angle), 1.3 * radius * np.sin(angle)], axis=1)


def distance_to(points, ring):
    along = np.roll(ring, -1, axis=0) - ring
    apart = points[:, None] - ring
    share = np.clip((apart * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12), 0, 1)
    return np.linalg.norm(apart - share[..., None] * along, axis=-1).min(axis=1)


@given(seed=st.integers(0, 10_000), tolerance=st.floats(0.05, 3.0))
def test_no_point_of_either_ring_is_further_off_than_said(seed, tolerance):
    ring = star(seed)
    keep, deviation = keep_within(ring, tolerance)
    thin = ring[keep]
    assert deviation <= tolerance
    assert distance_to(ring, thin).max() <= deviation + 1e-9
    between = np.concatenate([thin + s * (np.roll(thin, -1, axis=0) - thin) for s in np.linspace(0, 1, 11)])
    assert distance_to(between, ring).max() <= deviation + 1e-9


def test_a_square_with_many_points_keeps_its_corners():
    side = np.linspace(0, 8, 9)[:-1]
    zero, eight = np.zeros(8), np.full(8, 8.0)
    ring = np.stack([np.concatenate([side, eight, 8 - side, zero]), np.concatenate([zero, side, eight, 8 - side])], axis=1)
    keep, deviation = keep_within(ring, 0.1)
    assert ring[keep].tolist() == [[0, 0], [8, 0], [8, 8], [0, 8]]
    assert deviation == 0


@pytest.mark.parametrize("tolerance", [0.0, 100.0])
def test_a_ring_is_kept_whole_rather_than_lost(tolerance):
    keep, deviation = keep_within(star(1), tolerance)
    assert keep.all()
    assert deviation == 0
