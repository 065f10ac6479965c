"""The deformable stage: known motion found, no folds, an inverse that is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from jrscli.engine.diffeomorphic import Plan, deform
from jrscli.engine.estimate import estimate
from jrscli.engine.features import mind
from jrscli.engine.folding import determinant, gradient, unfolded
from jrscli.engine.inverse import divided, faded, invert, margin_for, parts_for
from jrscli.engine.pair import EFFORTS, _in_mm, finish, optimise
from jrscli.engine.prepare import working_grid
from jrscli.nn.warp import compose
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume
from jrscli.workflows.register import register


@pytest.fixture(scope="module")
def truth(head: Volume) -> DisplacementField:
    """A smooth field of up to 7 mm that fades towards the border."""
    rng = np.random.default_rng(5)
    u = np.stack([gaussian_filter(rng.standard_normal(head.array.shape), (5, 5, 3.5), mode="constant") for _ in range(3)], -1)
    return DisplacementField((7 * u / np.linalg.norm(u, axis=-1).max()).astype(np.float32), head.geometry)


def tissue(head: Volume) -> np.ndarray:
    return gaussian_filter(head.array, 1) > 200


def mean_error(transform: Transform, truth: DisplacementField, where: np.ndarray) -> float:
    found = transform.displacement(truth.geometry).array
    return float(np.linalg.norm(found - truth.array, axis=-1)[where].mean())


@pytest.mark.parametrize("contrast", ["same", "different"])
def test_known_motion_is_found(head: Volume, truth: DisplacementField, contrast: str) -> None:
    fixed = resample(head, head.geometry, Transform((truth,)))
    moving = head
    if contrast == "different":
        fixed = Volume((np.sin(fixed.array / 1000 * 5.5) * (fixed.array > 150)).astype(np.float32), fixed.geometry)
    result = register(fixed, moving, preset="balanced")
    before = float(np.linalg.norm(truth.array, axis=-1)[tissue(fixed if contrast == "same" else head)].mean())
    after = mean_error(result.transform, truth, tissue(head))
    assert after < (0.35 if contrast == "same" else 0.75) * before
    assert result.folding_percent == 0
    assert result.jacobian_min > 0
    assert result.inverse_consistency_p95_mm < 0.3


def test_equal_runs_give_equal_fields(head: Volume, truth: DisplacementField) -> None:
    fixed = resample(head, head.geometry, Transform((truth,)))
    one, other = (optimise(fixed, head, preset="fast") for _ in range(2))
    assert one.displacement is not None
    assert other.displacement is not None
    np.testing.assert_array_equal(one.displacement.array, other.displacement.array)


def test_linear_only_is_linear(head: Volume) -> None:
    result = register(head, head, linear_only=True)
    assert result.transform.is_linear
    corners = head.geometry.corners_mm
    assert np.linalg.norm(result.transform.map_points(corners) - corners, axis=1).max() < 0.2


def test_a_planted_fold_is_mended() -> None:
    field = torch.zeros(1, 3, 16, 16, 16)
    field[0, 0, 7], field[0, 0, 9] = 1.6, -1.6
    assert float(determinant(field).min()) < 0
    mended = unfolded(field)
    for scheme in ("central", "forward", "backward"):
        assert float(determinant(mended, scheme).min()) > 0
    assert torch.equal(mended[:, :, :2], field[:, :, :2])


def test_determinant_agrees_with_the_field_of_the_spatial_core(truth: DisplacementField) -> None:
    voxels = torch.from_numpy(truth.to_voxels()).permute(3, 0, 1, 2)[None]
    np.testing.assert_allclose(determinant(voxels)[0, 0], truth.jacobian(), atol=1e-4)


def test_inverse_undoes_a_large_field() -> None:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(1, 3, 5, 5, 5, generator=generator)
    field = unfolded(3.5 * torch.nn.functional.interpolate(coarse, (32, 32, 32), mode="trilinear", align_corners=True))
    wide = unfolded(faded(field, margin_for(field)))
    back = invert(wide)
    assert float(wide[:, :, 0].abs().max()) < 1e-6
    assert float(compose(back, wide).abs().max()) < 0.05


def test_thick_slices_are_divided_for_the_inverse() -> None:
    """What the field does between slices comes back to where it was."""
    assert parts_for((20, 20, 8), (1.4, 1.4, 10.0)) == (1, 1, 4)
    assert parts_for((20, 20, 8), (2.0, 1.0, 2.9)) == (1, 1, 1)
    assert parts_for((20, 20, 1), (1.0, 1.0, 8.0)) == (1, 1, 1)
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(1, 3, 6, 6, 8, generator=generator) * torch.tensor([2.0, 2.0, 0.3]).view(1, 3, 1, 1, 1)
    field = torch.nn.functional.interpolate(coarse, (30, 30, 8), mode="trilinear", align_corners=True)
    margin = margin_for(field)
    wide = unfolded(faded(field, margin))
    grid = Geometry(tuple(wide.shape[2:]), np.diag([1.0, 1.0, 6.0, 1.0]))
    points = grid.index_to_world(np.random.default_rng(0).uniform(margin, np.array(margin) + [29, 29, 7], (3000, 3)))
    forward = _in_mm(wide, grid).map_points(points)
    off = []
    for parts in ((1, 1, 1), (1, 1, 4)):
        back = _in_mm(invert(divided(wide, parts)), grid.with_spacing((1.0, 1.0, 6.0 / parts[2])))
        off.append(float(np.linalg.norm(back.map_points(forward) - points, axis=1).mean()))
    assert off[1] < 0.6 * off[0]


def test_mind_does_not_see_the_contrast(head: Volume) -> None:
    image = torch.from_numpy(head.array.copy())[None, None] / 1000
    assert float((mind(image, 1) - mind(1 - 0.7 * image, 1)).abs().max()) < 1e-3
    shifted = torch.roll(image, 2, dims=2)
    assert float((mind(image, 1) - mind(shifted, 1)).abs().mean()) > 0.05


def test_more_work_is_expected_to_cost_more() -> None:
    def grid(*shape: int) -> Geometry:
        return Geometry(shape, np.eye(4))

    small, large = grid(40, 50, 40), grid(512, 512, 160)
    few = estimate(small, small, "balanced", linear_only=False, threads=1)
    many = estimate(large, large, "balanced", linear_only=False, threads=1)
    assert 5 < few.seconds < 20
    assert 40 < many.seconds < 200
    assert 0.4 < few.gigabytes < 0.8
    assert 1 < many.gigabytes < 3
    assert estimate(large, large, "balanced", linear_only=True, threads=1).seconds < many.seconds
    assert estimate(large, large, "fast", linear_only=False, threads=1).seconds < many.seconds
    assert estimate(large, large, "best", linear_only=False, threads=1).gigabytes > many.gigabytes
    assert estimate(large, large, "balanced", linear_only=False, threads=2).seconds < many.seconds


def test_small_grids_take_finer_steps_than_large_ones() -> None:
    crop, large = Geometry((40, 50, 35), np.eye(4)), Geometry((512, 512, 160), np.eye(4))
    for name, effort in EFFORTS.items():
        small_plan, large_plan = (effort.plan(working_grid(one, effort.voxels)) for one in (crop, large))
        assert small_plan.update_sigma < large_plan.update_sigma, name
        assert small_plan.smoothness < large_plan.smoothness, name


def test_both_ways_make_the_field_smoother(head: Volume) -> None:
    """What one direction alone finds in noise is averaged away."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.from_numpy(head.array.copy())[None, None] / 1000 for _ in range(2)]
    fixed, moving = (image + 0.05 * torch.randn(image.shape, generator=generator) for image in images)
    rough = []
    for both in (False, True):
        plan = Plan(shrinks=(2, 1), steps=(30, 30), smoothness=0.0, both_ways=both)
        field = deform(fixed, moving, torch.ones_like(fixed), head.geometry.spacing_mm, plan, same_contrast=True)
        rough.append(float(sum((step * step).mean() for step in gradient(field, "central"))))
    assert rough[1] < 0.8 * rough[0]


