"""Squaring, composition, regions, inverse and fading of fields."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jrscli.runtime.card import Field
from jrscli.runtime.field import compose, displacement, enlarged, faded, integrate, inverse_of, invert, margin_of, sample


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """A field of about two voxels that fades towards the border."""
    rng = np.random.default_rng(0)
    field = np.stack([gaussian_filter(rng.standard_normal((24, 22, 20)), 3) for _ in range(3)])
    field *= 2 / np.abs(field).max()
    for axis, n in enumerate(field.shape[1:], start=1):
        ramp = np.sin(np.pi * np.arange(n) / (n - 1)) ** 2
        field = field * ramp.reshape([-1 if a == axis else 1 for a in range(4)])
    return field.astype(np.float32)


def inner(field: np.ndarray, margin: int = 4) -> np.ndarray:
    return field[:, margin:-margin, margin:-margin, margin:-margin]


def test_beyond_the_border_is_what_the_border_holds():
    array = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    index = np.array([[-3.0, 0.5, 9.0], [5.0, 0.0, -1.0], [0.0, 0.0, 2.0]], np.float32)
    assert sample(array, index)[0].tolist() == [0.0, 0.5, 3.0]


def test_composition_is_that_of_the_training_side(smooth):
    torch = pytest.importorskip("torch")
    from jrscli.nn import warp

    other = smooth[:, ::-1].copy()
    one, two = (torch.from_numpy(field)[None] for field in (smooth, other))
    assert np.abs(compose(smooth, other) - warp.compose(one, two)[0].numpy()).max() < 1e-4


def test_no_velocity_moves_nothing_and_a_constant_one_moves_all_by_itself():
    still = np.zeros((3, 8, 8, 8), np.float32)
    assert np.abs(integrate(still, 7)).max() == 0
    constant = still + np.array([0.5, -1.0, 2.0], np.float32).reshape(3, 1, 1, 1)
    assert np.allclose(integrate(constant, 7), constant, atol=1e-5)


def test_a_rotating_velocity_rotates():
    """The exponential of a turn's velocity is the turn."""
    angle, size = 0.3, 33
    x, y = np.meshgrid(np.arange(size) - 16.0, np.arange(size) - 16.0, indexing="ij")
    velocity = np.zeros((3, size, size, 1), np.float32)
    velocity[0, ..., 0], velocity[1, ..., 0] = -angle * y, angle * x
    field = integrate(velocity, 7)
    turned = np.cos(angle) * x - np.sin(angle) * y - x
    middle = (slice(8, -8), slice(8, -8))
    assert np.abs(field[0, ..., 0][middle] - turned[middle]).max() < 0.02


def test_the_negative_velocity_leads_back(smooth):
    spec = Field(kind="velocity", squarings=7)
    there = displacement(smooth, spec, smooth.shape[1:])
    back = inverse_of(smooth, spec, smooth.shape[1:])
    assert back is not None
    assert np.abs(inner(compose(there, back))).max() < 0.05
    assert inverse_of(smooth, Field(), smooth.shape[1:]) is None


def test_a_coarse_field_counts_double_on_a_grid_twice_as_fine():
    coarse = np.ones((3, 5, 5, 5), np.float32)
    assert np.allclose(enlarged(coarse, (9, 9, 9)), 2.0)
    half = displacement(coarse, Field(scale=2), (9, 9, 9))
    assert half.shape == (3, 9, 9, 9)
    assert np.allclose(half, 2.0)


def test_regions_that_move_alike_are_one_field_and_others_are_chosen_by_their_masks(smooth):
    spec = Field(kind="region_velocity", squarings=6)
    regions = np.zeros((2, *smooth.shape[1:]), np.float32)
    regions[0, :12], regions[1, 12:] = 1, 1
    one = displacement(smooth, Field(kind="velocity", squarings=6), smooth.shape[1:])
    assert np.allclose(displacement(np.concatenate([smooth, smooth]), spec, smooth.shape[1:], regions), one, atol=1e-5)
    split = displacement(np.concatenate([smooth, 0 * smooth]), spec, smooth.shape[1:], regions)
    assert np.allclose(split[:, :12], one[:, :12], atol=1e-5)
    assert not split[:, 12:].any()


def test_an_inverse_leads_back(smooth):
    """Also for a field that stretches much."""
    field = 1.6 * smooth
    assert np.abs(compose(invert(field), field)).max() < 0.02
    assert np.abs(compose(invert(field, -0.5 * field), field)).max() < 0.02


def test_a_faded_field_is_unchanged_inside_and_nothing_at_its_border():
    field = np.ones((3, 10, 10, 10), np.float32)
    margin = margin_of(field)
    assert margin == (5, 5, 5)
    wide = faded(field, margin)
    assert np.allclose(wide[:, 5:-5, 5:-5, 5:-5], 1)
    border = np.ones(wide.shape[1:], bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert np.abs(wide[:, border]).max() < 1e-6


def test_room_that_holds_no_image_is_used_for_fading():
    field = np.ones((3, 20, 20, 20), np.float32)
    assert margin_of(field, (3, 9, 0)) == (2, 0, 5)
    wide = faded(field, (2, 0, 5), (3, 9, 0))
    assert wide.shape == (3, 24, 20, 30)
    assert wide[0, 12, 10, 15] == 1
    assert wide[0, 12, 5, 15] < 1


def test_an_axis_one_voxel_thick_gets_no_margin():
    assert margin_of(np.ones((3, 10, 10, 1), np.float32))[2] == 0
