"""The linear stage finds known maps, from far, between contrasts, and knows when it has not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from jrscli.engine.linear import align
from jrscli.engine.prepare import equalised, scaled, working_grid
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

CPU = torch.device("cpu")


def moved_by(volume: Volume, map_: AffineTransform) -> Volume:
    """The same object elsewhere: its header says where, so ``map_`` (fixed mm -> moving mm) is the exact answer."""
    return Volume(volume.array, Geometry(volume.geometry.shape, map_.matrix @ volume.geometry.affine))


def error_mm(found: AffineTransform, truth: AffineTransform, geometry: Geometry) -> float:
    inner = geometry.index_to_world(np.array([[i, j, k] for i in (9, 27) for j in (10, 30) for k in (6, 20)], dtype=float))
    return float(np.linalg.norm(found.map_points(inner) - truth.map_points(inner), axis=1).mean())


def truth_for(volume: Volume, degrees: float, shift: tuple[float, float, float], scale: float = 1.0) -> AffineTransform:
    axis = np.array([0.4, -0.6, 0.7]) / np.linalg.norm([0.4, -0.6, 0.7])
    linear = scale * Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix()
    return AffineTransform.about(linear, volume.geometry.centre_mm, np.array(shift))


@pytest.mark.parametrize(
    ("degrees", "shift"), [(5.0, (4.0, -3.0, 6.0)), (25.0, (20.0, 10.0, -15.0)), (10.0, (300.0, -200.0, 90.0))]
)
def test_finds_a_rigid_map_near_and_far(head: Volume, degrees: float, shift: tuple[float, float, float]) -> None:
    truth = truth_for(head, degrees, shift)
    result = align(scaled(head), scaled(moved_by(head, truth)), device=CPU)
    assert result.failed is None
    assert error_mm(result.affine, truth, head.geometry) < 0.5


def test_finds_a_scale(head: Volume) -> None:
    truth = truth_for(head, 6.0, (5.0, 2.0, 1.0), scale=1.12)
    result = align(scaled(head), scaled(moved_by(head, truth)), device=CPU)
    assert error_mm(result.affine, truth, head.geometry) < 0.7


def test_finds_the_map_between_contrasts_and_stays_rigid(head: Volume) -> None:
    truth = truth_for(head, 8.0, (6.0, -5.0, 4.0))
    other = Volume(np.sin(head.array / 1000 * 5.5) * (head.array > 150), head.geometry)
    result = align(scaled(head), scaled(moved_by(other, truth)), device=CPU)
    assert result.contrast < 0.6
    assert result.affine.is_rigid(1e-3)
    assert error_mm(result.affine, truth, head.geometry) < 1.5


def test_ranks_see_what_bright_voxels_hide(head: Volume) -> None:
    """A table far brighter than the rest, which the other image does not show."""
    truth = truth_for(head, 8.0, (6.0, -5.0, 4.0))
    hidden = head.array.copy()
    hidden[22:36, 0:5] = 30_000
    other = Volume(np.sin(head.array / 1000 * 5.5) * (head.array > 150), head.geometry)
    result = align(scaled(Volume(hidden, head.geometry)), scaled(moved_by(other, truth)), device=CPU)
    assert result.failed is None
    assert result.contrast < 0.6
    assert error_mm(result.affine, truth, head.geometry) < 1.5


@pytest.mark.parametrize("given", [False, True])
def test_a_part_finds_its_place_in_the_whole(head: Volume, given: bool) -> None:
    lower, upper = (10, 8, 6), (30, 26, 20)
    part = Volume(head.array[10:30, 8:26, 6:20], head.geometry.cropped_to(lower, upper))
    truth = truth_for(head, 9.0, (5.0, -6.0, 4.0))
    init = truth_for(head, 4.0, (2.0, -2.0, 0.0)) if given else "auto"
    result = align(scaled(head), scaled(moved_by(part, truth)), init=init, device=CPU)
    inner = part.geometry.corners_mm
    assert np.linalg.norm(result.affine.map_points(inner) - truth.map_points(inner), axis=1).mean() < 1.0
    assert result.overlap > 0.9
    assert result.failed is None


def test_ranks_are_the_same_for_any_rising_scale(head: Volume) -> None:
    whole = np.round(head.array)
    ranks = equalised(Volume(whole, head.geometry)).array
    risen = equalised(Volume(np.exp(whole / 300), head.geometry)).array
    np.testing.assert_array_equal(ranks, risen)
    assert ranks.min() == 0
    assert ranks.max() == 1


def test_improves_a_given_map(head: Volume) -> None:
    truth = truth_for(head, 60.0, (8.0, 0.0, 5.0))
    start = truth_for(head, 52.0, (5.0, 3.0, 5.0))
    result = align(scaled(head), scaled(moved_by(head, truth)), init=start, device=CPU)
    assert result.start == "file"
    assert error_mm(result.affine, truth, head.geometry) < 0.5


def test_noise_on_noise_is_a_failure(head: Volume) -> None:
    rng = np.random.default_rng(0)
    one, other = (Volume(rng.random(head.array.shape).astype(np.float32), head.geometry) for _ in range(2))
    assert align(one, other, device=CPU).failed is not None


def test_a_weight_hides_what_does_not_belong(head: Volume) -> None:
    truth = truth_for(head, 4.0, (3.0, -4.0, 2.0))
    cheat = head.array.copy()
    cheat[20:26, 2:9, 4:10] = 1000
    moving = moved_by(head, truth)
    weight = np.ones(head.array.shape, np.float32)
    weight[17:29, 0:12, 1:13] = 0
    result = align(scaled(Volume(cheat, head.geometry)), scaled(moving), weight=Volume(weight, head.geometry), device=CPU)
    assert error_mm(result.affine, truth, head.geometry) < 0.7


def test_flat_image_stays_in_its_plane(head: Volume) -> None:
    plane = head.geometry.cropped_to((0, 0, 13), (36, 40, 14))
    flat = Volume(head.array[:, :, 13:14], plane)
    turn = Rotation.from_euler("z", 7, degrees=True).as_matrix()
    truth = AffineTransform.about(turn, plane.centre_mm, np.array([4.0, -3.0, 0.0]))
    result = align(scaled(flat), scaled(moved_by(flat, truth)), device=CPU)
    corners = plane.index_to_world(np.array([[9.0, 10, 0], [27, 30, 0], [9, 30, 0]]))
    assert np.linalg.norm(result.affine.map_points(corners) - truth.map_points(corners), axis=1).max() < 0.6


def test_working_grid_stays_below_its_voxels_and_over_the_same_field() -> None:
    geometry = Geometry((200, 180, 40), np.diag([1.0, 1.0, 4.0, 1.0]))
    grid = working_grid(geometry, 100_000)
    assert np.prod(grid.shape) <= 100_000
    np.testing.assert_allclose(grid.corners_mm, geometry.corners_mm, atol=1e-6)
    assert working_grid(geometry, 10_000_000) is geometry
