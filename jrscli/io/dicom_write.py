"""Writing a volume as a DICOM image series."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Real
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from jrscli.errors import GeometryError, Notice, UsageError, WriteError
from jrscli.io.dicom_values import date_and_time, exact_decimal, file_meta, new_uid
from jrscli.io.dicom_walk import quiet
from jrscli.io.pseudonym import pseudonym
from jrscli.io.series_header import SeriesHeader
from jrscli.spatial.volume import Volume

SOP_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
MANUFACTURER = "jrscli project"
_MAX_LENGTH = {"SH": 16, "LO": 64, "CS": 16}
_STUDY = {
    "PatientName": "", "PatientID": "", "PatientBirthDate": "", "PatientSex": "", "StudyDate": "", "StudyTime": "",
    "StudyID": "", "AccessionNumber": "", "ReferringPhysicianName": "",
}  # fmt: skip
"""Elements that must be there, if empty."""


@quiet()
def write_series(
    volume: Volume,
    folder: str | Path,
    *,
    modality: str = "CT",
    header_from: SeriesHeader | None = None,
    frame_of_reference_uid: str | None = None,
    description: str = "",
    series_number: int = 1,
    seed: str | None = None,
) -> SeriesHeader:
    """The header of the series written into ``folder``: one file per slice of array axis 2, new series and image UIDs.

    header_from: the patient and study to belong to (a made-up patient "PHANTOM" without).
    frame_of_reference_uid: the space the volume lies in; a new one without.
    seed: makes UIDs and dates depend on it and on the content only, so that equal runs give equal files.

    Raises UsageError `series.modality`, GeometryError `series.lefthanded`, WriteError `output.unwritable`.
    """
    if modality not in SOP_CLASSES:
        raise UsageError(f"series of modality {modality} are not written", code="series.modality", hint="CT and MR are")
    if np.linalg.det(volume.geometry.axes) < 0:
        # a slice is sent as rows and columns and its normal is their cross product: mirrored grids have no such place
        raise GeometryError(
            "the grid is left-handed, which DICOM slices cannot be",
            code="series.lefthanded",
            hint="flip an axis of the image first",
        )
    folder = Path(folder)
    template = header_from.template if header_from is not None else _made_up(modality, seed)
    # a seed alone must not give two volumes one UID: what is written takes part
    content = (volume.geometry.sha256, str(hash_of(volume.array)), modality, description)
    series = new_uid(seed, "series", *content)
    frame = frame_of_reference_uid or new_uid(seed, "frame", *content)
    stored, rescale = _stored(volume.array, modality)
    shared = _shared(volume, template, modality, seed)
    shared.update(rescale)
    shared.SeriesInstanceUID, shared.FrameOfReferenceUID = series, frame
    shared.SeriesNumber, shared.SeriesDescription = series_number, description[:64]
    uids = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for k in range(volume.geometry.shape[2]):
            uid = new_uid(seed, "image", str(series), str(k))
            shared.SOPInstanceUID, shared.InstanceNumber = uid, k + 1
            position = volume.geometry.index_to_world(np.array([[0.0, 0.0, k]]))[0]
            shared.ImagePositionPatient = [exact_decimal(x) for x in position]
            # stored (column, row): DICOM wants rows one after the other
            shared.PixelData = np.ascontiguousarray(stored(volume.array[:, :, k]).T).astype("<u2", copy=False).tobytes()
            shared.file_meta = file_meta(shared.SOPClassUID, uid, ExplicitVRLittleEndian)
            # pydicom writes 128 zeros as preamble
            shared.save_as(
                folder / f"{modality}{k + 1:04d}.dcm", enforce_file_format=True, implicit_vr=False, little_endian=True
            )
            uids.append(str(uid))
    except OSError as error:
        raise WriteError(
            "the DICOM series cannot be written",
            code="output.unwritable",
            hint="check the folder, its rights and the free space",
        ) from error
    return SeriesHeader(
        modality=modality,
        frame_of_reference_uid=str(frame),
        series_instance_uid=str(series),
        study_instance_uid=str(shared.StudyInstanceUID),
        sop_class_uid=SOP_CLASSES[modality],
        sop_instance_uids=tuple(uids),
        template=template,
        pseudonym=pseudonym(str(template.get("PatientID", "") or "")),
    )


@quiet()
def copy_patient_and_study(template: Dataset, dataset: Dataset) -> tuple[Notice, ...]:
    """Copy what ``template`` holds of patient and study; required elements are empty where it has none.

    Text too long for its element is cut (`series.long_text`): readers refuse it.
    """
    cut = 0
    for element in template:
        if element.keyword == "PatientPosition":
            continue
        dataset[element.keyword] = copy.deepcopy(element)
        limit = _MAX_LENGTH.get(element.VR, 0)
        text = str(element.value or "")
        if limit and element.VM == 1 and len(text) > limit:
            dataset[element.keyword].value = text[:limit].rstrip()
            cut += 1
    for keyword, empty in _STUDY.items():
        if keyword not in dataset:
            setattr(dataset, keyword, empty)
    # whatever the characters were, they are decoded now and written as UTF-8
    dataset.SpecificCharacterSet = "ISO_IR 192"
    return (Notice("series.long_text", f"{cut} patient or study element(s) too long for DICOM were cut"),) if cut else ()


def hash_of(array: np.ndarray) -> str:
    """A hash of the values, whatever the order in memory."""
    digest = hashlib.sha256(str(array.dtype).encode())
    for k in range(array.shape[2]):
        digest.update(np.asfortranarray(array[:, :, k]).tobytes(order="F"))
    return digest.hexdigest()


def _made_up(modality: str, seed: str | None) -> Dataset:
    template = Dataset()
    date, time = date_and_time(seed, None)
    template.PatientName, template.PatientID = "PHANTOM^JRS", "PHANTOM"
    template.PatientBirthDate, template.PatientSex = "", "O"
    template.StudyInstanceUID, template.StudyID = new_uid(seed, "study"), "1"
    template.StudyDate, template.StudyTime = date, time
    template.AccessionNumber, template.ReferringPhysicianName = "", ""
    template.PatientPosition = "HFS"
    return template


def _shared(volume: Volume, template: Dataset, modality: str, seed: str | None) -> Dataset:
    """What all images of the series have in common."""
    image = Dataset()
    copy_patient_and_study(template, image)
    image.SOPClassUID, image.Modality = SOP_CLASSES[modality], modality
    image.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if modality == "CT" else "OTHER"]
    if not image.get("StudyInstanceUID"):
        image.StudyInstanceUID = new_uid(seed, "study")
    date, time = date_and_time(seed, template)
    image.InstanceCreationDate = image.SeriesDate = image.ContentDate = date
    image.InstanceCreationTime = image.SeriesTime = image.ContentTime = time
    image.Manufacturer, image.ManufacturerModelName = MANUFACTURER, "jrscli"
    image.PatientPosition = template.get("PatientPosition") or "HFS"
    image.PositionReferenceIndicator = image.Laterality = ""
    image.AcquisitionNumber = None
    axes, spacing = volume.geometry.axes, volume.geometry.spacing_mm
    image.ImageOrientationPatient = [exact_decimal(x) for x in (*axes[:, 0], *axes[:, 1])]
    # PixelSpacing is (distance of rows, distance of columns)
    image.PixelSpacing = [exact_decimal(spacing[1]), exact_decimal(spacing[0])]
    image.SliceThickness = exact_decimal(spacing[2])
    image.Columns, image.Rows = volume.geometry.shape[:2]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    if modality == "CT":
        image.KVP = None
    else:
        image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "RM", "NONE", ""
        image.MRAcquisitionType = image.EchoTime = image.EchoTrainLength = image.RepetitionTime = None
    return image


def _stored(array: Real[np.ndarray, "i j k"], modality: str) -> tuple[Callable[[np.ndarray], np.ndarray], Dataset]:
    """How values become 16 bits, and the elements that tell the way back.

    CT keeps whole HU: slope 1 and intercept −1024 where that fits, signed with intercept 0 where it does not. Other modalities
    keep whole non-negative numbers as they are and spread the rest over the 65 536 values there are.
    """
    low, high = float(array.min()), float(array.max())
    rescale = Dataset()
    slope, intercept, signed = 1.0, 0.0, False
    if modality == "CT":
        if low >= -1024 and high <= 64511:
            intercept = -1024.0
        elif low >= -32768 and high <= 32767:
            signed = True
        else:
            slope, intercept = (high - low) / 65535, low
    elif not (array.dtype.kind in "iu" and low >= 0 and high <= 65535):
        slope, intercept = max((high - low) / 65535, 1e-12), low
    # the text of a decimal string is what readers compute with
    slope, intercept = float(exact_decimal(slope)), float(exact_decimal(intercept))
    rescale.PixelRepresentation = int(signed)
    if modality == "CT":
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = (
            exact_decimal(slope),
            exact_decimal(intercept),
            "HU",
        )
    elif slope != 1 or intercept != 0:
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = (
            exact_decimal(slope),
            exact_decimal(intercept),
            "US",
        )
    bounds = (-32768, 32767) if signed else (0, 65535)

    def store(plane: np.ndarray) -> np.ndarray:
        values = np.clip(np.rint((plane.astype(np.float64) - intercept) / slope), *bounds)
        return values.astype(np.int16).view(np.uint16) if signed else values.astype(np.uint16)

    return store, rescale