def on_in_noise(voxels: int) -> tuple[Volume, Volume, DisplacementField]:
    """Noise, the same noise so many voxels on along the first axis, and the field between them."""
    grid = Geometry((48, 24, 22), np.eye(4))
    whole = gaussian_filter(np.random.default_rng(8).standard_normal((64, 24, 22)), 1.0).astype(np.float32)
    field = np.zeros((*grid.shape, 3), np.float32)
    field[..., 0] = voxels
    fixed, moving = (Volume(whole[n : n + 48], grid) for n in (voxels, 0))
    return fixed, moving, DisplacementField(field, grid)


@pytest.mark.parametrize(
    ("voxels", "begin", "good"),
    [(16, 16, True), (16, 0, False), (2, -16, True)],
    ids=["too far to be seen, but told", "too far, and not told", "near, but told wrongly"],
)
def test_a_field_to_begin_with_is_followed_where_it_fits(voxels: int, begin: int, good: bool) -> None:
    fixed, moving, truth = on_in_noise(voxels)
    inside = np.zeros(truth.geometry.shape, bool)
    inside[6:24, 4:-4, 4:-4] = True
    told = DisplacementField(truth.array * (begin / voxels), truth.geometry)
    found, back, steps = finish(fixed, moving, AffineTransform.identity(), told)
    error = mean_error(Transform((found,)), truth, inside)
    assert error < 0.5 if good else error > 3
    assert [step.name for step in steps] == ["prepare", "deformable", "unfold", "inverse"]
    if good:
        points = truth.geometry.index_to_world(np.argwhere(inside))
        assert float(np.linalg.norm(back.map_points(found.map_points(points)) - points, axis=1).mean()) < 0.1
