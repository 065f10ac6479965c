"""The patient's outline in a CT or cone-beam CT, without couch and without the air inside."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from jrscli.spatial.resample import resample_smoothed
from jrscli.spatial.volume import Volume

COARSE_MM = 4.0
THIN_MM = 7.0
"""Sheets thinner than this about twice (the shell of a couch, a mask, tubes) are not the patient."""
PART_SHARE = 0.15
"""A part is kept with this share of the largest one: two thighs, an arm and a trunk."""
CT_AIR_HU = -500.0


def segment_body(image: Volume) -> Bool[np.ndarray, "i j k"]:
    """Where the patient is: above a threshold between air and tissue, thin parts off, filled slice by slice.

    In HU the threshold is the one between the two peaks of the histogram, held within −500 … −200; other images use the
    histogram alone. All False where nothing stands out.
    """
    low_edge = float(image.array.min())
    x, y, z = (max(COARSE_MM, s) for s in image.geometry.spacing_mm)
    coarse_grid = image.geometry.with_spacing((x, y, z))
    coarse = resample_smoothed(image, coarse_grid)
    threshold = _threshold(coarse.array, low_edge)
    trunk = _without_thin_parts(coarse.array > threshold, coarse_grid.spacing_mm)
    if not trunk.any():
        return np.zeros(image.geometry.shape, bool)
    return _refined(image, trunk, threshold)


def _threshold(values: np.ndarray, lowest: float) -> float:
    """Otsu's threshold (doi:10.1109/TSMC.1979.4310076) of the values between the air and soft-tissue peaks."""
    is_ct = lowest <= CT_AIR_HU
    low, high = (-1000.0, 150.0) if is_ct else (float(np.percentile(values, 0.5)), float(np.percentile(values, 99)))
    if high <= low:
        return high
    counts, edges = np.histogram(np.clip(values, low, high), bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    weight = np.cumsum(counts)
    below = np.cumsum(counts * middles)
    total, mass = weight[-1], below[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass * weight / total - below) ** 2 / (weight * (total - weight).astype(float))
    best = float(edges[1:][int(np.nanargmax(np.where(np.isfinite(between), between, -1)))])
    return float(np.clip(best, -500.0, -200.0)) if is_ct else best


def _without_thin_parts(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """The large parts that survive an opening by a ball, air inside filled per slice."""
    mask = _filled(mask)
    # air beyond the first and last slice is not known: there the patient goes on
    depth = int(np.ceil(THIN_MM / spacing_mm[2])) + 1
    padded = np.pad(mask, ((0, 0), (0, 0), (depth, depth)), mode="edge")
    core = ndimage.distance_transform_edt(np.pad(padded, ((1, 1), (1, 1), (0, 0))), spacing_mm)[1:-1, 1:-1] > THIN_MM
    parts, count = ndimage.label(core)
    if not count:
        return np.zeros(mask.shape, bool)
    sizes = np.bincount(parts.ravel())[1:]
    kept = np.isin(parts, np.flatnonzero(sizes >= PART_SHARE * sizes.max()) + 1)
    opened = ndimage.distance_transform_edt(~kept, spacing_mm) <= THIN_MM + 0.75 * max(spacing_mm)
    return _filled((opened & padded)[:, :, depth : depth + mask.shape[2]])


def _filled(mask: np.ndarray) -> np.ndarray:
    """Each slice with its holes filled."""
    return np.stack([ndimage.binary_fill_holes(mask[:, :, k]) for k in range(mask.shape[2])], axis=2)


def _refined(image: Volume, trunk: np.ndarray, threshold: float) -> np.ndarray:
    """The outline at full resolution: the threshold in a rim round the coarse one, all of the coarse one inside the rim."""
    fine, coarse = np.array(image.geometry.shape), np.array(trunk.shape)
    scale = (coarse - 1) / np.maximum(fine - 1, 1)
    near = ndimage.binary_dilation(trunk, iterations=1)
    deep = ndimage.binary_erosion(trunk, iterations=2, border_value=1)
    i, j, k = (np.rint(np.arange(n) * s).astype(int) for n, s in zip(fine, scale, strict=True))
    out = np.empty(image.geometry.shape, bool)
    for n in range(out.shape[2]):
        plane = np.ix_(i, j)
        smooth = ndimage.gaussian_filter(image.array[:, :, n].astype(np.float32), 0.8)
        body = ndimage.binary_fill_holes(((smooth > threshold) & near[:, :, k[n]][plane]) | deep[:, :, k[n]][plane])
        parts, count = ndimage.label(body)
        if count > 1:  # crumbs of noise and couch beside the patient
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            body = np.isin(parts, np.flatnonzero(sizes >= 0.02 * sizes.max()))
        out[:, :, n] = body
    return out
