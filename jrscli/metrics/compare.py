"""Compare: the metrics of one structure by name, its surfaces measured once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from jrscli.errors import UsageError
from jrscli.metrics import added_path, overlap, surface
from jrscli.metrics.pair import Pair
from jrscli.metrics.value import Value

DEFAULT_METRICS = ("dice", "hd95", "msd", "nsd", "volume", "volume_diff", "centroid_shift", "apl")

SMALL_CC = 1.0
"""Below this volume Dice says more about the size of a structure than about its contour."""


@dataclass(frozen=True)
class Measured:
    """A pair of masks; what several metrics need is worked out once, when the first asks for it."""

    pair: Pair
    nsd_tolerance_mm: float

    @cached_property
    def counts(self) -> overlap.Counts:
        """Voxels of both masks and of their overlap."""
        return overlap.count(self.pair.reference, self.pair.test)

    @cached_property
    def distances(self) -> surface.SurfaceDistances:
        """Distances between the two surfaces."""
        return surface.surface_distances(self.pair.reference, self.pair.test, self.pair.spacing_mm)


_METRICS: dict[str, Callable[[Measured], tuple[Value, ...]]] = {
    "dice": lambda m: (overlap.dice(m.counts),),
    "jaccard": lambda m: (overlap.jaccard(m.counts),),
    "sens": lambda m: (overlap.sensitivity(m.counts),),
    "ppv": lambda m: (overlap.ppv(m.counts),),
    "hd": lambda m: (surface.hd(m.distances),),
    "hd95": lambda m: (surface.hd95(m.distances),),
    "hd95_pooled": lambda m: (surface.hd95_pooled(m.distances),),
    "msd": lambda m: (surface.msd(m.distances),),
    "msd_directed": lambda m: surface.msd_directed(m.distances),
    "masd": lambda m: (surface.masd(m.distances),),
    "nsd": lambda m: (surface.nsd(m.distances, m.nsd_tolerance_mm),),
    "volume": lambda m: overlap.volumes(m.counts, m.pair.spacing_mm),
    "volume_diff": lambda m: overlap.volume_diff(m.counts, m.pair.spacing_mm),
    "centroid_shift": lambda m: overlap.centroid_shift(m.pair.reference, m.pair.test, m.pair.geometry),
    "apl": lambda m: added_path.added_path(m.pair.reference, m.pair.test, m.pair.spacing_mm),
    "apl_poly": lambda m: added_path.added_polyline(m.pair.reference, m.pair.test, m.pair.spacing_mm),
    "dpl": lambda m: added_path.deleted_path(m.pair.reference, m.pair.test, m.pair.spacing_mm),
    "hd95_vox_l2r": lambda m: (surface.hd95_vox_l2r(m.pair.reference, m.pair.test),),
}
LABEL_METRICS = tuple(_METRICS)


def compare(
    pair: Pair, metrics: Sequence[str] = DEFAULT_METRICS, nsd_tolerance_mm: float = 1.0
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """The Values of one structure by id, and its flags.

    Flags: "fov_cut" (a mask touches the border of the image), "volume-dependent" (Dice of a structure below 1 cc).
    """
    measured = Measured(pair, nsd_tolerance_mm)
    values = {value.id: value for name in metrics for value in _METRICS[name](measured)}
    flags = []
    if pair.touches_border(pair.reference) or pair.touches_border(pair.test):
        flags.append("fov_cut")
    largest_cc = max(measured.counts.reference, measured.counts.test) * pair.geometry.voxel_volume_mm3 / 1000
    if {"dice", "jaccard"} & set(metrics) and 0 < largest_cc < SMALL_CC:
        flags.append("volume-dependent")
    return values, tuple(flags)


def check_metrics(metrics: Sequence[str]) -> None:
    """Raise UsageError `metric.unknown` for a name that is not one of LABEL_METRICS."""
    for name in metrics:
        if name not in LABEL_METRICS:
            close = get_close_matches(name, LABEL_METRICS, n=3, cutoff=0.5)
            hint = (
                f"did you mean {' or '.join(repr(word) for word in close)}?"
                if close
                else f"for example {', '.join(DEFAULT_METRICS)}"
            )
            raise UsageError(f"no metric named '{name}'", code="metric.unknown", hint=hint)
