"""What a case will roughly take, so that no more cases run at once than fit."""

from __future__ import annotations

from collections.abc import Sequence

from jrscli.cohort.case import Case

START_GB, GB_PER_VOXEL, GB_PER_WORKING_VOXEL = 0.5, 12e-9, 400e-9
"""As measured for single registrations (docs/reference/performance.md)."""
_WORKING_VOXELS = {"fast": 200_000, "balanced": 1_100_000, "best": 2_500_000}
_SHARE = 0.75


def gigabytes_of(case: Case, words: Sequence[str]) -> float:
    """About the memory at the peak of a case, GB."""
    preset = next((words[n + 1] for n, word in enumerate(words[:-1]) if word == "--preset"), "balanced")
    working = 0 if "--linear-only" in words else min(case.voxels, _WORKING_VOXELS.get(preset, 1_100_000))
    return START_GB + GB_PER_VOXEL * case.voxels + GB_PER_WORKING_VOXEL * working


def gigabytes_free() -> float | None:
    """What the cases that run at once may take, GB: three quarters of what is free; None where the system does not say."""
    from jrscli.runtime.memory import free_bytes

    free = free_bytes()
    return None if free is None else _SHARE * free / 1e9
