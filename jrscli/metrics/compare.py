"""Compare: the metrics of one structure by name, its surfaces measured once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches

import numpy as np
from jaxtyping import Bool

from jrscli.errors import UsageError
from jrscli.metrics import overlap, surface
from jrscli.metrics.surfels import bounding_box
from jrscli.metrics.value import Value
from jrscli.spatial.geometry import Geometry

LABEL_METRICS = (
    "dice",
    "jaccard",
    "sens",
    "ppv",
    "hd",
    "hd95",
    "hd95_pooled",
    "msd",
    "msd_directed",
    "masd",
    "nsd",
    "volume",
    "volume_diff",
    "centroid_shift",
)
DEFAULT_METRICS = ("dice", "hd95", "msd", "nsd", "volume", "volume_diff", "centroid_shift")
_OF_SURFACES = ("hd", "hd95", "hd95_pooled", "msd", "msd_directed", "masd", "nsd")

SMALL_CC = 1.0
"""Below this volume Dice says more about the size of a structure than about its contour."""

Mask = Bool[np.ndarray, "i j k"]


def compare(
    reference: Mask, test: Mask, geometry: Geometry, metrics: Sequence[str] = DEFAULT_METRICS, nsd_tolerance_mm: float = 1.0
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """The Values of one structure by id, and its flags."""
    counts = overlap.count(reference, test)
    box = bounding_box(reference | test)
    flags = []
    if box is None:
        r = t = np.zeros((1, 1, 1), np.bool_)
        cut = geometry
    else:
        # everything happens in the box of the structure; an axis of one voxel keeps its size, so it stays two-dimensional
        wide = tuple(slice(max(part.start - 1, 0), min(part.stop + 1, n)) for part, n in zip(box, geometry.shape, strict=True))
        r, t = reference[wide], test[wide]
        lower, upper = [part.start for part in wide], [part.stop for part in wide]
        cut = geometry.cropped_to((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))
        if any(n > 1 and (part.start == 0 or part.stop == n) for part, n in zip(box, geometry.shape, strict=True)):
            flags.append("fov_cut")
    spacing = geometry.spacing_mm
    distances = surface.surface_distances(r, t, spacing) if set(metrics) & set(_OF_SURFACES) else None
    values: list[Value] = []
    for name in metrics:
        values += _metric(name, counts, distances, r, t, cut, nsd_tolerance_mm)
    largest_cc = max(counts.reference, counts.test) * geometry.voxel_volume_mm3 / 1000
    if {"dice", "jaccard"} & set(metrics) and 0 < largest_cc < SMALL_CC:
        flags.append("volume-dependent")
    return {value.id: value for value in values}, tuple(flags)


def _metric(
    name: str,
    counts: overlap.Counts,
    distances: surface.SurfaceDistances | None,
    reference: Mask,
    test: Mask,
    geometry: Geometry,
    tolerance_mm: float,
) -> tuple[Value, ...]:
    of_counts: dict[str, Callable[[overlap.Counts], Value]] = {
        "dice": overlap.dice,
        "jaccard": overlap.jaccard,
        "sens": overlap.sensitivity,
        "ppv": overlap.ppv,
    }
    of_distances: dict[str, Callable[[surface.SurfaceDistances], Value]] = {
        "hd": surface.hd,
        "hd95": surface.hd95,
        "hd95_pooled": surface.hd95_pooled,
        "msd": surface.msd,
        "masd": surface.masd,
    }
    if name in of_counts:
        return (of_counts[name](counts),)
    if name == "volume":
        return overlap.volumes(counts, geometry.spacing_mm)
    if name == "volume_diff":
        return overlap.volume_diff(counts, geometry.spacing_mm)
    if name == "centroid_shift":
        return overlap.centroid_shift(reference, test, geometry)
    if distances is None:
        raise AssertionError(name)
    if name in of_distances:
        return (of_distances[name](distances),)
    return surface.msd_directed(distances) if name == "msd_directed" else (surface.nsd(distances, tolerance_mm),)


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
