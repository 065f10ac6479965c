"""The whole pair optimiser: linear stage, contrast, deformable stage, folds, inverse."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from jrscli.engine.device import device_named
from jrscli.engine.diffeomorphic import Plan, deform
from jrscli.engine.fit import Fit
from jrscli.engine.folding import determinant, unfolded
from jrscli.engine.guidance import Guidance
from jrscli.engine.guides import Guides, vouched
from jrscli.engine.inverse import divided, faded, invert, margin_for, parts_for
from jrscli.engine.linear import MIDDLE, SAME_CONTRAST, LinearResult, align
from jrscli.engine.prepare import scaled, tensor_of, working_grid
from jrscli.nn.losses import LocalCorrelation
from jrscli.nn.warp import warp
from jrscli.progress import Progress, silent
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample, resample_smoothed
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

SMALL = 150_000
"""A grid of fewer voxels shows one structure in few of them: steps are finer there, see engine.md."""


@dataclass(frozen=True)
class Effort:
    """How much work a preset does.

    voxels: of the working grid. shrinks, steps: the levels of the deformable stage.
    finest_updates: voxels times steps on the last level; a small image gets up to as many steps there as on the level before, a
    large one at least a third of that. both_ways: see `Plan`.
    """

    voxels: int
    shrinks: tuple[int, ...]
    steps: tuple[int, ...]
    finest_updates: float
    both_ways: bool = True

    def plan(self, grid: Geometry) -> Plan:
        """The plan for a working grid."""
        most = self.steps[-1]
        last = int(min(most, max(most / 3, self.finest_updates / np.prod(grid.shape))))
        plan = Plan(shrinks=self.shrinks, steps=(*self.steps, last), both_ways=self.both_ways)
        return replace(plan, update_sigma=2.0, smoothness=0.15) if np.prod(grid.shape) < SMALL else plan


EFFORTS = {
    "fast": Effort(200_000, (4, 2, 1), (30, 20), 1.2e6, both_ways=False),
    "balanced": Effort(1_100_000, (4, 2, 1), (60, 60), 20e6),
    "best": Effort(2_500_000, (8, 4, 2, 1), (60, 80, 80), 100e6),
}


@dataclass
class Step:
    """One step of a registration: its name, how long it took, and what it found."""

    name: str
    seconds: float
    facts: dict[str, float | str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class PairResult:
    """What the optimiser found: the linear map, the field after it and its inverse, each on a grid with a margin (or None)."""

    linear: LinearResult
    displacement: DisplacementField | None
    inverse: DisplacementField | None
    steps: tuple[Step, ...]


class _Clock:
    """Collects the steps and tells the listener how far the present one is."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.steps: list[Step] = []
        self._since = time.perf_counter()
        self._stage, self._done, self._total = "", 0, 1

    def begin(self, stage: str, total: int) -> Callable[[], None]:
        """Start a stage of ``total`` ticks; returns the tick."""
        self._since = time.perf_counter()
        self._stage, self._done, self._total = stage, 0, total
        self.progress(stage, 0, total)
        return self._tick

    def _tick(self) -> None:
        self._done = min(self._done + 1, self._total)
        self.progress(self._stage, self._done, self._total)

    def end(self, **facts: float | str | int) -> None:
        """Close the stage with what it found."""
        self.progress(self._stage, self._total, self._total)
        self.steps.append(Step(self._stage, round(time.perf_counter() - self._since, 3), dict(facts)))


def optimise(
    fixed: Volume,
    moving: Volume,
    *,
    preset: str = "balanced",
    init: str | AffineTransform = "auto",
    linear_only: bool = False,
    fixed_weight: Volume | None = None,
    moving_weight: Volume | None = None,
    guidance: Guidance | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Progress = silent,
) -> PairResult:
    """Register two images of any modality. Weights: 1 where a voxel counts, 0 where not, on any grid of their own image.

    guidance: what is known of the pair beside its grey values; it enters both stages.
    """
    place = device_named(device)
    effort = EFFORTS[preset]
    clock = _Clock(progress)
    clock.begin("prepare", 1)
    fixed_grey, moving_grey = scaled(fixed), scaled(moving)
    clock.end()
    tick = clock.begin("linear", 25)
    turned = guidance.rigid() if guidance and init == "auto" else None
    init = init if turned is None else turned
    linear = align(
        fixed_grey, moving_grey, init=init, weight=fixed_weight, guidance=guidance, device=place, seed=seed, tick=tick
    )
    if turned is not None:
        linear = replace(linear, start="landmarks")
    facts = {
        "contrast": linear.contrast,
        "agreement": linear.agreement,
        "similarity": linear.similarity,
        "standout": linear.standout,
        "overlap": linear.overlap,
    }
    grid = working_grid(fixed.geometry, effort.voxels)
    pull = Transform((linear.affine,))
    guides = guidance.on(grid, grid, pull, place) if guidance else None
    doubt = {}
    if guides and linear.failed and vouched(guides.facts(guides.still(), grid.spacing_mm)):
        doubt, linear = {"doubt_without_guides": linear.failed}, replace(linear, failed=None)
    clock.end(start=linear.start, starts=linear.starts, **doubt, **{name: round(value, 4) for name, value in facts.items()})
    if linear_only:
        return PairResult(linear, None, None, tuple(clock.steps))

    same = linear.contrast > SAME_CONTRAST
    weights = fixed_weight, moving_weight
    fields = _deformed((fixed_grey, moving_grey), weights, pull, effort, same, guides, clock, place)
    return PairResult(linear, *fields, tuple(clock.steps))


