"""Slices that are no regular stack (tilted, with gaps, unevenly spaced), brought onto an upright grid on request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Real
from scipy import ndimage

from jrscli.errors import InputError, Notice
from jrscli.io.dicom_geometry import axes_of, check_size, few, heights_and_drift, tilt_limit, usual_step
from jrscli.io.dicom_slice import Slice
from jrscli.spatial.geometry import Geometry

MAX_GAP = 3
"""A gap of more than so many usual steps is not interpolated: what lies in it is not known."""
_SAME = 0.005
"""An image this near (in steps) is taken as it is: positions in files are rounded."""


@dataclass(frozen=True, eq=False)
class UprightGrid:
    """Where the images go: an orthogonal grid with their in-plane spacing, and a slice step that is the rule among them.

    heights: of the images along their normal, mm from the first slice of the grid. offsets: (column, row) of the first pixel
    of each image in the grid, voxels. notices: what was repaired.
    """

    geometry: Geometry
    heights: np.ndarray
    offsets: np.ndarray
    notices: tuple[Notice, ...]

    @property
    def nearest(self) -> list[int]:
        """For each slice of the grid, the image nearest to it: what an object that refers to images names."""
        planes = np.arange(self.geometry.shape[2]) * self.geometry.spacing_mm[2]
        return [int(np.abs(self.heights - plane).argmin()) for plane in planes]


def upright_grid(slices: list[Slice], refusal: InputError) -> UprightGrid:
    """The grid for sorted slices that `stack_geometry` refuses; nothing of any image is cut off.

    Raises InputError: the refusal itself where a gap is over three usual steps, `input.too_big`.
    """
    axes = axes_of(slices)
    heights, drift = heights_and_drift(slices, axes)
    step = usual_step(heights)
    widest = float(np.diff(heights).max())
    if widest > MAX_GAP * step * 1.05:
        raise InputError(
            f"{refusal.message}; a gap of {widest:.1f} mm is over {MAX_GAP} slices of {step:.2f} mm and is not interpolated",
            code=refusal.code,
            hint="export the series again with all its images",
        )
    rows, columns = slices[0].shape
    dy, dx = slices[0].spacing
    offsets = np.stack([drift @ axes[:, 0] / dx, drift @ axes[:, 1] / dy], axis=1)
    if np.linalg.norm(drift, axis=1).max() <= tilt_limit(slices, step):
        offsets = np.zeros_like(offsets)
    low = np.floor(offsets.min(axis=0) + 1e-6)
    extra = np.ceil((offsets - low).max(axis=0) - 1e-6).astype(int)
    # half a step beyond the last image still belongs to it
    count = int(np.floor((heights[-1] - heights[0]) / step + 0.5)) + 1
    shape = (columns + int(extra[0]), rows + int(extra[1]), count)
    check_size((shape[1], shape[0]), count, 16)
    affine = np.eye(4)
    affine[:3, :3] = axes * (dx, dy, step)
    affine[:3, 3] = slices[0].position + axes[:, 0] * low[0] * dx + axes[:, 1] * low[1] * dy
    notice = Notice(refusal.code, f"{refusal.message}; resampled to an upright grid of {step:.2f} mm slices")
    return UprightGrid(Geometry(shape, affine), heights - heights[0], np.round(offsets - low, 3), (notice, *few(len(slices))))


def onto_upright(
    stack: Real[np.ndarray, "columns rows slices"], grid: UprightGrid, background: float
) -> Real[np.ndarray, "i j k"]:
    """The images on the grid, linear between true positions, ``background`` where there is no image; whole numbers stay so."""
    out = np.empty(grid.geometry.shape[::-1], stack.dtype)
    shifted: dict[int, np.ndarray] = {}

    def plane(k: int) -> np.ndarray:
        if k not in shifted:
            for old in [n for n in shifted if n < k - 1]:
                del shifted[old]
            shifted[k] = _shifted(stack[:, :, k], grid.offsets[k], grid.geometry.shape[:2])
        return shifted[k]

    step = grid.geometry.spacing_mm[2]
    for k in range(grid.geometry.shape[2]):
        height = min(k * step, float(grid.heights[-1]))
        below = min(int(np.searchsorted(grid.heights, height + 1e-6, side="right")) - 1, len(grid.heights) - 2)
        weight = (height - grid.heights[below]) / (grid.heights[below + 1] - grid.heights[below])
        if weight < _SAME or weight > 1 - _SAME:
            mixed = plane(below + int(weight > 0.5))
        else:
            one, other = plane(below), plane(below + 1)
            mixed = (1 - weight) * one + weight * other
            # a mean with the background would be a value that no scanner saw
            mixed = np.where(np.isnan(one) | np.isnan(other), np.nan, mixed)
        filled = np.where(np.isnan(mixed), background, mixed)
        out[k] = (np.rint(filled) if out.dtype.kind in "iu" else filled).T
    return out.transpose(2, 1, 0)


def _shifted(image: np.ndarray, offset: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image (column, row) in the plane of the grid, NaN where it does not reach."""
    if not offset.any() and image.shape == shape:
        return image.astype(np.float32)
    options = {"output_shape": shape, "order": 1, "mode": "constant", "cval": np.nan}
    return ndimage.affine_transform(image.astype(np.float32), np.ones(2), -offset, **options)
