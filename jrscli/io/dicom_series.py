"""Reading a DICOM image series: what is in a folder, which series is meant, and its volume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from jrscli.errors import InputError, Notice
from jrscli.io.dicom_geometry import Slice, axes_of, check_uniform, slice_of, stack_geometry
from jrscli.io.dicom_pixels import check_decodable, read_stack, read_stored
from jrscli.io.dicom_walk import Found, Source, quiet, walk
from jrscli.io.dicom_write import write_series as write_series
from jrscli.io.pseudonym import pseudonym
from jrscli.io.series_header import SeriesHeader as SeriesHeader
from jrscli.spatial.volume import Volume

TEMPLATE_KEYWORDS = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "PatientIdentityRemoved", "DeidentificationMethod", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "PatientPosition",
)  # fmt: skip
_NOT_IMAGES = ("1.2.840.10008.5.1.4.1.1.481.", "1.2.840.10008.5.1.4.1.1.66")
"""RT objects (dose has rows and columns too), and registrations and segmentations."""
_VARYING = (
    "EchoTime", "EchoNumbers", "InversionTime", "DiffusionBValue", "TemporalPositionIdentifier", "TriggerTime",
    "AcquisitionNumber", "ImageType", "ConvolutionKernel", "InstanceNumber",
)  # fmt: skip


@dataclass(frozen=True)
class SeriesSummary:
    """One line of the table of series in a folder.

    number: what ``--select`` takes instead of the UID. spacing_mm: (column, row) step, None if unknown.
    """

    number: int
    modality: str
    images: int
    spacing_mm: tuple[float, float] | None
    frame_of_reference_uid: str
    series_instance_uid: str
    sop_class_uid: str

    @property
    def words(self) -> str:
        """The line in words, with the tail of the frame of reference only."""
        spacing = "×".join(f"{s:.2f}" for s in self.spacing_mm) + " mm" if self.spacing_mm else "no spacing"
        return f"{self.number}: {self.modality}, {self.images} images, {spacing}, frame …{self.frame_of_reference_uid[-4:]}"


Group = list[tuple[Source, Dataset]]


@quiet()
def list_series(path: str | Path) -> tuple[SeriesSummary, ...]:
    """The image series at ``path`` (localisers apart), in the order that ``--select`` counts.

    Raises InputError as `read_series` for what cannot be read at all.
    """
    return tuple(_summary(n + 1, group) for n, group in enumerate(_groups(walk(Path(path)))))


@quiet()
def read_series(path: str | Path, *, select: str | None = None) -> tuple[Volume, SeriesHeader, tuple[Notice, ...]]:
    """The volume (column, row, slice) in scanner units, its header, and what was repaired.

    select: a SeriesInstanceUID, its number in `list_series`, or ``KEYWORD=VALUE`` to keep the images with that value.
    Raises InputError `input.missing`, `series.none`, `series.many`, `series.select`, `series.enhanced`, those of
    `dicom_geometry`, `series.dup_diff`, and those of `dicom_pixels`.
    """
    found = walk(Path(path))
    group = _choose(_groups(found), select)
    notices: list[Notice] = []
    if found.unreadable:
        notices.append(Notice("series.unreadable", f"{found.unreadable} DICOM file(s) cannot be read and were left out"))
    if any(
        "PerFrameFunctionalGroupsSequence" in header or int(header.get("NumberOfFrames", 1) or 1) > 1 for _, header in group
    ):
        raise InputError(
            "a multi-frame (enhanced) object, which this version does not read",
            code="series.enhanced",
            hint="convert it to single-frame images first (dcm2niix, emf2sf)",
        )
    slices = [slice_of(source, header, n + 1) for n, (source, header) in enumerate(group)]
    notices += check_uniform(slices)
    check_decodable(slices)
    slices, repeats = _one_per_position(slices)
    notices += repeats
    geometry, more = stack_geometry(slices)
    notices += more
    return Volume(read_stack(slices), geometry), header_of(slices), tuple(notices)


@quiet()
def header_of(slices: list[Slice]) -> SeriesHeader:
    """The SeriesHeader of sorted slices."""
    first = slices[0].header
    template = Dataset()
    for keyword in TEMPLATE_KEYWORDS:
        if keyword in first:
            template[keyword] = first[keyword]
    return SeriesHeader(
        modality=str(first.get("Modality", "") or ""),
        frame_of_reference_uid=str(first.get("FrameOfReferenceUID", "") or ""),
        series_instance_uid=str(first.get("SeriesInstanceUID", "") or ""),
        study_instance_uid=str(first.get("StudyInstanceUID", "") or ""),
        sop_class_uid=str(first.get("SOPClassUID", "") or ""),
        sop_instance_uids=tuple(s.sop_instance_uid for s in slices),
        template=template,
        pseudonym=pseudonym(str(first.get("PatientID", "") or "")),
    )


def _groups(found: Found) -> list[Group]:
    """Images by series and SOP class, without localisers."""
    groups: dict[tuple[str, str], Group] = {}
    for source, header in found.headers:
        sop_class = str(header.SOPClassUID) if "SOPClassUID" in header else ""
        if "Rows" not in header or sop_class.startswith(_NOT_IMAGES):
            continue
        if "LOCALIZER" in (header.get("ImageType") or ()):
            continue
        groups.setdefault((str(header.get("SeriesInstanceUID", "") or ""), sop_class), []).append((source, header))
    if not groups:
        raise InputError(
            "DICOM files, but no image series among them",
            code="series.none",
            hint="give the folder that holds the image slices",
        )
    return sorted(groups.values(), key=lambda group: (str(group[0][1].get("Modality", "")), _series_key(group[0][1])))


def _series_key(header: Dataset) -> tuple[int, str]:
    try:
        number = int(header.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        number = 0
    return number, str(header.get("SeriesInstanceUID", ""))


def _summary(number: int, group: Group) -> SeriesSummary:
    header = group[0][1]
    spacing = header.get("PixelSpacing")
    return SeriesSummary(
        number=number,
        modality=str(header.get("Modality", "") or "?"),
        images=len(group),
        spacing_mm=(float(spacing[1]), float(spacing[0])) if spacing is not None and len(spacing) == 2 else None,
        frame_of_reference_uid=str(header.get("FrameOfReferenceUID", "") or ""),
        series_instance_uid=str(header.get("SeriesInstanceUID", "") or ""),
        sop_class_uid=str(header.get("SOPClassUID", "") or ""),
    )


def _choose(groups: list[Group], select: str | None) -> Group:
    chosen = groups
    if select is not None and "=" in select:
        keyword, value = select.split("=", 1)
        chosen = [[(s, h) for s, h in group if _same(h.get(keyword), value)] for group in groups]
        chosen = [group for group in chosen if group]
    elif select is not None:
        chosen = [g for n, g in enumerate(groups) if select in (str(n + 1), str(g[0][1].get("SeriesInstanceUID", "")))]
    table = "; ".join(_summary(n + 1, group).words for n, group in enumerate(groups))
    if not chosen:
        raise InputError("no series matches --select", code="series.select", hint=f"pick one of: {table}")
    if len(chosen) > 1:
        raise InputError(
            f"{len(chosen)} image series where one is expected",
            code="series.many",
            hint=f"pick one with --select N or UID: {table}",
        )
    return chosen[0]


def _same(value: object, text: str) -> bool:
    try:
        return float(value) == float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(value) == text


def _one_per_position(slices: list[Slice]) -> tuple[list[Slice], list[Notice]]:
    """Slices sorted along their normal; of equal ones at one position, that of the lowest UID."""
    normal = axes_of(slices)[:, 2]
    ordered = sorted(slices, key=lambda s: (round(float(s.position @ normal), 3), s.sop_instance_uid))
    heights = np.array([s.position @ normal for s in ordered])
    kept, dropped = [ordered[0]], 0
    for n in range(1, len(ordered)):
        if heights[n] - float(kept[-1].position @ normal) > 0.01:
            kept.append(ordered[n])
            continue
        dropped += 1
        if not np.array_equal(read_stored(kept[-1], len(kept))[0], read_stored(ordered[n], n + 1)[0]):
            raise InputError(
                f"several different images at one position ({len(ordered) - len(set(np.round(heights, 2)))} repeats): "
                "several times, echoes or b-values in one series",
                code="series.dup_diff",
                hint=_varying_hint(kept[-1].header, ordered[n].header),
            )
    return kept, [Notice("series.dup_same", f"{dropped} duplicate slice(s) dropped")] if dropped else []


def _varying_hint(first: Dataset, second: Dataset) -> str:
    for keyword in _VARYING:
        if first.get(keyword) != second.get(keyword) and keyword != "InstanceNumber":
            return f"pick one kind with --select {keyword}={first.get(keyword)} (or {second.get(keyword)})"
    return "split the series, one folder for each time or kind"
