"""Masks and levels -> contours: the way back gives the same mask, and every reader gets the holes right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.ndimage import gaussian_filter

from jrscli.spatial.contouring import contours_from_levels, contours_from_mask, trace
from jrscli.spatial.distance import signed_distance
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import contour_volume_mm3, rasterize
from jrscli.spatial.structures import Contour, Roi

GRID = Geometry((20, 18, 3), np.diag([1.0, 1.5, 3.0, 1.0]))
HOLES = ["keyhole", "xor", "nested"]


def back(contours, geometry):
    return rasterize(Roi(1, "roi", tuple(contours)), geometry)


@given(
    mask=npst.arrays(bool, st.tuples(*[st.integers(1, 9)] * 2, st.integers(1, 3))),
    holes=st.sampled_from(HOLES),
)
def test_any_mask_comes_back_identical(mask, holes):
    """Islands, holes, islands in holes, diagonal neighbours, single voxels, edges."""
    grid = Geometry(mask.shape, np.diag([0.7, 1.3, 2.5, 1.0]))
    assert np.array_equal(back(contours_from_mask(mask, grid, holes=holes), grid), mask)


@given(seed=st.integers(0, 10_000), sigma=st.floats(0.5, 3.0), holes=st.sampled_from(HOLES))
def test_blobs_come_back_identical_on_an_oblique_stack(oblique, seed, sigma, holes):
    mask = gaussian_filter(np.random.default_rng(seed).normal(size=oblique.shape), sigma) > 0
    contours = contours_from_mask(mask, oblique, holes=holes)
    assert np.array_equal(back(contours, oblique), mask)
    # as a file holds them: three decimals
    rounded = [Contour(np.round(contour.points, 3), contour.kind) for contour in contours]
    assert np.array_equal(back(rounded, oblique), mask)


def test_one_voxel_is_a_diamond_midway_to_its_neighbours():
    mask = np.zeros(GRID.shape, bool)
    mask[5, 6, 1] = True
    (contour,) = contours_from_mask(mask, GRID)
    expected = {(4.5, 9.0, 3.0), (5.5, 9.0, 3.0), (5.0, 8.25, 3.0), (5.0, 9.75, 3.0)}
    assert {tuple(point) for point in contour.points.round(9).tolist()} == expected


def test_diagonal_neighbours_are_two_contours():
    mask = np.zeros(GRID.shape, bool)
    mask[5, 6, 1] = mask[6, 7, 1] = True
    assert len(contours_from_mask(mask, GRID)) == 2


def test_points_lie_in_the_plane_exactly_and_are_not_repeated(oblique):
    mask = np.zeros(oblique.shape, bool)
    mask[2:9, 3:8, 2:7] = True
    for contour in contours_from_mask(mask, oblique):
        depth = oblique.world_to_index(contour.points)[:, 2]
        assert np.abs(depth - np.round(depth)).max() < 1e-9
        assert np.abs(contour.points[0] - contour.points[-1]).max() > 0.1


def test_straight_runs_keep_their_ends_only():
    mask = np.zeros(GRID.shape, bool)
    mask[2:12, 3:9, 0] = True
    (contour,) = contours_from_mask(mask, GRID)
    assert len(contour.points) == 8


@pytest.mark.parametrize(("holes", "count", "kind"), [("keyhole", 1, "CLOSED_PLANAR"), ("xor", 3, "CLOSEDPLANAR_XOR"),
                                                      ("nested", 3, "CLOSED_PLANAR")])  # fmt: skip
def test_two_holes_in_each_manner(holes, count, kind):
    mask = np.zeros(GRID.shape, bool)
    mask[2:18, 2:16, 1] = True
    mask[4:6, 4:6, 1] = mask[10:14, 8:12, 1] = False
    contours = contours_from_mask(mask, GRID, holes=holes)
    assert [contour.kind for contour in contours] == [kind] * count


def test_keyhole_area_is_that_of_the_ring():
    """By the shoelace formula, as readers that know no even-odd rule compute it: holes are walked against the outer contour."""
    mask = np.zeros(GRID.shape, bool)
    mask[2:18, 2:16, 1] = True
    mask[6:14, 6:12, 1] = False
    (contour,) = contours_from_mask(mask, GRID)
    x, y = contour.points[:, 0], contour.points[:, 1]
    shoelace = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert shoelace * 3.0 == pytest.approx(contour_volume_mm3(Roi(1, "ring", (contour,)), GRID))
    assert shoelace < mask.sum() * 1.5 * 1.02


def test_region_at_the_edge_closes_half_a_pixel_outside():
    contours = contours_from_mask(np.ones(GRID.shape, bool), GRID)
    points = np.concatenate([contour.points for contour in contours])
    assert points.min(axis=0).tolist() == [-0.5, -0.75, 0.0]
    assert points.max(axis=0).tolist() == [19.5, 26.25, 6.0]


def test_a_level_set_is_followed_between_pixels():
    grid = Geometry((40, 40, 1), np.eye(4))
    x, y = np.meshgrid(np.arange(40), np.arange(40), indexing="ij")
    levels = (11.3 - np.hypot(x - 20.2, y - 19.7))[:, :, None]
    (contour,) = contours_from_levels(levels.astype(np.float32), grid, 0.0)
    radius = np.hypot(contour.points[:, 0] - 20.2, contour.points[:, 1] - 19.7)
    assert np.abs(radius - 11.3).max() < 0.02


def test_a_signed_distance_gives_its_mask_back():
    mask = gaussian_filter(np.random.default_rng(4).normal(size=GRID.shape), 1.5) > 0
    assert np.array_equal(back(contours_from_levels(signed_distance(mask, GRID), GRID, 0.0), GRID), mask)


def test_specks_of_a_level_set_are_dropped_and_counted():
    levels = np.full((9, 9, 1), -1.0, np.float32)
    levels[4, 4] = 0.05
    traced = trace(levels, Geometry((9, 9, 1), np.eye(4)), 0.0)
    assert not traced.contours
    assert traced.dropped == 1


@pytest.mark.parametrize("holes", HOLES)
def test_simplified_contours_stay_within_the_distance_and_keep_their_holes(oblique, holes):
    grid = Geometry((60, 50, 2), oblique.affine)
    noise = gaussian_filter(np.random.default_rng(3).normal(size=grid.shape), (5, 5, 0.5))
    mask = noise > 0.01
    traced = trace(mask, grid, 0.5, holes=holes, simplify_mm=0.8)
    plain = contours_from_mask(mask, grid, holes=holes)
    assert 0.4 < traced.deviation_mm < 0.8
    assert sum(len(c.points) for c in traced.contours) < 0.6 * traced.points_before
    assert len(traced.contours) == len(plain)
    for line in plain:
        # every point of the full outlines lies near some edge of the thin ones of its slice
        k = round(float(grid.world_to_index(line.points[:1])[0, 2]))
        ends = [c.points for c in traced.contours if round(float(grid.world_to_index(c.points[:1])[0, 2])) == k]
        starts = np.concatenate(ends)
        along = np.concatenate([np.roll(p, -1, axis=0) for p in ends]) - starts
        apart = line.points[:, None] - starts
        share = np.clip((apart * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12), 0, 1)
        assert np.linalg.norm(apart - share[..., None] * along, axis=-1).min(axis=1).max() <= traced.deviation_mm + 1e-9
    again = back(traced.contours, grid)
    assert 0.97 < 2 * (again & mask).sum() / (again.sum() + mask.sum()) < 1
