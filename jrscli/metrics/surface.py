"""Distances between the surfaces of two masks. Source: Nikolov et al. 2021, doi:10.2196/26151."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from jrscli.metrics.surfels import Surfels, surfels
from jrscli.metrics.value import Status, Value, emptiness

ROUNDING_MM = 1e-9
"""Distances are sums of squares of voxel sizes; one that equals a tolerance must not fail it by its last bit."""

NEAR_VOXELS = 5
FEW = 20_000


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """For each surface element its area and its distance to the other surface, mm² and mm; distances rise within each list.

    If exactly one mask is empty the distances are +inf (they stay in here: a Value never holds infinity).
    """

    reference_mm: Float[np.ndarray, " r"]
    reference_area_mm2: Float[np.ndarray, " r"]
    test_mm: Float[np.ndarray, " t"]
    test_area_mm2: Float[np.ndarray, " t"]

    @property
    def status(self) -> Status:
        """ "ok", or which mask was empty."""
        return emptiness(len(self.reference_mm), len(self.test_mm))


def surface_distances(
    reference: Bool[np.ndarray, "i j k"], test: Bool[np.ndarray, "i j k"], spacing_mm: tuple[float, float, float]
) -> SurfaceDistances:
    """Both lists of distances, from which every index below is made."""
    ours, theirs = surfels(reference, spacing_mm), surfels(test, spacing_mm)
    shape = (reference.shape[0] + 1, reference.shape[1] + 1, reference.shape[2] + 1)
    keys = [np.ravel_multi_index(tuple(part.corner.T), shape) for part in (ours, theirs)]
    return SurfaceDistances(
        *_sorted(_distances(ours, theirs, keys[0], keys[1], spacing_mm), ours.area_mm2),
        *_sorted(_distances(theirs, ours, keys[1], keys[0], spacing_mm), theirs.area_mm2),
    )


def hd(distances: SurfaceDistances) -> Value:
    """``hd.v1``: the largest distance of either surface from the other, mm."""
    return _largest("hd.v1", distances, 1.0)


def hd95(distances: SurfaceDistances) -> Value:
    """``hd95.v1``: the larger of the two 95th percentiles, by area, mm."""
    return _largest("hd95.v1", distances, 0.95)


def hd95_pooled(distances: SurfaceDistances) -> Value:
    """``hd95_pooled.v1``: the 95th percentile of both lists taken together, mm: another number than HD95."""
    name = "hd95_pooled.v1"
    if distances.status != "ok":
        return Value(name, None, "mm", distances.status, None if distances.status == "both_empty" else "+inf")
    values, areas = _sorted(
        np.concatenate([distances.reference_mm, distances.test_mm]),
        np.concatenate([distances.reference_area_mm2, distances.test_area_mm2]),
    )
    return Value(name, _percentile(values, areas, 0.95), "mm")


def hd95_vox_l2r(reference: Bool[np.ndarray, "i j k"], test: Bool[np.ndarray, "i j k"]) -> Value:
    """``hd95_vox_l2r.v1``: HD95 in voxels, with spacing (1, 1, 1), as the tables of Learn2Reg have it; not a length."""
    found = hd95(surface_distances(reference, test, (1.0, 1.0, 1.0)))
    return Value("hd95_vox_l2r.v1", found.value, "voxels", found.status, found.limit)


def msd(distances: SurfaceDistances) -> Value:
    """``msd.v1``: mean distance over the area of both surfaces together (ASSD), mm."""
    if distances.status != "ok":
        return Value("msd.v1", None, "mm", distances.status)
    total = distances.reference_mm @ distances.reference_area_mm2 + distances.test_mm @ distances.test_area_mm2
    return Value("msd.v1", total / (distances.reference_area_mm2.sum() + distances.test_area_mm2.sum()), "mm")


def msd_directed(distances: SurfaceDistances) -> tuple[Value, Value]:
    """``msd_directed.v1(reference)`` and ``msd_directed.v1(test)``: mean distance of that surface from the other, mm."""
    names = ("msd_directed.v1(reference)", "msd_directed.v1(test)")
    if distances.status != "ok":
        return Value(names[0], None, "mm", distances.status), Value(names[1], None, "mm", distances.status)
    return (
        Value(names[0], distances.reference_mm @ distances.reference_area_mm2 / distances.reference_area_mm2.sum(), "mm"),
        Value(names[1], distances.test_mm @ distances.test_area_mm2 / distances.test_area_mm2.sum(), "mm"),
    )


def masd(distances: SurfaceDistances) -> Value:
    """``masd.v1``: the mean of the two directed means, mm: another number than MSD."""
    there, back = msd_directed(distances)
    mean = None if there.value is None or back.value is None else (there.value + back.value) / 2
    return Value("masd.v1", mean, "mm", distances.status)


def nsd(distances: SurfaceDistances, tolerance_mm: float) -> Value:
    """``nsd.v1(τmm)``: the share of both surfaces that lies within ``tolerance_mm`` of the other; 0 if one mask is empty."""
    name = f"nsd.v1({tolerance_mm:g}mm)"
    if distances.status == "both_empty":
        return Value(name, None, "", distances.status)
    near = sum(
        float(area[values <= tolerance_mm + ROUNDING_MM].sum())
        for values, area in (
            (distances.reference_mm, distances.reference_area_mm2),
            (distances.test_mm, distances.test_area_mm2),
        )
    )
    return Value(name, near / float(distances.reference_area_mm2.sum() + distances.test_area_mm2.sum()), "", distances.status)


def _distances(
    here: Surfels,
    there: Surfels,
    keys: Int[np.ndarray, " n"],
    others: Int[np.ndarray, " m"],
    spacing_mm: tuple[float, float, float],
) -> Float[np.ndarray, " n"]:
    """Distance of each element of ``here`` to the nearest of ``there``."""
    if not len(others):
        return np.full(len(keys), np.inf)
    result = np.zeros(len(keys))
    # elements that both surfaces share are at distance 0; most are, where the masks are good
    apart = np.flatnonzero(~np.isin(keys, others))
    if len(apart):
        spacing = np.array(spacing_mm)
        nearest = _nearest(here.corner[apart], there.corner, spacing)
        # from whole steps: the tree's own distances carry the rounding of the coordinates, and tolerances are whole steps too
        result[apart] = np.sqrt(np.square((here.corner[apart] - nearest) * spacing).sum(axis=1))
    return result


def _nearest(
    points: Int[np.ndarray, "n 3"], targets: Int[np.ndarray, "m 3"], spacing: Float[np.ndarray, "3"]
) -> Int[np.ndarray, "n 3"]:
    """The target nearest to each point.

    A tree is fast for surfaces that lie close together and needs no memory; for many points far from the other surface it takes
    minutes on a whole CT, where a distance transform of the common box takes seconds.
    """
    tree = cKDTree(targets * spacing, balanced_tree=False)
    _, index = tree.query(points * spacing, distance_upper_bound=NEAR_VOXELS * float(spacing.max()))
    far = np.flatnonzero(index == len(targets))
    nearest = targets[np.where(index == len(targets), 0, index)]
    if 0 < len(far) <= FEW:
        _, index = tree.query(points[far] * spacing)
        nearest[far] = targets[index]
    elif len(far):
        lower = np.minimum(points[far].min(axis=0), targets.min(axis=0))
        upper = np.maximum(points[far].max(axis=0), targets.max(axis=0)) + 1
        free = np.ones(upper - lower, np.bool_)
        free[tuple((targets - lower).T)] = False
        found = distance_transform_edt(free, sampling=spacing, return_distances=False, return_indices=True)
        i, j, k = (points[far] - lower).T
        nearest[far] = found[:, i, j, k].T + lower
    return nearest


def _sorted(
    values: Float[np.ndarray, " n"], areas: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    order = np.lexsort((areas, values))
    return values[order], areas[order]


def _percentile(values: Float[np.ndarray, " n"], areas: Float[np.ndarray, " n"], share: float) -> float:
    """The first distance at which the area passed reaches ``share`` of the whole (to 1e-12, so that order does not matter)."""
    passed = np.cumsum(areas)
    place = int(np.searchsorted(passed, share * passed[-1] * (1 - 1e-12)))
    return float(values[min(place, len(values) - 1)])


def _largest(name: str, distances: SurfaceDistances, share: float) -> Value:
    if distances.status != "ok":
        return Value(name, None, "mm", distances.status, None if distances.status == "both_empty" else "+inf")
    there = _percentile(distances.reference_mm, distances.reference_area_mm2, share)
    back = _percentile(distances.test_mm, distances.test_area_mm2, share)
    return Value(name, max(there, back), "mm")
