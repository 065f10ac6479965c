"""The deformable stage: small smooth steps composed one after the other, from coarse grids to fine ones.

Every step is shorter than half a voxel and smooth, so it folds nothing, nor does their composition; what rounding on the
grid still folds is mended by `unfolded`. Both directions are sought and averaged on every level: what only one of them finds is
mostly chance. The scheme follows Avants et al., Medical Image Analysis 12(1), 2008,
doi:10.1016/j.media.2007.06.004, with adaptive steps as in Jena et al., FireANTs, arXiv 2404.01249; the diffusion term is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from jrscli.engine.features import MIND_RADIUS, mind
from jrscli.engine.folding import unfolded
from jrscli.engine.guides import Guides, Objective
from jrscli.engine.inverse import invert
from jrscli.nn.filters import gaussian, shrunk
from jrscli.nn.losses import FeatureDistance, LocalCorrelation, diffusion_slope
from jrscli.nn.warp import compose, resize_field


@dataclass(frozen=True)
class Plan:
    """How the deformable stage proceeds.

    shrinks: the grid of each level, as multiples of the smallest voxel size; steps: how many on each.
    step_voxels: the longest step. smoothness: weight of the diffusion term.
    update_sigma: how smooth a step is, voxels.
    radius: half the window of the local correlation, voxels of the finest axis. noise: see `LocalCorrelation`.
    both_ways: average with the inverse of the opposite field after every level; twice the work.
    """

    shrinks: tuple[int, ...] = (4, 2, 1)
    steps: tuple[int, ...] = (60, 60, 40)
    step_voxels: float = 0.4
    update_sigma: float = 3.0
    smoothness: float = 0.3
    radius: float = 2.0
    noise: float = 0.01
    both_ways: bool = True


MOMENTUM, MEMORY = 0.8, 0.9
FLOOR = 0.3
"""Share of the mean gradient added to the local one before dividing: flat regions get small steps, not noise blown up."""
SMALLEST = 12
"""No axis is shrunk below this many voxels."""


def level_shape(shape: Sequence[int], spacing: Sequence[float], shrink: int) -> tuple[int, ...]:
    """The voxels per axis of a level; an axis whose voxels are thick already is shrunk less or not at all."""
    target = shrink * min(spacing)
    sizes = []
    for n, s in zip(shape, spacing, strict=True):
        wanted = math.ceil((n - 1) * s / max(s, target) - 1e-6) + 1
        sizes.append(max(min(n, SMALLEST), wanted))
    return tuple(sizes)


def deform(
    fixed: Float[Tensor, "1 1 i j k"],
    moving: Float[Tensor, "1 1 i j k"],
    weight: Float[Tensor, "1 1 i j k"],
    spacing: Sequence[float],
    plan: Plan,
    *,
    same_contrast: bool,
    guides: Guides | None = None,
    begin: Float[Tensor, "1 3 i j k"] | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Float[Tensor, "1 3 i j k"]:
    """The pull field (voxels) that takes ``moving`` onto ``fixed``; both on one grid of this spacing, grey values 0 … 1.

    weight: how much each voxel counts, 0 … 1. same_contrast: local correlation if true, else distance of MIND-SSC features.
    guides: what else the field has to bring together, on the same grid. begin: a field to begin with, beside nothing: on the
    coarsest grid both are tried, and what fits better goes on.
    """
    field: Tensor | None = None
    for shrink, steps in zip(plan.shrinks, plan.steps, strict=True):
        level = _Level(fixed, moving, weight, spacing, shrink, same_contrast, guides)
        if field is not None:
            field = level.solved(resize_field(field, level.size), plan, steps, tick)
            continue
        field = level.solved(None, plan, steps, tick)
        if begin is not None:
            other = level.solved(resize_field(begin, level.size), plan, steps, tick)
            field = min(field, other, key=lambda found: level.misfit(found, plan))
    assert field is not None
    return resize_field(field, fixed.shape[2:])


FIXED, MOVING = 0, 1


class _Level:
    """Both images on one grid of the pyramid. coarseness: its voxels in those of its finest axis."""

    def __init__(
        self,
        fixed: Tensor,
        moving: Tensor,
        weight: Tensor,
        spacing: Sequence[float],
        shrink: int,
        same_contrast: bool,
        guides: Guides | None = None,
    ) -> None:
        shape = fixed.shape[2:]
        self.size = level_shape(shape, spacing, shrink)
        wide = [(n - 1) * s / (m - 1) if m > 1 else s for n, m, s in zip(shape, self.size, spacing, strict=True)]
        finest = min(s for s, m in zip(wide, self.size, strict=True) if m > 1)
        self.coarseness = [s / finest for s in wide]
        self.same_contrast = same_contrast
        images = shrunk(fixed, self.size), shrunk(moving, self.size)
        self.channels = images if same_contrast else (mind(images[FIXED], MIND_RADIUS), mind(images[MOVING], MIND_RADIUS))
        self.weight = shrunk(weight, self.size)
        self.guides = guides.at(self.size) if guides else None

    def solved(
        self, start: Float[Tensor, "1 3 i j k"] | None, plan: Plan, steps: int, tick: Callable[[], None]
    ) -> Float[Tensor, "1 3 i j k"]:
        """The field of this level, from ``start`` on (None: nothing), folded nowhere."""
        none = self.weight.new_zeros(1, 3, *self.size)
        field = self.onto(FIXED, none if start is None else start, plan, steps, tick)
        if not plan.both_ways:
            return field
        back = none if start is None else invert(start, rough=True)
        opposite = unfolded(self.onto(MOVING, back, plan, steps, tick))
        return unfolded((field + invert(opposite, rough=True)) / 2)

    def onto(
        self, target: int, start: Float[Tensor, "1 3 i j k"], plan: Plan, steps: int, tick: Callable[[], None]
    ) -> Float[Tensor, "1 3 i j k"]:
        """The field that takes the other image onto image ``target``, from ``start`` on."""
        return descend(start, self._loss(target, plan), self.coarseness, plan, steps, tick)

    def misfit(self, field: Float[Tensor, "1 3 i j k"], plan: Plan) -> float:
        """How badly the moving image fits the fixed one by a field, guides included."""
        with torch.no_grad():
            return float(self._loss(FIXED, plan)(field))

    def _loss(self, target: int, plan: Plan) -> Objective:
        similarity: LocalCorrelation | FeatureDistance
        if self.same_contrast:
            radius = [round(plan.radius / c) for c in self.coarseness]
            similarity = LocalCorrelation(self.channels[target], radius, plan.noise, self.weight)
        else:
            similarity = FeatureDistance(self.channels[target], self.weight)
        guides = self.guides.swapped() if self.guides and target == MOVING else self.guides
        return Objective(self.channels[1 - target], similarity, guides, self.coarseness, plan.update_sigma)


def descend(
    field: Float[Tensor, "1 3 i j k"],
    loss: Callable[[Tensor], Tensor],
    coarseness: Sequence[float],
    plan: Plan,
    steps: int,
    tick: Callable[[], None],
) -> Float[Tensor, "1 3 i j k"]:
    """``steps`` steps down the loss of a field, on one level.

    Lengths are in voxels of the finest axis: ``coarseness`` voxels of each axis.
    """
    size = field.shape[2:]
    ratio = torch.tensor(coarseness, device=field.device, dtype=field.dtype).view(1, 3, 1, 1, 1)
    thick = torch.tensor([float(n > 1) for n in size], device=field.device, dtype=field.dtype).view(1, 3, 1, 1, 1)
    sigma = [plan.update_sigma / c if n > 1 else 0.0 for c, n in zip(coarseness, size, strict=True)]
    # what is smoothed over two voxels or more is held on every second voxel: an eighth of the work, and the same steps
    stride = [2 if s >= 2 else 1 for s in sigma]
    sigma = [s / n for s, n in zip(sigma, stride, strict=True)]
    inside = gaussian(torch.ones_like(_thinned(field[:, :1], stride)), sigma).clamp_min(0.3)
    field = field.detach()
    momentum: Tensor | float = 0.0
    power: Tensor | float = 0.0
    for step in range(steps):
        field.requires_grad_()
        (slope,) = torch.autograd.grad(loss(field), field)
        with torch.no_grad():
            field = field.detach()
            slope += plan.smoothness * ratio * diffusion_slope(field * ratio, coarseness)
            force = gaussian(_thinned(-slope * (field.numel() / ratio * thick), stride), sigma)
            momentum = MOMENTUM * momentum + (1 - MOMENTUM) * force
            power = MEMORY * power + (1 - MEMORY) * (force * force).sum(1, keepdim=True)
            mean = momentum / (1 - MOMENTUM ** (step + 1))
            size2 = power / (1 - MEMORY ** (step + 1))
            move = mean / (size2.sqrt() + FLOOR * size2.mean().sqrt() + 1e-12)
            move = gaussian(move, sigma) / inside
            longest = float((move * move).sum(1).max().sqrt())
            length = plan.step_voxels * (1 - 0.8 * step / steps)
            field = compose(_widened(move * (length / max(longest, 1.0)) / ratio, size, stride), field)
        if step % 10 == 0:
            tick()
    return field


def _thinned(x: Float[Tensor, "1 c i j k"], stride: Sequence[int]) -> Float[Tensor, "1 c l m n"]:
    """The means of ``stride`` voxels along each axis; the last voxel counts twice where the size is odd."""
    if max(stride) == 1:
        return x
    pad = [0] * 6
    for axis, (n, step) in enumerate(zip(x.shape[2:], stride, strict=True)):
        pad[5 - 2 * axis] = -n % step
    return functional.avg_pool3d(functional.pad(x, pad, mode="replicate"), tuple(stride), tuple(stride))


def _widened(x: Float[Tensor, "1 c l m n"], size: Sequence[int], stride: Sequence[int]) -> Float[Tensor, "1 c i j k"]:
    """Values of `_thinned` back on every voxel, linearly."""
    if max(stride) == 1:
        return x
    whole = [n * step for n, step in zip(x.shape[2:], stride, strict=True)]
    i, j, k = size
    return functional.interpolate(x, size=whole, mode="trilinear", align_corners=False)[:, :, :i, :j, :k]
