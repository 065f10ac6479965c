"""A daily image from a planning image and its structures: moved by a known motion, with exactly moved structures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import distance_transform_edt, gaussian_filter

from jrscli.progress import Progress, silent
from jrscli.spatial.contouring import contours_from_mask
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.resample import resample
from jrscli.spatial.structures import Roi, StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume
from jrscli.workflows.carry import carry_contour, refined
from jrscli.workflows.motion import MARGIN_MM, Motion, random_motion


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated daily study.

    transform maps daily mm -> planning mm (pull), inverse the other way; masks and structures are the truth on the daily
    grid, the masks by ROI number.
    """

    daily: Volume
    motion: Motion
    transform: Transform
    inverse: Transform
    structures: StructureSet
    masks: Mapping[int, Bool[np.ndarray, "i j k"]]


def deform_study(
    planning: Volume,
    structures: StructureSet,
    seed: int = 0,
    *,
    shift_mm: float = 4.0,
    rotation_deg: float = 2.5,
    peak_mm: float = 10.0,
    apart: bool = True,
    noise_hu: float = 25.0,
    shading_hu: float = 40.0,
    geometry: Geometry | None = None,
    progress: Progress = silent,
) -> Simulation:
    """A daily CT like a cone-beam CT (noise, cupping, a lower contrast), deformed by a known motion, and its true structures.

    The motion is a rotation and shift after a smooth bend with a peak of ``peak_mm``. The patient goes on beyond the ends of
    the planning image as its first and last slice show it. geometry: the daily grid, by default one of its own over the same
    field. apart: whether each structure moves its own way, or all with the region they lie in (`random_motion`).

    Raises InputError `simulate.motion` for a motion that cannot be smooth.
    """
    grid = daily_geometry(planning.geometry) if geometry is None else geometry
    targets = [_middle(roi) for roi in structures.rois if roi.closed and roi.kind != "EXTERNAL"]
    motion = random_motion(
        planning.geometry,
        np.array(targets).reshape(-1, 3),
        seed,
        shift_mm=shift_mm,
        rotation_deg=rotation_deg,
        peak_mm=peak_mm,
        apart=apart,
    )
    transform, inverse = motion.sampled(grid)
    still = resample(_extended(planning), grid, transform).array
    array = _as_cone_beam(still, grid, np.random.default_rng(seed + 1), noise_hu, shading_hu)
    masks: dict[int, np.ndarray] = {}
    rois = []
    for done, roi in enumerate(structures.rois):
        masks[roi.number] = moved_mask(roi, planning.geometry, grid, transform)
        opened = tuple(carry_contour(contour, inverse) for contour in roi.contours if not contour.is_closed)
        contours = contours_from_mask(masks[roi.number], grid) + opened
        rois.append(replace(roi, contours=contours, frame_of_reference_uid=None))
        progress("simulate", done + 1, len(structures.rois))
    return Simulation(Volume(array, grid), motion, transform, inverse, StructureSet(tuple(rois), label=structures.label), masks)


