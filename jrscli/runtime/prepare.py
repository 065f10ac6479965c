"""From volumes to what a network sees: its grid, its grey values. Training and inference prepare alike by these functions.

A crop, a pad, a flip or a zoom is another Geometry; everything is resampled once, and undone by resampling onto the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from jrscli.errors import InputError
from jrscli.runtime.card_graph import Grid, Input, Window
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample, resample_smoothed
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume

SAME_SPACING = 1e-3
"""Voxel sizes that differ by less than this share are taken as equal: nothing is interpolated for it."""
SAMPLES = 4_000_000


def network_grid(
    geometry: Geometry,
    grid: Grid,
    *,
    shape: Sequence[int] | None = None,
    spacing_mm: tuple[float, float, float] | None = None,
    mass_mm: Float32[np.ndarray, "3"] | None = None,
) -> Geometry:
    """Where the network's voxels lie for an image on ``geometry``: oriented, at the card's spacing, cropped or padded.

    Padding puts ``(size − n) // 2`` voxels before the image, cropping takes ``(n − size) // 2`` away.
    shape: at least this many voxels (to match another image). spacing_mm: where the card leaves it open.
    mass_mm: what is to lie in the middle instead of the image's own middle.
    """
    base = geometry if grid.orientation is None else geometry.oriented(grid.orientation)
    wanted = np.array(grid.spacing_mm or spacing_mm or base.spacing_mm)
    if grid.dims == 2:
        wanted[2] = base.spacing_mm[2]
    if (np.abs(wanted / np.array(base.spacing_mm) - 1) > SAME_SPACING).any():
        base = _respaced(base, wanted)
    size = network_shape(base.shape, grid, shape)
    middle = (np.array(base.shape) - 1) / 2 if mass_mm is None else base.world_to_index(np.asarray(mass_mm)[None])[0]
    lower = []
    for n, m, c in zip(base.shape, size, middle, strict=True):
        start = -((m - n) // 2) if m >= n else (n - m) // 2
        if mass_mm is not None:
            start = int(np.clip(round(c - (m - 1) / 2), min(0, n - m), max(0, n - m)))
        lower.append(start)
    i, j, k = lower
    return base.cropped_to((i, j, k), (i + size[0], j + size[1], k + size[2]))


def natural_shape(geometry: Geometry, grid: Grid) -> tuple[int, int, int]:
    """The voxels of an image in the card's orientation and spacing, neither padded nor cropped."""
    return network_grid(geometry, replace(grid, size=None, multiple=(1, 1, 1), patch=None, overlap=None)).shape


