"""What objects that belong to image series have in common: who made them, and which images they speak of."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from jrscli.errors import InputError, Notice, WriteError
from jrscli.io.dicom_values import date_and_time, file_meta, new_uid
from jrscli.io.dicom_write import MANUFACTURER, copy_patient_and_study
from jrscli.io.series_header import SeriesHeader
from jrscli.io.software import software_version


def check_referable(header: SeriesHeader, what: str) -> None:
    """Raise InputError `series.for_blank`, `series.uid_blank` where ``what`` ("a dose") cannot refer to the series."""
    if not header.frame_of_reference_uid:
        raise InputError(
            f"the image series has no FrameOfReferenceUID, so {what} cannot refer to its space",
            code="series.for_blank",
            hint="write other formats, or repair the series: --assign-uids",
        )
    if not (header.series_instance_uid and header.study_instance_uid and all(header.sop_instance_uids)):
        raise InputError(
            f"UIDs of the image series are empty, so {what} cannot refer to it",
            code="series.uid_blank",
            hint="write other formats, or repair the series: --assign-uids",
        )


def new_object(
    sop_class: str, modality: str, header: SeriesHeader, description: str, content: str, seed: str | None
) -> tuple[Dataset, list[Notice]]:
    """An object of a new series in the study and the frame of reference of ``header``, and what was odd.

    content: a hash of what will be in it; with a seed, UIDs depend on both and dates are those of the study.
    """
    found = Dataset()
    notices = list(copy_patient_and_study(header.template, found))
    date, time = date_and_time(seed, header.template)
    found.SOPClassUID, found.SOPInstanceUID = sop_class, new_uid(seed, modality, content)
    found.StudyInstanceUID = header.study_instance_uid
    found.Modality, found.SeriesInstanceUID = modality, new_uid(seed, f"{modality} series", content)
    found.SeriesNumber = found.InstanceNumber = 1
    found.SeriesDescription = description[:64]
    found.InstanceCreationDate = found.SeriesDate = found.ContentDate = date
    found.InstanceCreationTime = found.SeriesTime = found.ContentTime = time
    found.Manufacturer, found.ManufacturerModelName, found.DeviceSerialNumber = MANUFACTURER, "jrscli", "none"
    found.SoftwareVersions = software_version()
    found.FrameOfReferenceUID, found.PositionReferenceIndicator = header.frame_of_reference_uid, ""
    return found, notices


def save(dataset: Dataset, path: str | Path, what: str) -> None:
    """Write an object as Implicit VR Little Endian behind a zeroed preamble.

    Raises WriteError `output.unwritable`.
    """
    dataset.file_meta = file_meta(dataset.SOPClassUID, dataset.SOPInstanceUID, ImplicitVRLittleEndian)
    try:
        dataset.save_as(Path(path), enforce_file_format=True, implicit_vr=True, little_endian=True)
    except OSError as error:
        raise WriteError(
            f"{what} cannot be written",
            code="output.unwritable",
            hint="check the folder, its rights and the free space",
        ) from error


def reference(sop_class: str, sop_instance: str) -> Dataset:
    """An item that names one instance."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item


def image_references(header: SeriesHeader) -> list[Dataset]:
    """An item for each image of the series; one for an object of many frames."""
    return [reference(header.sop_class_uid, uid) for uid in dict.fromkeys(header.sop_instance_uids)]


def add_common_references(dataset: Dataset, *headers: SeriesHeader) -> None:
    """The Common Instance Reference module: which series of this study, and which of others, the object speaks of."""
    series: dict[str, dict[str, Dataset]] = {}
    for header in headers:
        item = Dataset()
        item.SeriesInstanceUID = header.series_instance_uid
        item.ReferencedInstanceSequence = image_references(header)
        series.setdefault(header.study_instance_uid, {}).setdefault(header.series_instance_uid, item)
    own = series.pop(str(dataset.StudyInstanceUID), {})
    if own:
        dataset.ReferencedSeriesSequence = list(own.values())
    others = []
    for study, items in series.items():
        other = Dataset()
        other.StudyInstanceUID, other.ReferencedSeriesSequence = study, list(items.values())
        others.append(other)
    if others:
        dataset.StudiesContainingOtherReferencedInstancesSequence = others