def daily_geometry(planning: Geometry) -> Geometry:
    """A grid of its own over the field of ``planning``: pixels a tenth larger, slices as thick but shifted by 0.4 of one."""
    spacing = np.array(planning.spacing_mm) * (1.1, 1.1, 1.0)
    shape = np.maximum(np.floor(np.array(planning.shape) / (1.1, 1.1, 1.0)).astype(int), 1)
    affine = planning.affine.copy()
    affine[:3, :3] = planning.axes * spacing
    affine[:3, 3] = planning.index_to_world(np.array([[0.3, 0.2, 0.4 if shape[2] > 1 else 0.0]]))[0]
    return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def moved_mask(roi: Roi, planning: Geometry, daily: Geometry, transform: Transform) -> Bool[np.ndarray, "i j k"]:
    """Where a structure is on the daily grid: a voxel is inside iff its centre, mapped to planning space, is in the solid.

    The solid goes over from slice to slice by shape: linear between signed distances taken in each slice, on pixels up to four
    times finer (Raya & Udupa 1990, doi:10.1109/42.52980); it ends half a slice beyond its outer contours. What reaches the
    first or last slice of the planning image goes on beyond it, as the simulated patient does.
    """
    mask = np.zeros(daily.shape, bool)
    if not roi.closed:
        return mask
    levels = _solid(roi, planning)
    # only where the motion fetches from round the solid: a lattice of 8 mm tells, one cell more is safe
    lattice = daily.with_spacing((8.0, 8.0, 8.0))
    points = lattice.index_to_world(np.argwhere(np.ones(lattice.shape, bool)))
    at = levels.geometry.world_to_index(transform.map_points(points)) * levels.geometry.spacing_mm
    near = (at > -16).all(axis=1) & (at < np.array(levels.geometry.shape) * levels.geometry.spacing_mm + 16).all(axis=1)
    if not near.any():
        return mask
    index = daily.world_to_index(points[near])
    cell = np.array(lattice.spacing_mm) / daily.spacing_mm
    low = np.clip(np.floor(index.min(axis=0) - cell), 0, daily.shape).astype(int)
    high = np.clip(np.ceil(index.max(axis=0) + cell) + 1, 0, daily.shape).astype(int)
    box = daily.cropped_to((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    moved = resample(levels, box, transform, outside=float(levels.array.min()))
    mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = moved.array > 0
    return mask


def _solid(roi: Roi, planning: Geometry) -> Volume:
    """In-plane signed distances (pixels, positive inside) on slices round the structure."""
    index = planning.world_to_index(np.concatenate([contour.points for contour in roi.closed]))
    low = np.floor(index.min(axis=0) + 0.5).astype(int) - (3, 3, 1)
    high = np.floor(index.max(axis=0) + 0.5).astype(int) + (4, 4, 2)
    beyond = int(np.ceil(MARGIN_MM / planning.spacing_mm[2]))
    fine = int(np.clip(np.sqrt(4e5 / float(np.prod((high - low)[:2]))), 1, 4))
    box = planning.cropped_to((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    mask = rasterize(roi, refined(box, (fine, fine, 1)))
    before, after = (beyond if low[2] < 0 else 0), (beyond if high[2] > planning.shape[2] else 0)
    inner = mask[:, :, 1 if before else 0 : -1 if after else None]
    mask = np.pad(inner, ((0, 0), (0, 0), (before, after)), mode="edge")
    first = low[2] + (1 - before if before else 0)
    box = planning.cropped_to((low[0], low[1], first), (high[0], high[1], first + mask.shape[2]))
    levels = np.stack([_in_plane_distance(mask[:, :, k]) for k in range(mask.shape[2])], axis=2)
    filled = np.asarray(mask.any(axis=(0, 1)))
    for k in np.flatnonzero(~filled):  # an end cap: half a slice of the same cross-section
        neighbours = [levels[:, :, n] for n in (k - 1, k + 1) if 0 <= n < len(filled) and filled[n]]
        if neighbours:
            levels[:, :, k] = -np.abs(np.max(neighbours, axis=0))
    return Volume(levels, refined(box, (fine, fine, 1)))


def _in_plane_distance(mask: Bool[np.ndarray, "i j"]) -> np.ndarray:
    """Pixels to the border, positive inside; an empty plane is far outside everywhere."""
    if not mask.any():
        return np.full(mask.shape, -1e6, np.float32)
    outside = distance_transform_edt(~mask)
    inside = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return (np.where(mask, inside - 0.5, 0.5 - outside)).astype(np.float32)


def _middle(roi: Roi) -> np.ndarray:
    points = np.concatenate([contour.points for contour in roi.closed])
    return (points.min(axis=0) + points.max(axis=0)) / 2


def _extended(planning: Volume) -> Volume:
    """The planning image with its first and last slice repeated outwards, so that motion along the patient brings in no air."""
    slices = int(np.ceil(MARGIN_MM / planning.geometry.spacing_mm[2]))
    array = np.pad(planning.array, ((0, 0), (0, 0), (slices, slices)), mode="edge")
    return Volume(array, planning.geometry.padded((0, 0, slices)))


def _as_cone_beam(
    still: np.ndarray, grid: Geometry, rng: np.random.Generator, noise_hu: float, shading_hu: float
) -> np.ndarray:
    """HU with 6 % less contrast, cupping and a tilt in brightness over the field, and noise that is correlated in the slice."""
    i, j, k = (np.linspace(-1, 1, n, dtype=np.float32) if n > 1 else np.zeros(1, np.float32) for n in grid.shape)
    tilt = rng.uniform(-0.4, 0.4, 3).astype(np.float32)
    out = np.empty(grid.shape, np.int16)
    for n in range(grid.shape[2]):
        hu = still[:, :, n].astype(np.float32)
        radius2 = np.clip(i[:, None] ** 2 + j[None, :] ** 2, 0, 1)
        shade = shading_hu * (radius2 * 1.2 - 0.8 + tilt[0] * i[:, None] + tilt[1] * j[None, :] + tilt[2] * k[n])
        tissue = np.clip((hu + 1000) / 900, 0, 1)
        noise = gaussian_filter(rng.standard_normal(hu.shape).astype(np.float32), 0.6)
        noise *= noise_hu / max(float(noise.std()), 1e-6)
        out[:, :, n] = np.rint(np.clip((hu + 1000) * 0.94 - 1000 + (shade + noise) * tissue + noise * 0.3, -1024, 3071))
    return out
