"""The grid of a series, from positions and orientations alone; what is not a regular stack is refused by name.

Tags that promise geometry without carrying it (SliceThickness, SpacingBetweenSlices, GantryDetectorTilt, InstanceNumber, file
names) are not read.
"""

from __future__ import annotations

import numpy as np

from jrscli.errors import InputError, Notice
from jrscli.io.caps import MAX_BYTES, MAX_VOXELS
from jrscli.io.dicom_slice import Slice, text_of
from jrscli.spatial.geometry import Geometry

IRREGULAR = ("series.tilt", "series.missing", "series.uneven")
"""What ``--resample-irregular`` repairs."""
_SAME_AXES = 1e-3


def check_uniform(slices: list[Slice]) -> tuple[Notice, ...]:
    """Notices about rounded axes, and about UIDs that are blank.

    Raises InputError `input.too_big`, `series.iop`, `series.mixed`, `series.size`, `series.for_mixed`, `series.uid_dup`.
    """
    notices: list[Notice] = []
    check_size(slices[0].shape, len(slices), int(slices[0].header.get("BitsAllocated", 16) or 16))
    orientations = np.array([s.orientation for s in slices])
    errors = _axis_errors(orientations)
    bad = int((errors > 1e-3).sum())
    if bad:
        raise InputError(
            f"the image axes are not orthogonal unit vectors in {bad} image(s) (off by {errors.max():.4f})",
            code="series.iop",
            hint="export the series again; its orientation is damaged",
        )
    if errors.max() > 1e-6:
        notices.append(Notice("series.iop_round", f"axes rounded; renormalised (max {errors.max():.6f})"))
    groups = orientation_groups(slices)
    if len(groups) > 1:
        counts = " + ".join(str(len(group)) for group in groups)
        table = "; ".join(f"{k + 1}: {len(group)} {_plane(group[0])}" for k, group in enumerate(groups[:6]))
        raise InputError(
            f"{len(groups)} orientations in one series ({counts} images)",
            code="series.mixed",
            hint=f"--select orientation=K picks one of: {table}",
        )
    _check_sizes(slices)
    return (*notices, *_check_references(slices))


def check_size(shape: tuple[int, int], count: int, bits: int) -> None:
    """Raise InputError `input.too_big` for a series of more voxels or bytes than can be handled, from its headers."""
    rows, columns = shape
    voxels = rows * columns * count
    if voxels > MAX_VOXELS or voxels * max(bits, 8) // 8 > MAX_BYTES:
        raise InputError(
            f"{columns}×{rows}×{count} voxels of {bits} bits, more than {MAX_VOXELS:.0e} voxels or {MAX_BYTES / 1e9:g} GB",
            code="input.too_big",
            hint="crop the series first",
        )


def orientation_groups(slices: list[Slice]) -> list[list[Slice]]:
    """The images by orientation (within 1e-3 in every component): the largest group first, then in order of the walk."""
    left, groups = list(slices), []
    while left:
        same = np.abs(np.array([s.orientation for s in left]) - left[0].orientation).max(axis=1) <= _SAME_AXES
        groups.append([s for s, one in zip(left, same, strict=True) if one])
        left = [s for s, one in zip(left, same, strict=True) if not one]
    return sorted(groups, key=len, reverse=True)


def axes_of(slices: list[Slice]) -> np.ndarray:
    """Row direction, column direction and normal as columns: unit vectors at right angles, from the first slice."""
    row = slices[0].orientation[:3] / np.linalg.norm(slices[0].orientation[:3])
    column = slices[0].orientation[3:] - row * np.dot(row, slices[0].orientation[3:])
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)], axis=1)


