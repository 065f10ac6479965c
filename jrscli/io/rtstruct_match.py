"""Whether an RTSTRUCT belongs to an image: frame of reference first, image references second, position always."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset

from jrscli.errors import InputError, Notice
from jrscli.io.series_header import SeriesHeader
from jrscli.spatial.geometry import Geometry

_CONTOUR_DATA = (0x3006, 0x0050)
FARTHEST_MM = 1e6
"""Nothing of a patient is further than this from anything else; what is, is a damaged number (as is what is none)."""


@dataclass(frozen=True)
class Match:
    """Which ROIs of a structure set to use, and in which frame of reference they are.

    frames: the accepted frames of reference; None accepts all.
    """

    frame_of_reference_uid: str
    frames: frozenset[str] | None
    notices: tuple[Notice, ...] = ()
    has_image: bool = True

    def accepts(self, roi: Dataset) -> bool:
        """Whether this item of the Structure Set ROI Sequence lies in the image's space."""
        frame = str(roi.get("ReferencedFrameOfReferenceUID", "") or "") or self.frame_of_reference_uid
        return self.frames is None or frame in self.frames

    def frame_of(self, roi: Dataset) -> str | None:
        """The frame of reference that the ROI is used in: the image's, or its own where there is no image."""
        own = str(roi.get("ReferencedFrameOfReferenceUID", "") or "")
        return (self.frame_of_reference_uid if self.has_image else own) or None


def match_series(dataset: Dataset, series: SeriesHeader | None, *, assume_aligned: bool = False) -> Match:
    """How the structure set fits the series; without a series everything is taken as it is.

    Raises InputError `rs.other_space`.
    """
    own = set_frame(dataset)
    if series is None:
        return Match(own, None, has_image=False)
    target = series.frame_of_reference_uid
    rois = list(dataset.get("StructureSetROISequence") or ())
    frames = [str(roi.get("ReferencedFrameOfReferenceUID", "") or "") or own for roi in rois] or [own]
    inside = sum(frame == target for frame in frames) if target else 0
    if inside:
        others = len(frames) - inside
        words = f"{others} ROI(s) lie in another frame of reference and were left out"
        return Match(target, frozenset({target}), (Notice("rs.other_space", words),) if others else ())
    if referenced_images(dataset) & set(series.sop_instance_uids):
        words = "the frame of reference is missing or differs, but the structure set refers to images of this series: used"
        return Match(target, None, (Notice("rs.for", words),))
    if assume_aligned:
        return Match(target, None, (Notice("rs.for", "contours of another frame of reference used as they are, as asked"),))
    raise InputError(
        "the structures belong to another frame of reference than the image",
        code="rs.other_space",
        hint="give the image they were drawn on, or register the two images first; if they are in one place: --assume-aligned",
    )


def set_frame(dataset: Dataset) -> str:
    """The frame of reference of the whole structure set: its own, or the first that it refers to, or that of its first ROI."""
    own = str(dataset.get("FrameOfReferenceUID", "") or "")
    for sequence, keyword in (
        ("ReferencedFrameOfReferenceSequence", "FrameOfReferenceUID"),
        ("StructureSetROISequence", "ReferencedFrameOfReferenceUID"),
    ):
        if not own and dataset.get(sequence):
            own = str(dataset[sequence][0].get(keyword, "") or "")
    return own


def referenced_images(dataset: Dataset) -> set[str]:
    """SOP Instance UIDs of all images that the structure set and its contours refer to."""
    uids = {_uid(image) for _, image in _contour_images(dataset)}
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                uids.update(_uid(image) for image in series.get("ContourImageSequence") or ())
    return uids - {""}


def reference_notices(dataset: Dataset, series: SeriesHeader, geometry: Geometry | None) -> tuple[Notice, ...]:
    """At most one line each on references not in the series (`rs.refs`) or on the wrong slice (`rs.ref_disagrees`)."""
    notices = []
    named = referenced_images(dataset)
    strangers = len(named - set(series.sop_instance_uids))
    if strangers:
        words = f"{strangers} of {len(named)} referenced images are not in the series; contours were placed by position"
        notices.append(Notice("rs.refs", words))
    if geometry is not None:
        frames = series.frame_numbers or (0,) * len(series.sop_instance_uids)
        place = {slice_: k for k, slice_ in enumerate(zip(series.sop_instance_uids, frames, strict=True))}
        wrong = 0
        for contour, image in _contour_images(dataset):
            k = place.get((_uid(image), int(image.get("ReferencedFrameNumber", 0) or 0) if series.frame_numbers else 0))
            if k is not None and len(points := contour_points(contour)):
                wrong += bool(abs(geometry.world_to_index(points[:1])[0, 2] - k) > 0.5)
        if wrong:
            notices.append(
                Notice("rs.ref_disagrees", f"{wrong} contour(s) refer to another slice than they lie on; position wins")
            )
    return tuple(notices)


def contour_points(contour: Dataset) -> Float[np.ndarray, "n 3"]:
    """Contour Data, LPS mm, taken from its text at once: one object for each number takes seconds for a body outline.

    Empty where the data are missing, no triples of numbers, or not within a kilometre.
    """
    if _CONTOUR_DATA not in contour:
        return np.empty((0, 3))
    value: Any = contour.get_item(_CONTOUR_DATA).value
    if isinstance(value, bytes):
        text = value.strip(b" \0")
        value = text.split(b"\\") if text else None
    try:
        points = np.atleast_1d(np.array([] if value is None else value, dtype=np.float64))
    except ValueError:
        return np.empty((0, 3))
    sound = len(points) % 3 == 0 and (np.abs(points) < FARTHEST_MM).all()
    return points.reshape(-1, 3) if sound else np.empty((0, 3))


def _contour_images(dataset: Dataset) -> Iterator[tuple[Dataset, Dataset]]:
    for roi in dataset.get("ROIContourSequence") or ():
        for contour in roi.get("ContourSequence") or ():
            for image in contour.get("ContourImageSequence") or ():
                yield contour, image


def _uid(image: Dataset) -> str:
    return str(image.get("ReferencedSOPInstanceUID", "") or "")
