"""The grid of a series, from positions and orientations alone; what is not a regular stack is refused by name.

Tags that promise geometry without carrying it (SliceThickness, SpacingBetweenSlices, GantryDetectorTilt, InstanceNumber, file
names) are not read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from jrscli.errors import InputError, Notice
from jrscli.io.dicom_walk import Source
from jrscli.spatial.geometry import Geometry

MAX_VOXELS = 2_000_000_000


@dataclass(frozen=True, eq=False)
class Slice:
    """One image of a series: its header and where it lies (LPS mm)."""

    source: Source
    header: Dataset
    position: np.ndarray
    orientation: np.ndarray
    spacing: tuple[float, float]
    shape: tuple[int, int]

    @property
    def sop_instance_uid(self) -> str:
        """The UID of the image."""
        return str(self.header.get("SOPInstanceUID", "") or "")


def slice_of(source: Source, header: Dataset, number: int) -> Slice:
    """Where the image lies.

    number: its place in the walk, to name it by (file names can be personal).
    Raises InputError `series.spacing`, `series.cut`.
    """
    try:
        spacing = header.get("PixelSpacing")
        if spacing is None or len(spacing) != 2 or not min(float(s) for s in spacing) > 0:
            raise InputError(
                f"image {number} has no PixelSpacing, so its size in the patient is unknown",
                code="series.spacing",
                hint="ask for the original images (a screen capture or a projection cannot be used)",
            )
        position = np.array([float(x) for x in header.ImagePositionPatient])
        orientation = np.array([float(x) for x in header.ImageOrientationPatient])
        shape = (int(header.Rows), int(header.Columns))
        if (
            position.shape != (3,)
            or orientation.shape != (6,)
            or not np.isfinite([*position, *orientation]).all()
            or min(shape) < 1
        ):
            raise ValueError("wrong number of values")
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"image {number} has no usable position, orientation or size",
            code="series.cut",
            hint="export the series again, or leave this image out",
        ) from error
    return Slice(source, header, position, orientation, (float(spacing[0]), float(spacing[1])), shape)


def check_uniform(slices: list[Slice]) -> tuple[Notice, ...]:
    """Notices about rounded axes and a blank frame of reference.

    Raises InputError `series.size`, `series.iop`, `series.mixed`, `series.for_mixed`, `series.uid_dup`.
    """
    notices: list[Notice] = []
    orientations = np.array([s.orientation for s in slices])
    rows, columns = orientations[:, :3], orientations[:, 3:]
    lengths = np.abs(np.linalg.norm(np.concatenate([rows, columns]), axis=1) - 1).max()
    error = float(max(lengths, np.abs((rows * columns).sum(axis=1)).max()))
    if error > 1e-3:
        raise InputError(
            f"the image axes are not orthogonal unit vectors (off by {error:.4f})",
            code="series.iop",
            hint="export the series again; its orientation is damaged",
        )
    if error > 1e-6:
        notices.append(Notice("series.iop_round", f"axes rounded; renormalised (max {error:.6f})"))
    groups = orientation_groups(orientations)
    if len(groups) > 1:
        counts = " + ".join(str(count) for count in groups)
        raise InputError(
            f"{len(groups)} orientations in one series ({counts} images)",
            code="series.mixed",
            hint="split the series, one folder for each orientation",
        )
    if len({s.shape for s in slices}) > 1 or np.ptp([s.spacing for s in slices], axis=0).max() > 1e-4:
        raise InputError(
            "the images of the series differ in matrix size or pixel spacing",
            code="series.size",
            hint="pick one kind with --select KEYWORD=VALUE, for example --select Rows=512",
        )
    frames = {str(s.header.get("FrameOfReferenceUID", "") or "") for s in slices}
    if len(frames) > 1:
        raise InputError(
            f"slices come from {len(frames)} frames of reference",
            code="series.for_mixed",
            hint="split the series: images of different frames of reference do not share a space",
        )
    if frames == {""}:
        notices.append(Notice("series.for_blank", "the series has no FrameOfReferenceUID; DICOM objects cannot refer to it"))
    uids = [s.sop_instance_uid for s in slices]
    repeated = len(uids) - len(set(uids))
    if "" in uids:
        notices.append(Notice("series.uid_blank", "UIDs are empty; DICOM objects cannot refer to these images"))
    elif repeated and len({(s.sop_instance_uid, *s.position.tolist()) for s in slices}) > len(set(uids)):
        raise InputError(
            f"the same SOP Instance UID on different images ({repeated} repeats)",
            code="series.uid_dup",
            hint="export the series again; UIDs must be unique",
        )
    return tuple(notices)


def orientation_groups(orientations: np.ndarray) -> list[int]:
    """How many images share each orientation (within 1e-3 in every component)."""
    left, counts = orientations, []
    while len(left):
        same = np.abs(left - left[0]).max(axis=1) <= 1e-3
        counts.append(int(same.sum()))
        left = left[~same]
    return counts


def axes_of(slices: list[Slice]) -> np.ndarray:
    """Row direction, column direction and normal as columns: unit vectors at right angles, from the first slice."""
    row = slices[0].orientation[:3] / np.linalg.norm(slices[0].orientation[:3])
    column = slices[0].orientation[3:] - row * np.dot(row, slices[0].orientation[3:])
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)], axis=1)


def stack_geometry(slices: list[Slice]) -> tuple[Geometry, tuple[Notice, ...]]:
    """The grid of slices already sorted along their normal, one to a position.

    Raises InputError `series.one`, `series.tilt`, `series.missing`, `series.uneven`, `input.too_big`.
    """
    if len(slices) < 2:
        raise InputError("1 slice: 3-D methods need at least 2", code="series.one", hint="give the whole series")
    axes = axes_of(slices)
    positions = np.array([s.position for s in slices])
    heights = positions @ axes[:, 2]
    rows, columns = slices[0].shape
    dy, dx = slices[0].spacing
    steps = np.diff(heights)
    # the lower median: of two steps, one of them doubled, the single one is the rule
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    drift = (positions - positions[0]) - np.outer(heights - heights[0], axes[:, 2])
    sideways = float(np.linalg.norm(drift, axis=1).max())
    if sideways > max(0.05, 0.1 * min(dx, dy, usual)):
        angle = np.degrees(np.arctan2(sideways, heights[-1] - heights[0]))
        raise InputError(
            f"gantry tilt {angle:.1f}°: slices are sheared, not stacked",
            code="series.tilt",
            hint="resample the series to an upright grid first",
        )
    ratio = steps / usual
    whole = np.round(ratio)
    holes = (whole >= 2) & (np.abs(ratio - whole) <= 0.05 * whole)
    if holes.any():
        at = int(np.flatnonzero(holes)[0])
        missing = int((whole[holes] - 1).sum())
        gap = f"z = {heights[at]:.2f} and {heights[at + 1]:.2f} mm"
        raise InputError(
            f"{missing} slice(s) missing, the first between {gap} (distance {usual:.2f} mm)",
            code="series.missing",
            hint="export the series again with all its images",
        )
    if np.abs(steps - usual).max() > max(0.01, 0.01 * usual):
        raise InputError(
            f"slice distance varies {steps.min():.2f}–{steps.max():.2f} mm",
            code="series.uneven",
            hint="resample the series to even slices first",
        )
    if rows * columns * len(slices) > MAX_VOXELS:
        raise InputError(
            f"{columns}×{rows}×{len(slices)} voxels, more than {MAX_VOXELS:.0e}",
            code="input.too_big",
            hint="crop the series first",
        )
    notices = (Notice("series.few", f"only {len(slices)} slices"),) if len(slices) <= 3 else ()
    affine = np.eye(4)
    affine[:3, :3] = axes * (dx, dy, (heights[-1] - heights[0]) / (len(slices) - 1))
    affine[:3, 3] = positions[0]
    return Geometry((columns, rows, len(slices)), affine), notices