def network_shape(shape: Sequence[int], grid: Grid, least: Sequence[int] | None = None) -> tuple[int, int, int]:
    """The voxels of the network's grid for an image of ``shape`` voxels, already at its spacing and orientation.

    A 2-D model takes slice after slice: the third axis stays as it is.
    """
    found = np.array(shape)
    size = np.array(grid.size or (1, 1, 1))
    if grid.multiple is not None:
        step = np.array(grid.multiple)
        found = step * -(-np.maximum(np.maximum(found, size), least or (1, 1, 1)) // step)
    else:
        found = size if grid.patch is None else np.maximum(found, size)
    i, j, k = (int(n) for n in found)
    return (i, j, int(shape[2])) if grid.dims == 2 else (i, j, k)


def _respaced(geometry: Geometry, spacing_mm: np.ndarray) -> Geometry:
    """A grid of exactly this spacing about the same middle that covers the same field, edges of voxels included."""
    shape = np.maximum(np.ceil(np.array(geometry.shape) * geometry.spacing_mm / spacing_mm - 1e-3).astype(int), 1)
    affine = geometry.affine.copy()
    affine[:3, :3] = geometry.axes * spacing_mm
    affine[:3, 3] = geometry.centre_mm - affine[:3, :3] @ ((shape - 1) / 2)
    return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def mass_centre(volume: Volume) -> Float32[np.ndarray, "3"]:
    """The centre of the grey values above the image's minimum, LPS mm."""
    weight = volume.array.astype(np.float32) - np.float32(volume.array.min())
    total = float(weight.sum(dtype=np.float64))
    if total <= 0:
        return volume.geometry.centre_mm.astype(np.float32)
    index = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        index.append(float((weight.sum(axis=others, dtype=np.float64) * np.arange(weight.shape[axis])).sum() / total))
    return volume.geometry.index_to_world(np.array([index]))[0].astype(np.float32)


def grey_limits(volume: Volume, spec: Input) -> tuple[float, float]:
    """The two grey values that go to the ends of ``spec.range``; none of the two where the card says nothing: min and max.

    For a z-score they are those that go to 0 and 1.
    """
    window = spec.window or Window(percentiles=(0.0, 100.0))
    if window.values is not None:
        return window.values
    stride = max(1, int(np.ceil((volume.array.size / SAMPLES) ** (1 / 3))))
    some = volume.array[::stride, ::stride, ::stride]
    if window.zscore:
        inside = some[some != 0].astype(np.float64)
        mean, spread = (float(inside.mean()), float(inside.std())) if inside.size else (0.0, 1.0)
        return mean, mean + max(spread, 1e-6)
    assert window.percentiles is not None
    low, high = (float(value) for value in np.percentile(some, window.percentiles))
    return (low, high) if high > low else (float(volume.array.min()), max(float(volume.array.max()), low + 1e-6))


def prepared(
    volume: Volume, target: Geometry, spec: Input, transform: Transform | None = None
) -> Float32[np.ndarray, "c i j k"]:
    """The image on the network's grid with its grey values in ``spec.range``; beyond the image it is what the lowest value is.

    One channel, or one for each of ``spec.windows``.
    transform: target mm -> image mm, where the grid lies in another space. An image much finer than the grid is smoothed first.
    One channel per contrast.

    Raises InputError `image.contrasts` where the image has fewer or more contrasts than the network takes.
    """
    images, windows = (volume, *volume.others), spec.windows or (spec.window,)
    wanted = spec.channels // len(windows)
    if len(images) != wanted:
        raise InputError(
            f"an image in {len(images)} contrast{'s' * (len(images) > 1)} where the model takes {wanted}",
            code="image.contrasts",
            hint="jrs models info NAME says which they are; further ones are given with --contrast, --fixed-contrast …",
        )
    each = [replace(spec, channels=1, windows=(), window=window) for window in windows]
    return np.stack([_prepared(image, target, one, transform) for image in images for one in each])


def _prepared(volume: Volume, target: Geometry, spec: Input, transform: Transform | None) -> Float32[np.ndarray, "i j k"]:
    low, high = grey_limits(volume, spec)
    scaled = volume.array.astype(np.float32)
    scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    zscore = spec.window is not None and spec.window.zscore
    if zscore:
        outside = -low / (high - low)
    else:
        np.clip(scaled, 0, 1, out=scaled)
        scaled *= np.float32(spec.range[1] - spec.range[0])
        scaled += np.float32(spec.range[0])
        outside = spec.range[0]
    return on_grid(Volume(scaled, volume.geometry), target, transform, outside)


def prepared_labels(
    labels: LabelMap, target: Geometry, channels: int, names: Sequence[str], transform: Transform | None = None
) -> Float32[np.ndarray, "c i j k"]:
    """One map per label, 0 … 1, linear between voxels; the background (what is left over) first where ``channels`` counts it.

    A label's number is its place in ``names``; other numbers count as background.
    """
    count = len(names) - 1
    maps = np.zeros((count, *target.shape), np.float32)
    for n in range(1, count + 1):
        mask = labels.mask(n)
        if mask.any():
            maps[n - 1] = on_grid(Volume(mask.astype(np.float32), labels.geometry), target, transform, 0.0)
    if channels == count:
        return maps
    rest = np.clip(1 - maps.sum(axis=0, keepdims=True), 0, 1)
    return np.concatenate([rest, maps])


def on_grid(volume: Volume, target: Geometry, transform: Transform | None, outside: float) -> Float32[np.ndarray, "i j k"]:
    """The values on ``target``, linear between voxels, smoothed first where it is much coarser; only cut where voxels match."""
    if transform is None:
        shifted = _shifted(volume, target, outside)
        if shifted is not None:
            return shifted
    ratio = max(t / s for t, s in zip(_along(volume.geometry, target), volume.geometry.spacing_mm, strict=True))
    if ratio > 1.2:
        x, y, z = (max(t, s) for t, s in zip(_along(volume.geometry, target), volume.geometry.spacing_mm, strict=True))
        volume = resample_smoothed(volume, volume.geometry.with_spacing((x, y, z)))
    return np.ascontiguousarray(resample(volume, target, transform, outside=outside).array, np.float32)


def _along(geometry: Geometry, target: Geometry) -> tuple[float, float, float]:
    """The spacing of ``target`` along the axes of ``geometry`` (that of its nearest axis)."""
    nearest = np.abs(geometry.axes.T @ target.axes).argmax(axis=1)
    x, y, z = (target.spacing_mm[n] for n in nearest)
    return x, y, z


def _shifted(volume: Volume, target: Geometry, outside: float) -> Float32[np.ndarray, "i j k"] | None:
    """The array turned and cut to ``target`` where its voxels lie on those of the image; None where they do not."""
    matrix = np.linalg.inv(volume.geometry.affine) @ target.affine  # target index -> image index
    steps, start = np.rint(matrix[:3, :3]), np.rint(matrix[:3, 3])
    reach = np.array(target.shape) - 1
    if np.abs(matrix[:3, :3] - steps) @ reach @ np.ones(3) + np.abs(matrix[:3, 3] - start).max() > 0.01:
        return None
    if not (np.abs(steps).sum(axis=0) == 1).all() or not (np.abs(steps).sum(axis=1) == 1).all():
        return None
    order = np.abs(steps).argmax(axis=0)  # target axis -> image axis
    flips = tuple(slice(None, None, int(steps[own, axis])) for axis, own in enumerate(order))
    turned = volume.array.transpose(order)[flips]
    out = np.full(target.shape, outside, np.float32)
    here, there = [], []
    for axis, own in enumerate(order):
        n, m = turned.shape[axis], target.shape[axis]
        first = int(start[own]) if steps[own, axis] > 0 else n - 1 - int(start[own])
        low, high = max(0, -first), min(m, n - first)
        if low >= high:
            return out
        here.append(slice(low, high))
        there.append(slice(low + first, high + first))
    out[tuple(here)] = turned[tuple(there)]
    return out
