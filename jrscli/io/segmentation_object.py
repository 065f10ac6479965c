"""DICOM Segmentation objects, read and written through highdicom.

The frames of a SEG come in the order of their writer, without the empty ones: what is read is placed by its geometry alone.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any, Literal

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from jrscli.errors import InputError, JrsError, Notice, UsageError, WriteError
from jrscli.io.content import existing
from jrscli.io.dicom_classes import SEGMENTATION_CLASSES, sop_class_of
from jrscli.io.dicom_references import check_referable, image_references, new_object
from jrscli.io.dicom_values import exact_decimal, file_meta, new_uid
from jrscli.io.dicom_walk import quiet
from jrscli.io.dicom_write import MANUFACTURER, SOP_CLASSES
from jrscli.io.rtstruct_write import Origin
from jrscli.io.series_header import SeriesHeader
from jrscli.io.software import software_version
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.masks import Masks

SegKind = Literal["binary", "labelmap"]
MAX_BYTES = 8_000_000_000
_FAMILY = Code("123110", "DCM", "Artificial Intelligence")
_TISSUE = Code("85756007", "SCT", "Tissue")


def is_segmentation(path: Path | str) -> bool:
    """Whether a file is a DICOM Segmentation, by its content."""
    return sop_class_of(Path(path)) in SEGMENTATION_CLASSES


@quiet()
def write_segmentation(
    masks: Masks,
    header: SeriesHeader,
    geometry: Geometry,
    path: str | Path,
    *,
    kind: SegKind = "binary",
    label: str = "JRS",
    origin: Origin | None = None,
    seed: str | None = None,
) -> tuple[Notice, ...]:
    """Notices after writing ``masks`` as a SEG of the series ``header``.

    geometry: the grid of the series; the masks lie on it, whatever the order and direction of their axes.
    kind: "binary" (masks may overlap; every reader knows it) or "labelmap" (smaller files; masks must not overlap).
    seed: makes UIDs and dates depend on it and on the content only.

    Raises InputError `series.for_blank`, `series.uid_blank`, `labels.empty`, `input.too_big`; GeometryError
    `geometry.other_grid`; UsageError `seg.overlap`; WriteError `output.unwritable`.
    """
    check_referable(header, "a segmentation")
    masks = masks.on(geometry)
    numbers = [number for number, mask in masks.masks.items() if mask.any()]
    if not numbers:
        raise InputError("there is nothing to segment: every voxel is background", code="labels.empty", hint="check the input")
    pixels = _pixels(masks, numbers, kind)
    digest = hashlib.sha256("\x1f".join((kind, label, header.series_instance_uid, *map(masks.name, numbers))).encode())
    for number in numbers:
        digest.update(np.packbits(masks.masks[number].transpose(2, 1, 0)).tobytes())
    # what every object of ours says of itself and the patient, laid over what highdicom says
    own, notices = new_object(
        SEGMENTATION_CLASSES[kind == "labelmap"], "SEG", header, "jrs segmentation", digest.hexdigest(), seed
    )
    seg = hd.seg.Segmentation(
        source_images=_sources(own, header, geometry),
        pixel_array=pixels,
        segmentation_type=kind.upper(),
        segment_descriptions=[_segment(n + 1, masks.name(number), origin) for n, number in enumerate(numbers)],
        series_instance_uid=own.SeriesInstanceUID,
        series_number=1,
        sop_instance_uid=own.SOPInstanceUID,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="jrscli",
        software_versions=software_version(),
        device_serial_number="none",
        content_label=label[:16],
        content_description=f"by jrs {software_version()}; for review",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    seg.update(own)
    _name_frames(seg, header)
    _settle(seg, new_uid(seed, "dimensions", digest.hexdigest()))
    seg.file_meta = file_meta(seg.SOPClassUID, seg.SOPInstanceUID, ExplicitVRLittleEndian)
    if numbers != list(range(1, len(numbers) + 1)):
        words = ", ".join(f"{number} as {n + 1}" for n, number in enumerate(numbers))
        notices.append(Notice("seg.renumbered", f"segments are counted from 1: {words}"))
    if len(numbers) < len(masks.masks):
        lost = ", ".join(str(number) for number in masks.masks if number not in numbers)
        notices.append(Notice("seg.lost", f"empty regions are not written (number {lost})"))
    try:
        seg.save_as(Path(path), enforce_file_format=True)
    except OSError as error:
        raise WriteError(
            "the segmentation cannot be written",
            code="output.unwritable",
            hint="check the folder, its rights and the free space",
        ) from error
    return tuple(notices)


@quiet()
def read_segmentation(path: str | Path) -> tuple[Masks, tuple[Notice, ...]]:
    """The segments of a SEG as masks on its own grid (from its first to its last plane), and what was odd.

    Fractional segments are cut at one half.

    Raises InputError `input.missing`, `seg.unreadable`, `seg.plane`, `input.too_big`.
    """
    path = existing(path)
    if not is_segmentation(path):
        raise InputError(f"{path.name} is not a DICOM Segmentation", code="seg.unreadable", hint="give a SEG object")
    try:
        seg = hd.seg.segread(path)
        grid = seg.get_volume_geometry()
        if grid is None:
            raise InputError(
                "the planes of the segmentation are no regular stack",
                code="seg.plane",
                hint="export it again on the slices of one image series",
            )
        _check_size(grid.spatial_shape, len(seg.segment_numbers))
        masks, names = {}, {}
        for number in seg.segment_numbers:
            volume = seg.get_volume(segment_numbers=[number], combine_segments=False)
            values = volume.array[..., 0] if volume.array.ndim == 4 else volume.array
            # highdicom: (plane, row, column); ours: (column, row, plane)
            masks[int(number)] = np.asarray(values.transpose(2, 1, 0) > (0.5 if values.dtype.kind == "f" else 0))
            names[int(number)] = str(seg.get_segment_description(number).segment_label)
        fractional = seg.segmentation_type == hd.seg.SegmentationTypeValues.FRACTIONAL
    except JrsError:
        raise
    except Exception as error:
        # a broken file makes the parser raise almost anything
        raise InputError(
            f"the segmentation cannot be read: {type(error).__name__}",
            code="seg.unreadable",
            hint="export it again from the system it came from",
        ) from error
    geometry, masks = _upright(grid, masks)
    notices = (Notice("seg.fractional", "the segments are fractions; they were cut at one half"),) if fractional else ()
    return Masks(masks, geometry, names), notices


def _upright(grid: Any, masks: dict[int, np.ndarray]) -> tuple[Geometry, dict[int, np.ndarray]]:
    """The grid as (column, row, plane) with planes counted along the normal, as image series are; masks turned with it."""
    affine = np.array(grid.affine)[:, [2, 1, 0, 3]]
    i, j, k = grid.spatial_shape[::-1]
    if np.linalg.det(affine[:3, :3]) < 0:
        affine[:3, 3] += affine[:3, 2] * (k - 1)
        affine[:3, 2] *= -1
        masks = {number: mask[:, :, ::-1] for number, mask in masks.items()}
    return Geometry((int(i), int(j), int(k)), affine), masks


def _check_size(shape: tuple[int, ...], segments: int) -> None:
    size = int(np.prod(shape, dtype=np.int64)) * segments
    if size > MAX_BYTES:
        raise InputError(
            f"a segmentation of {size / 1e9:.1f} GB in memory", code="input.too_big", hint="take fewer segments: --roi NAME"
        )


def _pixels(masks: Masks, numbers: list[int], kind: SegKind) -> np.ndarray:
    """(plane, row, column) segment numbers for a label map, (plane, row, column, segment) zeros and ones for binary masks."""
    shape = masks.geometry.shape[::-1]
    if kind == "labelmap":
        if masks.overlap():
            raise UsageError(
                "regions overlap, which a label map cannot hold", code="seg.overlap", hint="write it as --seg-kind binary"
            )
        pixels = np.zeros(shape, np.uint8 if len(numbers) < 256 else np.uint16)
        for n, number in enumerate(numbers):
            pixels[masks.masks[number].transpose(2, 1, 0)] = n + 1
        return pixels
    _check_size(shape, len(numbers))
    # each mask in one piece: strewn between the others it takes ten times as long to fill and to read
    pixels = np.empty((len(numbers), *shape), np.uint8)
    for n, number in enumerate(numbers):
        pixels[n] = masks.masks[number].transpose(2, 1, 0)
    return np.moveaxis(pixels, 0, -1)


def _segment(number: int, name: str, origin: Origin | None) -> Any:
    origin = origin or Origin()
    algorithm = hd.AlgorithmIdentificationSequence(
        name=origin.algorithm[:64], family=_FAMILY, version=(origin.algorithm_version or software_version())[:64]
    )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64] or str(number),
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=_TISSUE,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )


def _sources(own: Dataset, header: SeriesHeader, geometry: Geometry) -> list[Dataset]:
    """The slices of the series as far as highdicom asks for them, made from what is known of the series."""
    axes, spacing = geometry.axes, geometry.spacing_mm
    shared = copy.deepcopy(own)
    # highdicom takes several sources only where each is an image of its own
    shared.SOPClassUID = SOP_CLASSES["CT"] if header.frame_numbers else header.sop_class_uid
    shared.Modality = header.modality or "OT"
    shared.SeriesInstanceUID = header.series_instance_uid
    shared.Columns, shared.Rows = geometry.shape[:2]
    shared.ImageOrientationPatient = [exact_decimal(x) for x in (*axes[:, 0], *axes[:, 1])]
    shared.PixelSpacing = [exact_decimal(spacing[1]), exact_decimal(spacing[0])]
    shared.SliceThickness = shared.SpacingBetweenSlices = exact_decimal(spacing[2])
    sources = []
    for k, uid in enumerate(_slice_uids(header)):
        image = copy.deepcopy(shared)
        image.SOPInstanceUID, image.InstanceNumber = uid, k + 1
        image.ImagePositionPatient = [exact_decimal(x) for x in geometry.index_to_world(np.array([[0.0, 0.0, k]]))[0]]
        sources.append(image)
    return sources


def _settle(seg: Dataset, dimensions: str) -> None:
    """Put ours in the place of what highdicom makes up anew in every run: the name of the dimensions, and the time."""
    for word in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in seg.get(word) or ():
            item.DimensionOrganizationUID = dimensions
    for item in seg.get("ContributingEquipmentSequence") or ():
        item.ContributionDateTime = seg.ContentDate + seg.ContentTime


def _slice_uids(header: SeriesHeader) -> list[str]:
    """A UID for each slice; made up where slices are frames of one object, which `_name_frames` names in the end."""
    if not header.frame_numbers:
        return list(header.sop_instance_uids)
    return [new_uid("frame", uid, str(n)) for uid, n in zip(header.sop_instance_uids, header.frame_numbers, strict=True)]


def _name_frames(seg: Dataset, header: SeriesHeader) -> None:
    """Where the series is one object of many frames: name that object, and which of its frames."""
    if not header.frame_numbers:
        return
    real = dict(zip(_slice_uids(header), zip(header.sop_instance_uids, header.frame_numbers, strict=True), strict=True))
    for frame in seg.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence") or ():
            for source in derivation.SourceImageSequence:
                if source.ReferencedSOPInstanceUID in real:  # items may be one for several segments
                    source.ReferencedSOPClassUID = header.sop_class_uid
                    source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber = real[source.ReferencedSOPInstanceUID]
    for item in seg.ReferencedSeriesSequence:
        item.ReferencedInstanceSequence = image_references(header)
    if "SourceImageSequence" in seg:
        seg.SourceImageSequence = image_references(header)
