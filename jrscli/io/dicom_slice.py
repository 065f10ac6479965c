"""One image of a series: its header and where it lies; an enhanced object is as many images as it has frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from jrscli.errors import InputError
from jrscli.io.dicom_walk import Source

MAX_FRAMES = 20_000
_MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
}
"""Where the functional groups of an enhanced object keep what a classic image has at its top (PS3.3 C.7.6.16)."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One image: its header and where it lies (LPS mm).

    frame: which frame of a multi-frame object, from 0; None for an object with one image. groups: the functional groups of the
    frame, then those that all frames share. number: its place in the walk, to name it by (file names can be personal).
    """

    source: Source
    header: Dataset
    position: np.ndarray
    orientation: np.ndarray
    spacing: tuple[float, float]
    shape: tuple[int, int]
    frame: int | None = None
    groups: tuple[Dataset, ...] = ()
    number: int = 0

    @property
    def sop_instance_uid(self) -> str:
        """The UID of the object that holds the image."""
        return text_of(self.header, "SOPInstanceUID")

    @property
    def image_id(self) -> tuple[str, int]:
        """What names the image: the UID of its object and its frame."""
        return self.sop_instance_uid, -1 if self.frame is None else self.frame

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of an element: of the frame, else of all frames, else of the object."""
        return element_of(self.header, self.groups, keyword, default)


def text_of(header: Dataset, keyword: str) -> str:
    """An element as text; "" where it is absent or empty."""
    return str(header.get(keyword, "") or "")


def element_of(header: Dataset, groups: tuple[Dataset, ...], keyword: str, default: Any = None) -> Any:
    """The value of an element in the functional groups, first one first, else at the top of the header."""
    for group in groups:
        sequences = (
            [_MACROS[keyword]] if keyword in _MACROS else [str(name) for name in group.dir() if name.endswith("Sequence")]
        )
        for sequence in sequences:
            items = group.get(sequence)
            if items and keyword in items[0]:
                return items[0].get(keyword)
    return header.get(keyword, default)


def frame_count(header: Dataset) -> int:
    """How many images the object holds; 1 where NumberOfFrames is absent or makes no sense."""
    try:
        return max(int(header.get("NumberOfFrames", 1) or 1), 1)
    except (TypeError, ValueError):
        return 1


def is_multiframe(header: Dataset) -> bool:
    """Whether the object is of the kind that keeps several frames in one file."""
    return "PerFrameFunctionalGroupsSequence" in header or frame_count(header) > 1


def first_groups(header: Dataset) -> tuple[Dataset, ...]:
    """The functional groups of the first frame and the shared ones; none for a classic image."""
    return tuple(
        items[0]
        for items in (header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence"))
        if items
    )


def check_frames(headers: list[Dataset]) -> None:
    """Raise InputError `input.too_big` for more frames than anything that is read here has, before any of them is looked at."""
    total = sum(map(frame_count, headers))
    if total > MAX_FRAMES:
        raise InputError(
            f"{total} images in one series, more than {MAX_FRAMES}",
            code="input.too_big",
            hint="pick a part with --select, or split the series",
        )


def slices_of(source: Source, header: Dataset, number: int) -> Iterator[Slice]:
    """The images of an object and where they lie.

    number: its place in the walk, to name it by (file names can be personal).
    Raises InputError `series.spacing`, `series.cut`, `series.enhanced`.
    """
    if not is_multiframe(header):
        yield _slice(source, header, number)
        return
    frames = header.get("PerFrameFunctionalGroupsSequence")
    shared = tuple(header.get("SharedFunctionalGroupsSequence") or ())[:1]
    if not frames:
        raise InputError(
            f"image {number} has {frame_count(header)} frames and does not say where they lie",
            code="series.enhanced",
            hint="give enhanced (CT, MR, PET) or single-frame images: a cine, NM or capture object has no positions",
        )
    if len(frames) != frame_count(header):
        raise _cut(number, f"has {frame_count(header)} frames and describes {len(frames)}")
    for n, group in enumerate(frames):
        yield _slice(source, header, number, n, (group, *shared))


def _slice(source: Source, header: Dataset, number: int, frame: int | None = None, groups: tuple[Dataset, ...] = ()) -> Slice:
    name = number if frame is None else f"{number}, frame {frame + 1},"
    try:
        spacing = element_of(header, groups, "PixelSpacing")
        pair = () if spacing is None or isinstance(spacing, str | float) else tuple(float(s) for s in spacing)
        if len(pair) != 2 or not np.isfinite(pair).all() or not min(pair) > 0:
            raise InputError(
                f"image {name} has no PixelSpacing, so its size in the patient is unknown",
                code="series.spacing",
                hint="ask for the original images (a screen capture or a projection cannot be used)",
            )
        position = np.array([float(x) for x in element_of(header, groups, "ImagePositionPatient")])
        orientation = np.array([float(x) for x in element_of(header, groups, "ImageOrientationPatient")])
        shape = (int(header.Rows), int(header.Columns))
    except (AttributeError, TypeError, ValueError) as error:
        raise _cut(name, "has no usable position, orientation or size") from error
    finite = np.isfinite([*position, *orientation]).all()
    if position.shape != (3,) or orientation.shape != (6,) or not finite or min(shape) < 1:
        raise _cut(name, "has no usable position, orientation or size")
    return Slice(source, header, position, orientation, (pair[0], pair[1]), shape, frame, groups, number)


def _cut(name: int | str, what: str) -> InputError:
    return InputError(f"image {name} {what}", code="series.cut", hint="export the series again, or leave this image out")
