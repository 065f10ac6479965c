"""The linear stage: many starts on a coarse grid, the best few on finer ones, rigid first and affine last."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jrscli.engine.fit import Fit
from jrscli.engine.guidance import Guidance
from jrscli.engine.poses import STRETCH, Poses, free_parameters
from jrscli.engine.prepare import equalised
from jrscli.engine.verdict import LEAST_AGREEMENT, verdict
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.volume import Volume

COARSE, MIDDLE, FINE = 8_000, 50_000, 250_000
"""Voxels of the three grids."""
SAME_CONTRAST = 0.68
"""Above this signed share of local correlation two images count as one contrast."""
ROTATIONS_DEG = 20.0
RANDOM_POSES = 48
SMALLER = 0.5
"""A moving image with less than this share of the fixed one's field changes places with it."""
MOMENTUM, MEMORY = 0.9, 0.99


@dataclass(frozen=True)
class LinearResult:
    """The linear map (fixed mm -> moving mm) and how sure it is.

    start: which start won. agreement: share of the starts that ended within two coarse voxels of it.
    similarity: local squared correlation + normalised mutual information, 0 … 2. standout: how many standard deviations that is
    above random poses. overlap: share of the fixed field (of the moving one, if much smaller) that the other covers.
    contrast: signed share of the local correlation, −1 … 1; affine is tried above `SAME_CONTRAST` only, because between
    contrasts its six more parameters follow noise. failed: why the map is not to be trusted, or None.
    """

    affine: AffineTransform
    start: str
    starts: int
    agreement: float
    similarity: float
    standout: float
    overlap: float
    contrast: float
    failed: str | None


def _climb(
    level: Fit,
    poses: Poses,
    p: Float[Tensor, "b 12"],
    *,
    affine: bool,
    information: bool = True,
    steps: int,
    rate: float,
    tick: Callable[[], None],
) -> tuple[Float[Tensor, "b 12"], Float[Tensor, "b"]]:
    """The best parameters seen on the way up, per row, and their similarity."""
    p = p.clone().requires_grad_()
    first, second = torch.zeros_like(p), torch.zeros_like(p)
    best = torch.full((len(p),), -1.0, device=p.device)
    best_p = p.detach().clone()
    for step in range(steps):
        value, _ = level.value(poses.matrices(p), information=information)
        stretch = (p[:, STRETCH] ** 2).sum() / poses.radius_mm**2
        (slope,) = torch.autograd.grad(0.02 * stretch - value.sum(), p)
        with torch.no_grad():
            better = value > best
            best[better] = value[better]
            best_p[better] = p[better]
            if not affine:
                slope[:, STRETCH] = 0
            # Adam with a cosine schedule, written out: torch.optim takes two seconds to import
            first.lerp_(slope, 1 - MOMENTUM)
            second.mul_(MEMORY).addcmul_(slope, slope, value=1 - MEMORY)
            size = (second / (1 - MEMORY ** (step + 1))).sqrt_().add_(1e-8)
            length = rate * level.spacing * (0.1 + 0.45 * (1 + math.cos(math.pi * step / steps)))
            p -= length / (1 - MOMENTUM ** (step + 1)) * first / size
        if step % 5 == 0:
            tick()
    return best_p, best


def centre_of_mass(volume: Volume) -> Float[np.ndarray, "3"]:
    """The grey-value centre of mass, LPS mm."""
    total = max(float(volume.array.sum(dtype=np.float64)), 1e-9)
    index = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        profile = volume.array.sum(axis=others, dtype=np.float64)
        index.append(float(profile @ np.arange(len(profile))) / total)
    return volume.geometry.index_to_world(np.array([index]))[0]


def starts_for(fixed: Volume, moving: Volume, init: str, guidance: Guidance | None = None) -> dict[str, Float[np.ndarray, "3"]]:
    """Named first shifts (mm) that differ by more than 5 mm: as the headers say, centre on centre, mass on mass, guides on
    guides."""
    makers: dict[str, Callable[[], np.ndarray]] = {
        "header": lambda: np.zeros(3),
        "centers": lambda: moving.geometry.centre_mm - fixed.geometry.centre_mm,
        "moments": lambda: centre_of_mass(moving) - centre_of_mass(fixed),
    }
    if guidance:
        makers["guides"] = guidance.shift
    if init != "auto":
        return {init: makers[init]()}
    chosen: dict[str, np.ndarray] = {}
    for name, make in makers.items():
        shift = make()
        if all(np.linalg.norm(shift - other) > 5 for other in chosen.values()):
            chosen[name] = shift
    return chosen


