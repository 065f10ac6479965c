"""What a registration by optimisation will roughly cost, before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jrscli.engine.pair import EFFORTS
from jrscli.engine.prepare import working_grid
from jrscli.spatial.geometry import Geometry

# Fitted on one core of a server to pairs between 60 thousand and 42 million voxels (docs/reference/performance.md).
START_SECONDS = 6.0
SECONDS_PER_VOXEL = 6e-7
SECONDS_PER_UPDATE = 3.5e-7
THREADS_EXPONENT = 0.55
START_GB, GB_PER_VOXEL, GB_PER_WORKING_VOXEL = 0.5, 12e-9, 400e-9


@dataclass(frozen=True)
class Estimate:
    """Wall time on a processor, and peak memory of the program; right within a factor of two or so."""

    seconds: float
    gigabytes: float


def estimate(fixed: Geometry, moving: Geometry, preset: str, *, linear_only: bool, threads: int) -> Estimate:
    """The expected cost of `optimise` on two images of these grids, reading and writing included."""
    voxels = math.prod(fixed.shape) + math.prod(moving.shape)
    seconds = START_SECONDS + SECONDS_PER_VOXEL * voxels
    gigabytes = START_GB + GB_PER_VOXEL * voxels
    if not linear_only:
        effort = EFFORTS[preset]
        grid = working_grid(fixed, effort.voxels)
        plan = effort.plan(grid)
        size = math.prod(grid.shape)
        updates = sum(steps * size / shrink**3 for shrink, steps in zip(plan.shrinks, plan.steps, strict=True))
        seconds += SECONDS_PER_UPDATE * updates * (1 + plan.both_ways)
        gigabytes += GB_PER_WORKING_VOXEL * size
    return Estimate(seconds / max(threads, 1) ** THREADS_EXPONENT, gigabytes)
