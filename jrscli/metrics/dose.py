"""Dose in a structure: points of the dose–volume histogram, and the difference of two doses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import map_coordinates

from jrscli.metrics.value import Value
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

BIN_GY = 0.01
FEWEST_SAMPLES = 1000
OUTSIDE_PERCENT = 1.0
"""With more of the structure beyond the dose grid there is no histogram."""
POINTS_PERCENT = (2, 50, 95, 98)
POINTS_CC = (0.03, 1.0)
_CHUNK = 1_000_000


@dataclass(frozen=True, eq=False)
class DoseSamples:
    """The dose (Gy) at points spread evenly through a structure.

    outside_percent: share of the points beyond the dose grid; they are not in ``gray``.
    """

    gray: Float[np.ndarray, " n"]
    volume_cc: float
    outside_percent: float

    @cached_property
    def histogram(self) -> Float[np.ndarray, " b"]:
        """V(d), the share of the volume with a dose of at least 0, 0.01, 0.02 … Gy; ends with 0."""
        ordered = np.sort(self.gray)
        edges = np.arange(0, float(ordered[-1]) + 2 * BIN_GY, BIN_GY)
        return 1 - np.searchsorted(ordered, edges - 1e-9, side="left") / len(ordered)

    def dose_at(self, share: float) -> float:
        """The highest dose that at least this share of the volume gets, linear within a bin."""
        volume = self.histogram
        last = int(np.flatnonzero(volume >= share - 1e-12)[-1]) if (volume >= share - 1e-12).any() else 0
        if last + 1 >= len(volume):
            return last * BIN_GY
        step = volume[last] - volume[last + 1]
        return (last + (min((volume[last] - share) / step, 1.0) if step > 0 else 0.0)) * BIN_GY

    def volume_at(self, gray: float) -> float:
        """The share of the volume with at least this dose, linear within a bin."""
        places = np.arange(len(self.histogram)) * BIN_GY
        return float(np.interp(gray, places, self.histogram, right=0.0))


def dose_samples(mask: Bool[np.ndarray, "i j k"], geometry: Geometry, dose: Volume) -> DoseSamples | None:
    """The dose in a mask, interpolated linearly; voxels are divided until there are 1000 points. None for an empty mask."""
    index = np.argwhere(mask)
    if not len(index):
        return None
    parts = int(np.ceil((FEWEST_SAMPLES / len(index)) ** (1 / 3)))
    inner = (np.arange(parts) + 0.5) / parts - 0.5
    offsets = np.stack(np.meshgrid(inner, inner, inner, indexing="ij"), axis=-1).reshape(-1, 3)
    found, outside = [], 0
    for start in range(0, len(index), max(1, _CHUNK // len(offsets))):
        voxels = index[start : start + max(1, _CHUNK // len(offsets))]
        points = geometry.index_to_world((voxels[:, None, :] + offsets[None]).reshape(-1, 3))
        inside = dose.geometry.contains(points)
        outside += int(np.count_nonzero(~inside))
        places = dose.geometry.world_to_index(points[inside]).T
        found.append(map_coordinates(dose.array, places, output=np.float64, order=1, mode="nearest"))
    gray = np.concatenate(found)
    total = len(gray) + outside
    return DoseSamples(gray, len(index) * geometry.voxel_volume_mm3 / 1000, 100 * outside / total)


def dvh_points(samples: DoseSamples | None, levels_gy: tuple[float, ...] = ()) -> dict[str, tuple[float | None, str]]:
    """Dmean, Dmax, D2 … D98, D0.03cc, D1cc in Gy and V(level) in % and cc by name, each with its unit.

    All None if the structure is empty or more than 1 % of it lies beyond the dose grid; D of an absolute volume is None for a
    structure smaller than that.
    """
    units = {"Dmean": "Gy", "Dmax": "Gy", **{f"D{p}%": "Gy" for p in POINTS_PERCENT}, **{f"D{c:g}cc": "Gy" for c in POINTS_CC}}
    for level in levels_gy:
        units |= {f"V{level:g}Gy": "%", f"V{level:g}Gy_cc": "cc"}
    if samples is None or not len(samples.gray) or samples.outside_percent > OUTSIDE_PERCENT:
        return {name: (None, unit) for name, unit in units.items()}
    numbers: dict[str, float | None] = {"Dmean": float(samples.gray.mean()), "Dmax": float(samples.gray.max())}
    numbers |= {f"D{p}%": samples.dose_at(p / 100) for p in POINTS_PERCENT}
    for cc in POINTS_CC:
        numbers[f"D{cc:g}cc"] = samples.dose_at(cc / samples.volume_cc) if samples.volume_cc >= cc else None
    for level in levels_gy:
        share = samples.volume_at(level)
        numbers |= {f"V{level:g}Gy": 100 * share, f"V{level:g}Gy_cc": share * samples.volume_cc}
    return {name: (numbers[name], unit) for name, unit in units.items()}


def dvh_values(reference: DoseSamples | None, test: DoseSamples | None, levels_gy: tuple[float, ...] = ()) -> tuple[Value, ...]:
    """``dvh.v1(NAME reference)``, ``(NAME test)`` and ``(NAME difference)`` (test − reference) per point of `dvh_points`."""
    ours, theirs = dvh_points(reference, levels_gy), dvh_points(test, levels_gy)
    values = []
    for name, (one, unit) in ours.items():
        other = theirs[name][0]
        difference = None if one is None or other is None else other - one
        for part, number in (("reference", one), ("test", other), ("difference", difference)):
            values.append(Value(f"dvh.v1({name} {part})", number, unit, "ok" if number is not None else "not_assessed"))
    for part, samples in (("reference", reference), ("test", test)):
        share = None if samples is None else samples.outside_percent
        values.append(Value(f"dvh.v1(outside {part})", share, "%", "ok" if samples else "not_assessed"))
    return tuple(values)


def dose_difference(reference: DoseSamples | None, test: DoseSamples | None) -> tuple[Value, Value]:
    """``dose_diff.v1(mean_abs)`` and ``(max_abs)``: |D_test − D_reference| in Gy at the same points of one structure."""
    names = ("dose_diff.v1(mean_abs)", "dose_diff.v1(max_abs)")
    usable = reference is not None and test is not None and len(reference.gray) == len(test.gray) > 0
    if (
        not usable
        or reference is None
        or test is None
        or max(reference.outside_percent, test.outside_percent) > OUTSIDE_PERCENT
    ):
        return Value(names[0], None, "Gy", "not_assessed"), Value(names[1], None, "Gy", "not_assessed")
    apart = np.abs(test.gray - reference.gray)
    return Value(names[0], float(apart.mean()), "Gy"), Value(names[1], float(apart.max()), "Gy")
