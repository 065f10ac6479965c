"""Guides steer where grey values say nothing, and the field stays without folds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from jrscli.engine.diffeomorphic import Plan, deform
from jrscli.engine.fit import Fit
from jrscli.engine.folding import determinant
from jrscli.engine.guidance import Guidance
from jrscli.engine.guides import Guides, landed, vouched
from jrscli.engine.pair import optimise
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

SHAPE = (32, 30, 28)
GRID = Geometry(SHAPE, np.diag((2.0, 2.0, 2.0, 1.0)))
PLAN = Plan(shrinks=(4, 2, 1), steps=(30, 30, 30))
CPU = torch.device("cpu")


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    index = np.indices(SHAPE) - np.array(centre).reshape(3, 1, 1, 1)
    return gaussian_filter((np.sqrt((index**2).sum(0)) < radius).astype(np.float32), 0.7)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array)[None, None]


def led(guides: Guides | None, texture: float = 0.0) -> torch.Tensor:
    """The field between two equal images: an even ball, with texture if asked."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 1.2).astype(np.float32)
    image = tensor(ball((16, 15, 14), 12) + texture * noise / noise.std())
    return deform(image, image, torch.ones_like(image), GRID.spacing_mm, PLAN, same_contrast=True, guides=guides)


def no_points() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(0, 3), torch.zeros(0, 3)


def test_labels_lead_where_grey_values_say_nothing():
    fixed, moving = tensor(ball((13, 15, 14), 4)), tensor(ball((19, 15, 14), 4))
    guides = Guides((fixed, moving), no_points())
    field = led(guides)
    facts = guides.facts(field, GRID.spacing_mm)
    assert guides.facts(led(None), GRID.spacing_mm)["label_overlap_after"] < 0.25
    assert facts["label_overlap_before"] < 0.25
    assert facts["label_overlap_after"] > 0.95
    assert float(determinant(field).min()) > 0


@pytest.mark.parametrize("texture", [0.0, 0.15], ids=["even", "contradicted"])
def test_landmarks_meet_even_where_the_images_say_otherwise(texture: float):
    here = torch.tensor([[10.0, 10, 10], [20, 12, 12], [14, 20, 16], [18, 18, 20]])
    there = here + torch.tensor([[3.0, 0, 1], [2, 2, 0], [0, -3, 1], [-1, 0, -3]])
    field = led(Guides((torch.zeros(1, 0, *SHAPE), torch.zeros(1, 0, *SHAPE)), (here, there)), texture)
    apart = (landed(field, here) - there).norm(dim=1)
    assert float((here - there).norm(dim=1).min()) > 2.8
    assert float(apart.max()) < 0.7
    assert float(determinant(field).min()) > 0


def test_no_guides_is_the_same_as_none():
    empty = Guides((torch.zeros(1, 0, *SHAPE), torch.zeros(1, 0, *SHAPE)), no_points())
    assert torch.equal(led(empty), led(None))


def test_guides_lie_where_the_images_do():
    """A map in a box of its own image, and a landmark, on the grid of the other through a map."""
    affine = AffineTransform.about(np.eye(3), np.zeros(3), np.array([4.0, -2.0, 6.0]))
    box = Geometry((9, 9, 9), np.diag((2.0, 2.0, 2.0, 1.0)) + np.array([[0, 0, 0, 20], [0, 0, 0, 22], [0, 0, 0, 24], [0] * 4]))
    small = np.zeros((9, 9, 9), np.uint8)
    small[3:6, 3:6, 3:6] = 1
    guidance = Guidance((), (), np.array([[24.0, 26, 28]]), np.array([[28.0, 24, 34]])).joined(
        Guidance((Volume(small, box),), (Volume(small, box),))
    )
    guides = guidance.on(GRID, GRID, Transform((affine,)), CPU)
    np.testing.assert_allclose(guides.points[0], guides.points[1], atol=1e-5)
    there = np.argwhere(guides.maps[1][0, 0].numpy() > 0.5).mean(0)
    here = np.argwhere(guides.maps[0][0, 0].numpy() > 0.5).mean(0)
    np.testing.assert_allclose(here - there, (2, -1, 3), atol=0.01)
    again = guidance.through(affine).on(GRID, GRID, None, CPU)
    brought = guidance.brought(GRID, affine).on(GRID, GRID, None, CPU)
    for other in (again, brought):
        torch.testing.assert_close(other.maps[1], guides.maps[1], atol=1e-4, rtol=0)
        torch.testing.assert_close(other.points[1], guides.points[1])


def test_landmarks_tell_the_rigid_map():
    rng = np.random.default_rng(1)
    angle = math.radians(75)
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    truth = AffineTransform.about(turn, np.array([30.0, 30, 28]), np.array([12.0, -7, 3]))
    points = rng.uniform(20, 40, (6, 3))  # a small organ is enough
    found = Guidance(fixed_points_mm=points, moving_points_mm=truth.map_points(points)).rigid()
    assert found is not None
    np.testing.assert_allclose(found.matrix, truth.matrix, atol=1e-9)
    line = np.outer(np.arange(5.0), [10, 0, 0])
    assert Guidance(fixed_points_mm=line, moving_points_mm=line).rigid() is None


def test_the_linear_fit_counts_guides():
    noise = np.random.default_rng(2).random((2, *SHAPE), dtype=np.float32)
    organ = Volume(ball((13, 15, 14), 4), GRID), Volume(ball((19, 15, 14), 4), GRID)
    fit = Fit(Volume(noise[0], GRID), Volume(noise[1], GRID), 50_000, None, CPU, Guidance((organ[0],), (organ[1],)))
    maps = torch.eye(4).repeat(2, 1, 1)
    maps[1, 0, 3] = 12
    still, moved = fit.value(maps)[0].tolist()
    assert moved > still + 0.6


def test_labels_start_the_linear_stage_and_vouch_for_it():
    """Between noise the labels' shift of 12 mm is found, and what the images alone leave in doubt is no failure."""
    noise = np.random.default_rng(2).random((2, *SHAPE), dtype=np.float32)
    pair = [Volume(gaussian_filter(part, 1), GRID) for part in noise]
    organ = Volume(ball((13, 15, 14), 4), GRID), Volume(ball((19, 17, 14), 4), GRID)
    found = optimise(*pair, guidance=Guidance((organ[0],), (organ[1],)), linear_only=True, device="cpu")
    centre = np.array([[26.0, 30, 28]])
    np.testing.assert_allclose(found.linear.affine.map_points(centre) - centre, [(12, 4, 0)], atol=2.5)
    assert found.linear.failed is None


def test_guides_vouch_if_they_agree():
    assert vouched({"label_overlap_before": 0.5})
    assert vouched({"landmarks_before_mm": 4.0})
    assert not vouched({"label_overlap_before": 0.1, "landmarks_before_mm": 30.0})
