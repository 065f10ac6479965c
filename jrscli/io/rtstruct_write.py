"""Writing RTSTRUCT: contours on the slices of a given series, for review, never approved."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from jrscli.errors import InputError, Notice, WriteError
from jrscli.io.dicom_values import date_and_time, decimal_string, exact_decimal, file_meta, new_uid
from jrscli.io.dicom_walk import quiet
from jrscli.io.dicom_write import MANUFACTURER, copy_patient_and_study
from jrscli.io.series_header import SeriesHeader
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.planes import nearest_slices
from jrscli.spatial.structures import Contour, Roi, StructureSet

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
_FAMILY = ("123110", "DCM", "Artificial Intelligence")


@dataclass(frozen=True)
class Origin:
    """How the contours were made: told in the file, ROI by ROI.

    how: "propagated", "network" or what else stands in ROIDescription. algorithm, algorithm_version: by what.
    """

    how: str = "propagated"
    algorithm: str = "jrscli pair optimiser"
    algorithm_version: str = ""


@quiet()
def write_rtstruct(
    structures: StructureSet,
    header: SeriesHeader,
    geometry: Geometry,
    path: str | Path,
    *,
    label: str = "JRS_PROPAGATED",
    description: str = "",
    series_description: str = "jrs propagate",
    origin: Origin | None = None,
    origins: Mapping[int, Origin] | None = None,
    seed: str | None = None,
) -> tuple[Notice, ...]:
    """Notices (`rs.lost`: ROIs left without a contour) after writing ``structures`` on the slices of the series ``header``.

    geometry: the grid of the series. structures.sop_instance_uid, if any, is named as the predecessor.
    origin, origins: how the contours were made, in general and by ROI number.
    seed: makes UIDs and dates depend on it and on the content only.

    Raises InputError `series.for_blank`, `series.uid_blank`, WriteError `output.unwritable`.
    """
    _check(header)
    content = content_hash(structures, header, geometry, label, description)
    uid = new_uid(seed, "rtstruct", content)
    date, time = date_and_time(seed, header.template)
    rs = Dataset()
    notices = list(copy_patient_and_study(header.template, rs))
    rs.SOPClassUID, rs.SOPInstanceUID = RTSTRUCT_CLASS, uid
    rs.StudyInstanceUID = header.study_instance_uid
    rs.Modality, rs.SeriesInstanceUID = "RTSTRUCT", new_uid(seed, "rtstruct series", content)
    rs.SeriesNumber, rs.InstanceNumber, rs.SeriesDescription, rs.OperatorsName = 1, 1, series_description[:64], ""
    rs.InstanceCreationDate = rs.SeriesDate = rs.StructureSetDate = date
    rs.InstanceCreationTime = rs.SeriesTime = rs.StructureSetTime = time
    rs.Manufacturer, rs.ManufacturerModelName, rs.DeviceSerialNumber = MANUFACTURER, "jrscli", "none"
    rs.SoftwareVersions = software_version()
    rs.FrameOfReferenceUID, rs.PositionReferenceIndicator = header.frame_of_reference_uid, ""
    rs.StructureSetLabel = rs.StructureSetName = label[:16]
    rs.StructureSetDescription = description or f"propagated by jrs {software_version()}; for review"
    rs.ReferencedFrameOfReferenceSequence = [_references(header)]
    source = _source(structures)
    if source is not None:
        rs.PredecessorStructureSetSequence = [source]
    default = origin or Origin()
    rois = [(roi, (origins or {}).get(roi.number, default)) for roi in structures.rois]
    rs.StructureSetROISequence = [_roi(roi, made, header, source) for roi, made in rois]
    rs.ROIContourSequence = [_roi_contour(roi, header, geometry) for roi, _ in rois]
    rs.RTROIObservationsSequence = [_observation(n + 1, roi) for n, (roi, _) in enumerate(rois)]
    rs.ApprovalStatus = "UNAPPROVED"
    long = sum(len(roi.name) > 64 for roi in structures.rois)
    if long:
        notices.append(Notice("rs.long_name", f"{long} ROI name(s) cut to the 64 characters that DICOM allows"))
    lost = [roi.number for roi in structures.rois if not roi.contours]
    if lost:
        numbers = ", ".join(str(number) for number in lost)
        notices.append(Notice("rs.lost", f"{len(lost)} ROI(s) without a contour, written empty (number {numbers})"))
    rs.file_meta = file_meta(RTSTRUCT_CLASS, uid, ImplicitVRLittleEndian)
    try:
        # implicit VR: in explicit VR one contour could hold 65 534 bytes only
        rs.save_as(Path(path), enforce_file_format=True, implicit_vr=True, little_endian=True)
    except OSError as error:
        raise WriteError(
            "the structure set cannot be written",
            code="output.unwritable",
            hint="check the folder, its rights and the free space",
        ) from error
    return tuple(notices)


def software_version() -> str:
    """The version of this package."""
    try:
        return version("jrscli")
    except PackageNotFoundError:
        return "unknown"


def palette_colour(name: str) -> tuple[int, int, int]:
    """A colour of a fixed palette by the name, for ROIs that have none."""
    hue = hashlib.sha256(name.encode()).digest()[0] / 256
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.8, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def content_hash(structures: StructureSet, header: SeriesHeader, geometry: Geometry, *words: str) -> str:
    """A hash of everything that makes this structure set what it is."""
    digest = hashlib.sha256("\x1f".join((*words, header.series_instance_uid, geometry.sha256)).encode())
    for roi in structures.rois:
        digest.update(f"{roi.number}\x1f{roi.name}\x1f{roi.colour}\x1f{roi.kind}".encode())
        for contour in roi.contours:
            digest.update(contour.kind.encode() + np.round(contour.points, 3).tobytes())
    return digest.hexdigest()


def _check(header: SeriesHeader) -> None:
    if not header.frame_of_reference_uid:
        raise InputError(
            "the image series has no FrameOfReferenceUID, so contours cannot refer to its space",
            code="series.for_blank",
            hint="write the contours as NIfTI labels, or repair the series",
        )
    if not (header.series_instance_uid and header.study_instance_uid and all(header.sop_instance_uids)):
        raise InputError(
            "UIDs of the image series are empty, so contours cannot refer to it",
            code="series.uid_blank",
            hint="write the contours as NIfTI labels, or repair the series",
        )


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item


def _references(header: SeriesHeader) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = header.series_instance_uid
    series.ContourImageSequence = [_reference(header.sop_class_uid, uid) for uid in header.sop_instance_uids]
    study = _reference(_STUDY_CLASS, header.study_instance_uid)
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = header.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def _source(structures: StructureSet) -> Dataset | None:
    if not structures.sop_instance_uid:
        return None
    return _reference(structures.sop_class_uid or RTSTRUCT_CLASS, structures.sop_instance_uid)


def _roi(roi: Roi, made: Origin, header: SeriesHeader, source: Dataset | None) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName = roi.number, roi.name[:64]
    item.ReferencedFrameOfReferenceUID = header.frame_of_reference_uid
    item.ROIDescription = item.ROIGenerationDescription = made.how[:64]
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    family = Dataset()
    family.CodeValue, family.CodingSchemeDesignator, family.CodeMeaning = _FAMILY
    algorithm = Dataset()
    algorithm.AlgorithmFamilyCodeSequence = [family]
    algorithm.AlgorithmName = made.algorithm[:64]
    algorithm.AlgorithmVersion = (made.algorithm_version or software_version())[:64]
    item.ROIDerivationAlgorithmIdentificationSequence = [algorithm]
    if source is not None:
        item.DefinitionSourceSequence = [_reference(source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID)]
    return item


def _roi_contour(roi: Roi, header: SeriesHeader, geometry: Geometry) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = roi.number
    item.ROIDisplayColor = list(roi.colour or palette_colour(roi.name))
    if roi.contours:
        item.ContourSequence = [_contour(n + 1, contour, header, geometry) for n, contour in enumerate(roi.contours)]
        item.SourcePixelPlanesCharacteristicsSequence = [_planes(geometry)]
    return item


def _contour(number: int, contour: Contour, header: SeriesHeader, geometry: Geometry) -> Dataset:
    item = Dataset()
    slices = nearest_slices(contour, geometry)
    kind = contour.kind
    if kind == "OPEN_PLANAR" and len(set(slices.tolist())) > 1:
        kind = "OPEN_NONPLANAR"
    item.ContourNumber = number
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(contour.points)
    # the middle vertex's slice stands for a contour that runs through several
    on = header.sop_instance_uids[int(np.sort(slices)[len(slices) // 2])]
    item.ContourImageSequence = [_reference(header.sop_class_uid, on)]
    text = "\\".join(decimal_string(x) for x in contour.points.ravel().tolist())
    # bytes as they stand in the file (implicit VR names no VR): one object for each number takes seconds for a body outline
    item.add(DataElement((0x3006, 0x0050), "OB", (text + " " * (len(text) % 2)).encode("ascii")))
    return item


def _planes(geometry: Geometry) -> Dataset:
    item = Dataset()
    spacing, axes = geometry.spacing_mm, geometry.axes
    item.PixelSpacing = [exact_decimal(spacing[1]), exact_decimal(spacing[0])]
    item.SpacingBetweenSlices = exact_decimal(spacing[2])
    item.ImageOrientationPatient = [exact_decimal(x) for x in (*axes[:, 0], *axes[:, 1])]
    item.ImagePositionPatient = [exact_decimal(x) for x in geometry.origin_mm]
    item.NumberOfFrames = geometry.shape[2]
    item.Columns, item.Rows = geometry.shape[:2]
    return item


def _observation(number: int, roi: Roi) -> Dataset:
    item = Dataset()
    item.ObservationNumber, item.ReferencedROINumber = number, roi.number
    item.RTROIInterpretedType, item.ROIInterpreter = roi.kind, ""
    return item
