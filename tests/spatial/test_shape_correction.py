"""Shapes repaired by a template: the four decisions, and drawings of each."""

import numpy as np
import pytest
from scipy.ndimage import rotate

from jrscli.spatial.shape_correction import OVERLAP, UNLIKE, corrected, decide, hu_distance, hu_moments, similarity


def cross(shape=(40, 40), middle=(20, 20)):
    """An X with a bar, as a chiasm seen from above."""
    out = np.zeros(shape, bool)
    i, j = middle
    out[i - 8 : i + 8, j - 2 : j + 2] = True
    out[i - 2 : i + 2, j - 8 : j + 4] = True
    return out


@pytest.mark.parametrize(
    ("unlike", "dice", "wanted"),
    [
        (UNLIKE * 2, OVERLAP + 0.1, "cut"),
        (UNLIKE * 2, OVERLAP - 0.1, "replace"),
        (UNLIKE / 2, OVERLAP + 0.1, "keep"),
        (UNLIKE / 2, OVERLAP - 0.1, "keep"),
    ],
)
def test_the_four_decisions(unlike, dice, wanted):
    assert decide(unlike, dice) == wanted


def test_moments_do_not_see_place_turn_and_size():
    plain = cross()
    assert np.allclose(hu_moments(plain), hu_moments(np.roll(plain, (5, -4), (0, 1))))
    assert np.allclose(hu_moments(plain), hu_moments(np.rot90(plain)))
    assert hu_distance(plain, np.kron(plain, np.ones((2, 2), bool))) < 0.1
    assert hu_distance(plain, rotate(plain.astype(float), 30, reshape=False, order=1) > 0.5) < 0.3
    line = np.zeros((40, 40), bool)
    line[4:36, 19:21] = True
    assert hu_distance(plain, line) > UNLIKE
    assert hu_distance(plain, np.zeros_like(plain)) == np.inf


def test_a_drawing_is_laid_onto_its_moved_copy():
    from scipy.ndimage import affine_transform

    fixed = rotate(cross().astype(float), 10, reshape=False, order=1) > 0.5
    moving = np.roll(cross(), (4, 3), (0, 1))
    matrix, offset = similarity(moving, fixed)
    laid = affine_transform(moving.astype(float), matrix, offset, order=1) > 0.5
    assert 2 * (laid & fixed).sum() / (laid.sum() + fixed.sum()) > 0.85


def test_what_sticks_out_is_cut_and_what_is_lost_is_replaced():
    solid = np.repeat(cross()[:, :, None], 3, axis=2)
    assert np.array_equal(corrected(solid, solid), solid)
    spill = solid.copy()
    spill[12:28, 36:40] = True  # a leak that changes the shape
    spill[19:21, 24:37] = True
    found = corrected(spill, solid)
    assert not found[:, 37:].any()
    assert (found & solid).sum() > 0.6 * solid.sum()
    line = np.zeros_like(solid)
    line[2:38, 33:35] = True
    found = corrected(line, solid)
    assert not np.array_equal(found, line)
    assert hu_distance(found.any(axis=2), cross()) < UNLIKE < hu_distance(line.any(axis=2), cross())
    empty = np.zeros_like(solid)
    assert not corrected(empty, solid).any()
    assert np.array_equal(corrected(solid, empty), solid)