def finish(
    fixed: Volume,
    moving: Volume,
    linear: AffineTransform,
    begin: DisplacementField,
    *,
    preset: str = "balanced",
    guidance: Guidance | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[DisplacementField, DisplacementField, tuple[Step, ...]]:
    """A field before a linear map (fixed mm -> moving mm), improved on the images' own working grid, and its inverse.

    begin: found by somebody else, on whatever grid; on the coarsest level it stands beside a start from nothing, and what fits
    better goes on. guidance: as for `optimise`.
    """
    place = device_named(device)
    effort = EFFORTS[preset]
    clock = _Clock(progress)
    clock.begin("prepare", 1)
    grey = scaled(fixed), scaled(moving)
    matrix = torch.tensor(linear.matrix, dtype=torch.float32, device=place)[None]
    same = Fit(*grey, MIDDLE, None, place).signed_correlation(matrix) > SAME_CONTRAST
    clock.end()
    grid = working_grid(fixed.geometry, effort.voxels)
    pull = Transform((linear,))
    guides = guidance.on(grid, grid, pull, place) if guidance else None
    found, back = _deformed(grey, (None, None), pull, effort, same, guides, clock, place, begin)
    return found, back, tuple(clock.steps)


def _deformed(
    grey: tuple[Volume, Volume],
    weights: tuple[Volume | None, Volume | None],
    pull: Transform,
    effort: Effort,
    same: bool,
    guides: Guides | None,
    clock: _Clock,
    place: torch.device,
    begin: DisplacementField | None = None,
) -> tuple[DisplacementField, DisplacementField]:
    """The field of the deformable stage, before the map ``pull``, and its inverse. weights: of fixed and moving image."""
    (fixed, moving), (fixed_weight, moving_weight) = grey, weights
    grid = working_grid(fixed.geometry, effort.voxels)
    plan, first = effort.plan(grid), None
    if begin is not None:
        array = Transform((begin,)).displacement(grid).to_voxels().astype(np.float32)
        first = torch.from_numpy(np.moveaxis(array, -1, 0).copy())[None].to(place)
    small = resample_smoothed(moving, working_grid(moving.geometry, effort.voxels))
    target = tensor_of(resample_smoothed(fixed, grid).array, place)
    source = tensor_of(resample(small, grid, pull).array, place)
    weight = tensor_of(_coverage(moving.geometry, moving_weight, grid, pull).array, place)
    if fixed_weight is not None:
        weight = weight * tensor_of(resample_smoothed(fixed_weight, grid).array, place)
    weight = -functional.max_pool3d(
        -weight, [1 + 2 * min(1, n - 1) for n in grid.shape], 1, [min(1, n - 1) for n in grid.shape]
    )
    guides = guides.within(weight) if guides else None
    tick = clock.begin("deformable", (1 + plan.both_ways) * sum(plan.steps) // 10)
    field_voxels = deform(
        target, source, weight, grid.spacing_mm, plan, same_contrast=same, guides=guides, begin=first, tick=tick
    )
    clock.end(contrast="same" if same else "different")

    clock.begin("unfold", 1)
    field_voxels = unfolded(field_voxels)
    gain = _gain(target, source, weight, field_voxels, grid.spacing_mm, same)
    guided = guides.facts(field_voxels, grid.spacing_mm) if guides else {}
    if gain < 0 and not guides:  # never hand out a field that fits worse than the linear map alone
        field_voxels = torch.zeros_like(field_voxels)
    clock.end(smallest_determinant=round(float(determinant(field_voxels).min()), 4), similarity_gain=round(gain, 4), **guided)
    clock.begin("inverse", 1)
    margin = margin_for(field_voxels)
    wide = unfolded(faded(field_voxels, margin))
    wide_grid = grid.padded(margin)
    i, j, k = parts = parts_for(wide_grid.shape, wide_grid.spacing_mm)
    back = invert(divided(wide, parts) if max(parts) > 1 else wide)
    x, y, z = wide_grid.spacing_mm
    back_grid = wide_grid.with_spacing((x / i, y / j, z / k))
    clock.end(margin_voxels=max(margin))
    return _in_mm(wide, wide_grid), _in_mm(back, back_grid)


def _in_mm(field_voxels: Float[Tensor, "1 3 i j k"], grid: Geometry) -> DisplacementField:
    array = field_voxels[0].permute(1, 2, 3, 0).cpu().numpy()
    return DisplacementField.from_voxels(np.ascontiguousarray(array), grid)


def _coverage(moving: Geometry, moving_weight: Volume | None, grid: Geometry, pull: Transform) -> Volume:
    """How much of each working voxel the moving image (or the part of it that counts) covers, 0 … 1."""
    if moving_weight is None:
        coarse = working_grid(moving, 30_000)
        moving_weight = Volume(np.ones(coarse.shape, np.float32), coarse)
    return resample(moving_weight, grid, pull, outside=0.0)


def _local(fixed: Tensor, spacing: tuple[float, float, float], radius: float = 2.0) -> LocalCorrelation:
    finest = min(s for s, n in zip(spacing, fixed.shape[2:], strict=True) if n > 1)
    return LocalCorrelation(fixed, [round(radius * finest / s) for s in spacing], 0.05)


def _gain(
    fixed: Tensor,
    moving: Tensor,
    weight: Tensor,
    field_voxels: Tensor,
    spacing: tuple[float, float, float],
    same_contrast: bool,
) -> float:
    """How much the field raises the mean local correlation (for images of different contrast the field is always kept)."""
    if not same_contrast:
        return 0.0
    correlation = _local(fixed, spacing)
    total = weight.sum().clamp_min(1e-6)
    before = (correlation.map(moving) * weight).sum() / total
    after = (correlation.map(warp(moving, field_voxels)) * weight).sum() / total
    return float(after - before)