def align(
    fixed: Volume,
    moving: Volume,
    *,
    init: str | AffineTransform = "auto",
    affine: bool = True,
    ranked: bool = False,
    weight: Volume | None = None,
    guidance: Guidance | None = None,
    device: torch.device,
    seed: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> LinearResult:
    """The linear map that aligns two images whose grey values lie between 0 and 1.

    weight: how much each fixed voxel counts. init: one start by name, a given map to improve, or "auto" for all of them.
    ranked: the images show different contrasts and their grey values are ranks already.
    guidance: what else the map has to bring together.
    """
    if weight is None and guidance is None and _size(moving) < SMALLER * _size(fixed):
        # the smaller image leads: all of it can be looked at, and hardly any of the larger one is of use
        back = init.inverse() if isinstance(init, AffineTransform) else init
        result = align(moving, fixed, init=back, affine=affine, device=device, seed=seed, tick=tick)
        return replace(result, affine=result.affine.inverse())
    if isinstance(init, AffineTransform):
        # the given map is taken into the moving image's place, improved from there, and put in front again at the end
        before = init.inverse().matrix @ moving.geometry.affine
        moved = Volume(moving.array, type(moving.geometry)(moving.geometry.shape, before))
        guided = guidance.through(init) if guidance else None
        result = align(
            fixed, moved, init="header", affine=affine, weight=weight, guidance=guided, device=device, seed=seed, tick=tick
        )
        return LinearResult(**{**vars(result), "affine": result.affine.then(init), "start": "file"})
    shifts = starts_for(fixed, moving, init, guidance)
    frame = torch.tensor(fixed.geometry.axes, dtype=torch.float32, device=device)
    extent = (np.array(fixed.geometry.shape) - 1) * np.array(fixed.geometry.spacing_mm)
    radius = max(0.35 * float(np.linalg.norm(extent)), 1.0)
    free = free_parameters(fixed.geometry.shape).to(device)
    turns = [np.zeros(3)] + [sign * math.radians(ROTATIONS_DEG) * np.eye(3)[axis] for axis in range(3) for sign in (1, -1)]
    if free.sum() < 12:
        turns = [t for t in turns if not np.any((np.abs(t) > 0) & (free[:3].cpu().numpy() == 0))]
    start = torch.tensor(np.array([s for s in shifts.values() for _ in turns]), dtype=torch.float32, device=device)
    centre = torch.tensor(fixed.geometry.centre_mm, dtype=torch.float32, device=device)
    poses = Poses(centre, start, frame, radius, free)
    p = torch.zeros(len(start), 12, device=device)
    p[:, :3] = torch.tensor(np.array([t for _ in shifts for t in turns]), dtype=torch.float32, device=device) * radius

    coarse = Fit(fixed, moving, COARSE, weight, device, guidance)
    p, value = _climb(coarse, poses, p, affine=False, steps=30, rate=0.6, tick=tick)
    order = value.argsort(descending=True)
    maps = poses.matrices(p)
    corners = torch.tensor(fixed.geometry.corners_mm, dtype=torch.float32, device=device)
    ends = corners @ maps[:, :3, :3].transpose(1, 2) + maps[:, None, :3, 3]
    distance = (ends - ends[order[0]]).norm(dim=2).mean(1)
    agreement = float((distance < 2 * coarse.spacing).float().mean())
    random_value = _random_values(coarse, poses, extent, seed)

    # one of every group of starts that ended in the same place goes on, four at most
    chosen: list[int] = []
    for row in order.tolist():
        apart = all(float((ends[row] - ends[other]).norm(dim=1).mean()) > coarse.spacing for other in chosen)
        if apart and len(chosen) < 4:
            chosen.append(row)
    rows = torch.tensor(chosen, device=device)
    poses, p = poses.take(rows), p[rows]
    middle = Fit(fixed, moving, MIDDLE, weight, device, guidance)
    p, value = _climb(middle, poses, p, affine=False, steps=20, rate=0.5, tick=tick)
    winner = value.argmax()[None]
    poses, p = poses.take(winner), p[winner]
    name = list(shifts)[int(rows[winner]) // len(turns)]
    contrast = middle.signed_correlation(poses.matrices(p))
    if not ranked and (contrast <= SAME_CONTRAST or agreement < LEAST_AGREEMENT):
        # different contrasts are compared by rank, and so is what led nowhere: a few bright voxels may have hidden the rest
        even = (equalised(fixed), equalised(moving))
        result = align(*even, init=init, weight=weight, guidance=guidance, ranked=True, device=device, seed=seed, tick=tick)
        found = torch.tensor(result.affine.matrix, dtype=torch.float32, device=device)[None]
        return replace(result, contrast=middle.signed_correlation(found))
    affine = affine and not ranked
    if affine:
        p, _ = _climb(middle, poses, p, affine=True, information=False, steps=35, rate=0.4, tick=tick)
    fine = Fit(fixed, moving, FINE, weight, device, guidance)
    p, value = _climb(fine, poses, p, affine=affine, information=ranked, steps=20, rate=0.3, tick=tick)
    with torch.no_grad():
        matrix = poses.matrices(p)
        coarse_value, share = coarse.value(matrix)
    spread = float(random_value.std()) + 1e-6
    standout = (float(coarse_value[0]) - float(random_value.mean())) / spread
    return LinearResult(
        affine=AffineTransform(matrix[0].cpu().numpy().astype(np.float64)),
        start=name,
        starts=len(start),
        agreement=agreement,
        similarity=float(value[0]),
        standout=standout,
        overlap=float(share[0]),
        contrast=contrast,
        failed=verdict(overlap=float(share[0]), standout=standout, agreement=agreement, starts=len(start)),
    )


def _size(volume: Volume) -> float:
    """How much of space the image shows, mm³."""
    return volume.geometry.voxel_volume_mm3 * volume.array.size


def _random_values(level: Fit, poses: Poses, extent: np.ndarray, seed: int) -> Float[Tensor, "b"]:
    """The similarity of random maps: turned by up to 60° and moved by up to a quarter of the field."""
    rng = np.random.default_rng(seed)
    p = np.zeros((RANDOM_POSES, 12), np.float32)
    p[:, :3] = rng.uniform(-1, 1, (RANDOM_POSES, 3)) * math.radians(60) * poses.radius_mm
    p[:, 3:6] = rng.uniform(-0.25, 0.25, (RANDOM_POSES, 3)) * extent
    start = poses.start[rng.integers(len(poses.start), size=RANDOM_POSES)]
    some = Poses(poses.centre, start, poses.frame, poses.radius_mm, poses.free)
    with torch.no_grad():
        return level.value(some.matrices(torch.tensor(p, device=poses.start.device)))[0]
