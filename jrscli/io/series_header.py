"""SeriesHeader: what objects that refer to an image series must know of it."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset


@dataclass(frozen=True, eq=False)
class SeriesHeader:
    """What must be known of a series to write objects that refer to it.

    sop_instance_uids: one for each slice, in the order of array axis 2.
    template: patient and study elements to copy; it holds personal data and never leaves DICOM.
    pseudonym: how the patient is named everywhere else ("P-7f3a91").
    frame_numbers: for multi-frame objects, the frame (from 1) that each slice is; empty where each image is an object.
    unit: what the values are in ("HU", "SUVbw", "BQML"), "" where nothing is known.

    After resampling of an irregular stack a slice names the image that is nearest to it.
    """

    modality: str
    frame_of_reference_uid: str
    series_instance_uid: str
    study_instance_uid: str
    sop_class_uid: str
    sop_instance_uids: tuple[str, ...]
    template: Dataset
    pseudonym: str
    frame_numbers: tuple[int, ...] = ()
    unit: str = ""
