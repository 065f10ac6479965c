"""Writing RTSTRUCT: contours on the slices of a given series, for review, never approved."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from jrscli.errors import Notice
from jrscli.io.dicom_references import check_referable, new_object, reference, save
from jrscli.io.dicom_values import decimal_string, exact_decimal
from jrscli.io.dicom_walk import quiet
from jrscli.io.series_header import SeriesHeader
from jrscli.io.software import software_version
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
    check_referable(header, "a structure set")
    content = content_hash(structures, header, geometry, label, description)
    rs, notices = new_object(RTSTRUCT_CLASS, "RTSTRUCT", header, series_description, content, seed)
    for keyword in ("ContentDate", "ContentTime"):  # not in this kind of object
        rs.pop(keyword, None)
    rs.OperatorsName = ""
    rs.StructureSetDate, rs.StructureSetTime = rs.SeriesDate, rs.SeriesTime
    rs.StructureSetLabel = rs.StructureSetName = label[:16]
    rs.StructureSetDescription = description or f"propagated by jrs {software_version()}; for review"
    frames = dict.fromkeys(frame_of(roi, header) for roi in structures.rois)
    rs.ReferencedFrameOfReferenceSequence = [_references(header)]
    rs.ReferencedFrameOfReferenceSequence.extend(_frame(uid) for uid in frames if uid != header.frame_of_reference_uid)
    source = _source(structures)
    if source is not None:
        rs.PredecessorStructureSetSequence = [source]
    # no Common Instance Reference module: it is optional here, and the validator calls it an error in a structure set
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
    # implicit VR: in explicit VR one contour could hold 65 534 bytes only
    save(rs, path, "the structure set")
    return tuple(notices)


def frame_of(roi: Roi, header: SeriesHeader) -> str:
    """The frame of reference that an ROI is written in: its own, where it has one, else that of the series."""
    return roi.frame_of_reference_uid or header.frame_of_reference_uid


def palette_colour(name: str) -> tuple[int, int, int]:
    """A colour of a fixed palette by the name, for ROIs that have none."""
    hue = hashlib.sha256(name.encode()).digest()[0] / 256
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.8, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def content_hash(structures: StructureSet, header: SeriesHeader, geometry: Geometry, *words: str) -> str:
    """A hash of everything that makes this structure set what it is."""
    digest = hashlib.sha256("\x1f".join((*words, header.series_instance_uid, geometry.sha256)).encode())
    for roi in structures.rois:
        facts = (roi.number, roi.name, roi.colour, roi.kind, roi.frame_of_reference_uid)
        digest.update("\x1f".join(map(str, facts)).encode())
        for contour in roi.contours:
            digest.update(contour.kind.encode() + np.round(contour.points, 3).tobytes())
    return digest.hexdigest()


def _references(header: SeriesHeader) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = header.series_instance_uid
    series.ContourImageSequence = [_slice(header, k) for k in range(len(header.sop_instance_uids))]
    study = reference(_STUDY_CLASS, header.study_instance_uid)
    study.RTReferencedSeriesSequence = [series]
    frame = _frame(header.frame_of_reference_uid)
    frame.RTReferencedStudySequence = [study]
    return frame


def _frame(uid: str) -> Dataset:
    frame = Dataset()
    frame.FrameOfReferenceUID = uid
    return frame


def _slice(header: SeriesHeader, k: int) -> Dataset:
    """A slice of the series: an image, or a frame of one."""
    item = reference(header.sop_class_uid, header.sop_instance_uids[k])
    if header.frame_numbers:
        item.ReferencedFrameNumber = header.frame_numbers[k]
    return item


def _source(structures: StructureSet) -> Dataset | None:
    if not structures.sop_instance_uid:
        return None
    return reference(structures.sop_class_uid or RTSTRUCT_CLASS, structures.sop_instance_uid)


def _roi(roi: Roi, made: Origin, header: SeriesHeader, source: Dataset | None) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName = roi.number, roi.name[:64]
    item.ReferencedFrameOfReferenceUID = frame_of(roi, header)
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
        item.DefinitionSourceSequence = [reference(source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID)]
    return item


def _roi_contour(roi: Roi, header: SeriesHeader, geometry: Geometry) -> Dataset:
    item = Dataset()
    item.ReferencedROINumber = roi.number
    item.ROIDisplayColor = list(roi.colour or palette_colour(roi.name))
    if roi.contours:
        contours = [_contour(n + 1, contour, geometry) for n, contour in enumerate(roi.contours)]
        item.ContourSequence = [contour for contour, _ in contours]
        if frame_of(roi, header) == header.frame_of_reference_uid:
            for contour, k in contours:
                contour.ContourImageSequence = [_slice(header, k)]
            item.SourcePixelPlanesCharacteristicsSequence = [_planes(geometry)]
    return item


def _contour(number: int, contour: Contour, geometry: Geometry) -> tuple[Dataset, int]:
    """An item of the Contour Sequence, and the slice that it lies on."""
    item = Dataset()
    slices = nearest_slices(contour, geometry)
    kind = contour.kind
    if kind == "OPEN_PLANAR" and len(set(slices.tolist())) > 1:
        kind = "OPEN_NONPLANAR"
    item.ContourNumber = number
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(contour.points)
    text = "\\".join(decimal_string(x) for x in contour.points.ravel().tolist())
    # bytes as they stand in the file (implicit VR names no VR): one object for each number takes seconds for a body outline
    item.add(DataElement((0x3006, 0x0050), "OB", (text + " " * (len(text) % 2)).encode("ascii")))
    # the middle vertex's slice stands for a contour that runs through several
    return item, int(np.sort(slices)[len(slices) // 2])


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
