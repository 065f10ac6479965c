"""Which images are meant: the series of a folder, their table, and what ``--select`` picks."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from jrscli.errors import InputError
from jrscli.io.dicom_geometry import orientation_groups
from jrscli.io.dicom_slice import Slice, element_of, first_groups, frame_count, text_of
from jrscli.io.dicom_walk import Found, Source

_NOT_IMAGES = ("1.2.840.10008.5.1.4.1.1.481.", "1.2.840.10008.5.1.4.1.1.66")
"""RT objects (dose has rows and columns too), and registrations and segmentations."""
_VARYING = (
    "EchoTime", "EffectiveEchoTime", "EchoNumbers", "InversionTime", "DiffusionBValue", "TemporalPositionIdentifier",
    "TemporalPositionIndex", "TriggerTime", "NominalCardiacTriggerDelayTime", "StackID", "AcquisitionNumber", "ImageType",
    "FrameType", "ConvolutionKernel", "ContentTime", "AcquisitionTime",
)  # fmt: skip

Group = list[tuple[Source, Dataset]]


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
        frame = f"frame …{self.frame_of_reference_uid[-4:]}" if self.frame_of_reference_uid else "no frame"
        return f"{self.number}: {self.modality}, {self.images} images, {spacing}, {frame}"


@dataclass(frozen=True)
class Selection:
    """What the user picks, taken apart.

    series: a UID, a number in the table, or None. orientation: from 1, the largest group first. elements: (keyword, value).
    """

    series: str | None = None
    orientation: int | None = None
    elements: tuple[tuple[str, str], ...] = ()


def parse_selection(text: str | None) -> Selection:
    """``UID``, ``N``, ``orientation=K``, ``KEYWORD=VALUE``, or several of these with commas: ``2,EchoTime=4.6``.

    Raises InputError `series.select`.
    """
    series: str | None = None
    orientation: int | None = None
    elements: list[tuple[str, str]] = []
    for part in (text or "").split(","):
        keyword, equals, value = (word.strip() for word in part.partition("="))
        if equals and keyword.lower() == "orientation":
            if not value.isdecimal() or int(value) < 1:
                raise _no_match("orientation= takes a number from 1")
            orientation = int(value)
        elif equals:
            elements.append((keyword, value))
        elif keyword:
            series = keyword
    return Selection(series, orientation, tuple(elements))


def series_groups(found: Found) -> list[Group]:
    """Images by series and SOP class, without localisers, in the order that ``--select N`` counts.

    Raises InputError `series.none`.
    """
    groups: dict[tuple[str, str], Group] = {}
    for source, header in found.headers:
        sop_class = text_of(header, "SOPClassUID")
        if "Rows" not in header or sop_class.startswith(_NOT_IMAGES):
            continue
        kind = header.get("ImageType") or ()
        if "LOCALIZER" in ([kind] if isinstance(kind, str | bytes) else kind):
            continue
        groups.setdefault((text_of(header, "SeriesInstanceUID"), sop_class), []).append((source, header))
    if not groups:
        raise InputError(
            "DICOM files, but no image series among them",
            code="series.none",
            hint="give the folder that holds the image slices",
        )
    return sorted(groups.values(), key=lambda group: (text_of(group[0][1], "Modality"), _series_key(group[0][1])))


def summary_of(number: int, group: Group) -> SeriesSummary:
    """A line of the table."""
    header = group[0][1]
    spacing = element_of(header, first_groups(header), "PixelSpacing")
    return SeriesSummary(
        number=number,
        modality=text_of(header, "Modality") or "?",
        images=sum(frame_count(header) for _, header in group),
        spacing_mm=_pair(spacing),
        frame_of_reference_uid=text_of(header, "FrameOfReferenceUID"),
        series_instance_uid=text_of(header, "SeriesInstanceUID"),
        sop_class_uid=text_of(header, "SOPClassUID"),
    )


def choose_series(groups: list[Group], selection: Selection) -> Group:
    """The one series that is meant.

    Raises InputError `series.many` with the table, `series.select`.
    """
    named = selection.series
    chosen = [
        group
        for n, group in enumerate(groups)
        if named is None or named in (str(n + 1), text_of(group[0][1], "SeriesInstanceUID"))
    ]
    if selection.elements and len(chosen) > 1:
        chosen = [group for group in chosen if any(_some_match(header, selection) for _, header in group)]
    table = "; ".join(summary_of(n + 1, group).words for n, group in enumerate(groups))
    if not chosen:
        raise _no_match(f"pick one of: {table}")
    if len(chosen) > 1:
        raise InputError(
            f"{len(chosen)} image series where one is expected",
            code="series.many",
            hint=f"pick one with --select N or UID: {table}",
        )
    return chosen[0]


def choose_slices(slices: list[Slice], selection: Selection) -> list[Slice]:
    """The images of the series that are meant.

    Raises InputError `series.select`.
    """
    for keyword, value in selection.elements:
        kept = [s for s in slices if same_value(s.get(keyword), value)]
        if not kept:
            raise _no_match(f"no image of the series has {keyword}={value}")
        slices = kept
    if selection.orientation is not None:
        groups = orientation_groups(slices)
        if selection.orientation > len(groups):
            raise _no_match(f"the series has {len(groups)} orientation(s)")
        slices = groups[selection.orientation - 1]
    return slices


def same_value(value: object, text: str) -> bool:
    """Whether an element has the value that was typed: as a number, or as text with \\ between several values."""
    if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
        value = "\\".join(str(part) for part in value)  # type: ignore[attr-defined]
    try:
        return float(value) == float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value is not None and str(value) == text


def varying_hint(first: Slice, second: Slice) -> str:
    """What tells two images at one place apart, as an option that picks one kind."""
    for keyword in _VARYING:
        one, other = first.get(keyword), second.get(keyword)
        if one != other:
            texts = [
                "\\".join(map(str, v)) if hasattr(v, "__iter__") and not isinstance(v, str) else str(v) for v in (one, other)
            ]
            return f"pick one kind with --select {keyword}={texts[0]} (or {texts[1]})"
    labels = [str(item.get("DimensionDescriptionLabel", "") or "") for item in first.header.get("DimensionIndexSequence") or ()]
    told = f" (its dimensions: {', '.join(label for label in labels if label)})" if any(labels) else ""
    return f"split the series, one folder for each time or kind{told}"


def _some_match(header: Dataset, selection: Selection) -> bool:
    """Whether an image of the object has all the values that were asked for."""
    shared = tuple(header.get("SharedFunctionalGroupsSequence") or ())[:1]
    return any(
        all(same_value(element_of(header, groups, keyword), value) for keyword, value in selection.elements)
        for groups in ((frame, *shared) for frame in header.get("PerFrameFunctionalGroupsSequence") or [Dataset()])
    )


def _no_match(hint: str) -> InputError:
    return InputError("no image matches --select", code="series.select", hint=hint)


def _pair(spacing: object) -> tuple[float, float] | None:
    try:
        rows, columns = (float(s) for s in spacing)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None
    return columns, rows


def _series_key(header: Dataset) -> tuple[int, str]:
    try:
        number = int(header.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        number = 0
    return number, text_of(header, "SeriesInstanceUID")
