"""Refining a given field: led by the images, and by labels where the images show nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from jrscli.engine.diffeomorphic import Plan
from jrscli.engine.folding import determinant
from jrscli.engine.guidance import Guidance
from jrscli.engine.refine import refine
from jrscli.runtime.field import sample
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

SHAPE = (32, 30, 28)
GRID = Geometry(SHAPE, np.eye(4))


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """A soft ball, 0 … 1."""
    index = np.indices(SHAPE) - np.array(centre).reshape(3, 1, 1, 1)
    return gaussian_filter((np.sqrt((index**2).sum(0)) < radius).astype(np.float32), 0.7)


def overlap(field: np.ndarray, moving: np.ndarray, fixed: np.ndarray) -> float:
    moved = sample(moving[None], np.indices(SHAPE, np.float32) + field)[0] > 0.5
    return 2 * float((moved & (fixed > 0.5)).sum()) / float(moved.sum() + (fixed > 0.5).sum())


@pytest.fixture(scope="module")
def organs() -> tuple[np.ndarray, np.ndarray]:
    return ball((16, 15, 14), 8), ball((19, 14, 14), 6)


STILL = np.zeros((3, *SHAPE), np.float32)


def test_labels_lead_where_the_images_show_nothing(organs):
    fixed, moving = organs
    noise = np.random.default_rng(0).random((2, *SHAPE), dtype=np.float32)
    before = overlap(STILL, moving, fixed)
    alone = refine(STILL, noise[0], noise[1], GRID, steps=30, device="cpu")
    led = refine(
        STILL,
        noise[0],
        noise[1],
        GRID,
        steps=30,
        guidance=Guidance((Volume(fixed, GRID),), (Volume(moving, GRID),)),
        device="cpu",
    )
    assert before < 0.75
    assert overlap(led, moving, fixed) > 0.93
    assert overlap(alone, moving, fixed) < before + 0.1
    assert float(determinant(torch.from_numpy(led)[None]).min()) > 0


def test_a_good_field_is_improved_and_not_thrown_away(organs):
    """A field given nearly right ends better after a few steps than the same steps from nothing."""
    fixed, moving = organs
    good = refine(STILL, fixed, moving, GRID, steps=40, device="cpu")
    rng = np.random.default_rng(1)
    spoilt = good + np.stack([gaussian_filter(rng.standard_normal(SHAPE), 4) for _ in range(3)]).astype(np.float32) * 8
    again = refine(spoilt, fixed, moving, GRID, steps=6, device="cpu")
    fresh = refine(STILL, fixed, moving, GRID, steps=6, device="cpu")
    assert overlap(again, moving, fixed) > overlap(spoilt, moving, fixed)
    assert overlap(again, moving, fixed) > overlap(fresh, moving, fixed)


def test_folds_of_the_given_field_are_mended(organs):
    folded = np.zeros((3, *SHAPE), np.float32)
    folded[0, 14:18] = np.array([0.0, 3.0, -3.0, 0.0]).reshape(4, 1, 1)
    assert float(determinant(torch.from_numpy(folded)[None]).min()) < 0
    found = refine(folded, *organs, GRID, steps=3, device="cpu")
    assert float(determinant(torch.from_numpy(found)[None]).min()) > 0


def test_images_of_different_contrast_are_compared_by_their_structure(organs):
    fixed, moving = organs
    before = overlap(STILL, moving, fixed)
    found = refine(STILL, 1 - fixed, moving, GRID, steps=30, same_contrast=False, device="cpu")
    assert overlap(found, moving, fixed) > before + 0.1


def difference(field: np.ndarray, moving: np.ndarray, fixed: np.ndarray) -> float:
    return float(((sample(moving[None], np.indices(SHAPE, np.float32) + field)[0] - fixed) ** 2).mean())


def test_maps_lead_in_place_of_the_images(organs):
    """The images say the opposite, and count by their weight only."""
    fixed, moving = organs
    others = ball((20, 15, 14), 6), ball((14, 15, 14), 8)
    maps = (fixed[None], moving[None])
    led = refine(STILL, *others, GRID, steps=30, maps=maps, device="cpu")
    assert difference(led, moving, fixed) < 0.2 * difference(STILL, moving, fixed)
    assert float(determinant(torch.from_numpy(led)[None]).min()) > 0
    torn = refine(STILL, *others, GRID, steps=30, maps=maps, intensity_weight=5.0, device="cpu")
    assert difference(torn, moving, fixed) > 2 * difference(led, moving, fixed)


def test_small_organs_lead_as_firmly_as_large_ones(organs):
    """The part of the grid that a map fills decides nothing: with much empty room round it, it fits as well."""
    fixed, moving = organs
    wide = tuple(np.pad(one, 12) for one in (fixed, moving))
    shape = tuple(n + 24 for n in SHAPE)
    still = np.zeros((3, *shape), np.float32)
    close = refine(STILL, fixed, moving, GRID, steps=20, maps=(fixed[None], moving[None]), device="cpu")
    roomy = refine(still, *wide, Geometry(shape, np.eye(4)), steps=20, maps=(wide[0][None], wide[1][None]), device="cpu")
    inner = roomy[:, 12:-12, 12:-12, 12:-12]
    assert overlap(close, moving, fixed) > 0.97
    assert overlap(inner, moving, fixed) > 0.97


def test_a_field_that_brings_the_maps_no_closer_is_not_taken(organs):
    """So near to the best field a long step leads away."""
    fixed, _ = organs
    given = STILL + np.float32(0.01)
    found = refine(
        given, fixed, fixed, GRID, steps=1, maps=(fixed[None], fixed[None]), plan=Plan(step_voxels=3.0), device="cpu"
    )
    assert np.allclose(found, given, atol=1e-5)