def heights_and_drift(slices: list[Slice], axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each slice lies along the normal (n,), and how far off the line through the first one (n, 3), in mm."""
    positions = np.array([s.position for s in slices])
    heights = positions @ axes[:, 2]
    return heights, (positions - positions[0]) - np.outer(heights - heights[0], axes[:, 2])


def usual_step(heights: np.ndarray) -> float:
    """The distance of slices that is the rule: the lower median (of two steps, one of them doubled, the single one)."""
    steps = np.diff(heights)
    return float(np.sort(steps)[(len(steps) - 1) // 2])


def tilt_limit(slices: list[Slice], usual: float) -> float:
    """How far off the line slices may lie, in mm."""
    return max(0.05, 0.1 * min(*slices[0].spacing, usual))


def stack_geometry(slices: list[Slice]) -> tuple[Geometry, tuple[Notice, ...]]:
    """The grid of slices already sorted along their normal, one to a position.

    Raises InputError `series.one`, `series.tilt`, `series.missing`, `series.uneven`.
    """
    if len(slices) < 2:
        raise InputError("1 slice: 3-D methods need at least 2", code="series.one", hint="give the whole series")
    axes = axes_of(slices)
    heights, drift = heights_and_drift(slices, axes)
    usual = usual_step(heights)
    sideways = float(np.linalg.norm(drift, axis=1).max())
    if sideways > tilt_limit(slices, usual):
        angle = np.degrees(np.arctan2(sideways, heights[-1] - heights[0]))
        raise InputError(
            f"gantry tilt {angle:.1f}°: slices are sheared, not stacked",
            code="series.tilt",
            hint="--resample-irregular makes an upright grid",
        )
    _check_steps(heights, usual)
    rows, columns = slices[0].shape
    dy, dx = slices[0].spacing
    affine = np.eye(4)
    affine[:3, :3] = axes * (dx, dy, (heights[-1] - heights[0]) / (len(slices) - 1))
    affine[:3, 3] = slices[0].position
    return Geometry((columns, rows, len(slices)), affine), few(len(slices))


def few(count: int) -> tuple[Notice, ...]:
    """The notice `series.few` for two or three slices."""
    return (Notice("series.few", f"only {count} slices"),) if count <= 3 else ()


def _axis_errors(orientations: np.ndarray) -> np.ndarray:
    """Per image, how far its axes are from unit vectors at right angles."""
    rows, columns = orientations[:, :3], orientations[:, 3:]
    lengths = [np.abs(np.linalg.norm(axes, axis=1) - 1) for axes in (rows, columns)]
    return np.max([*lengths, np.abs((rows * columns).sum(axis=1))], axis=0)


def _check_sizes(slices: list[Slice]) -> None:
    shapes = sorted({s.shape for s in slices})
    spread = np.ptp([s.spacing for s in slices], axis=0).max()
    if len(shapes) > 1 or spread > 1e-4:
        found = ", ".join(f"{columns}×{rows}" for rows, columns in shapes[:4])
        raise InputError(
            f"two or more matrix sizes in one series ({found})"
            if len(shapes) > 1
            else f"the pixel spacings of the series differ by {spread:.4f} mm",
            code="series.size",
            hint=f"pick one kind with --select {'Rows' if len(shapes) > 1 else 'KEYWORD'}=VALUE, or split the series",
        )


def _check_references(slices: list[Slice]) -> list[Notice]:
    """Notices about blank UIDs; raises where they contradict each other."""
    notices = []
    frames = {str(s.get("FrameOfReferenceUID", "") or "") for s in slices}
    if len(frames) > 1:
        raise InputError(
            f"slices come from {len(frames)} frames of reference",
            code="series.for_mixed",
            hint="split the series: images of different frames of reference do not share a space",
        )
    if frames == {""}:
        message = "the series has no FrameOfReferenceUID, so DICOM objects cannot refer to it (--assign-uids gives it one)"
        notices.append(Notice("series.for_blank", message))
    blank = sum(
        not all(text_of(s.header, name) for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")) for s in slices
    )
    if blank:
        message = f"UIDs are empty in {blank} image(s), so DICOM objects cannot refer to them (--assign-uids gives new ones)"
        notices.append(Notice("series.uid_blank", message))
    places: dict[tuple[str, int], set[tuple[float, ...]]] = {}
    for s in slices:
        if s.sop_instance_uid:
            places.setdefault(s.image_id, set()).add(tuple(s.position.tolist()))
    shared = sum(len(found) for found in places.values() if len(found) > 1)
    if shared:
        raise InputError(
            f"the same SOP Instance UID on {shared} images",
            code="series.uid_dup",
            hint="export the series again, or give each image its own UID with --assign-uids",
        )
    return notices


def _check_steps(heights: np.ndarray, usual: float) -> None:
    steps = np.diff(heights)
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
            hint="export the series again with all its images, or interpolate with --resample-irregular",
        )
    if np.abs(steps - usual).max() > max(0.01, 0.01 * usual):
        raise InputError(
            f"slice distance varies {steps.min():.2f}–{steps.max():.2f} mm",
            code="series.uneven",
            hint="--resample-irregular makes even slices",
        )


def _plane(s: Slice) -> str:
    """axial, coronal or sagittal: the plane that the image is nearest to."""
    return ("sagittal", "coronal", "axial")[int(np.abs(np.cross(s.orientation[:3], s.orientation[3:])).argmax())]
