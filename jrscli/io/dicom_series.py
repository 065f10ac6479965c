"""Reading a DICOM image series: what is in a folder, which series is meant, and its volume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from jrscli.errors import InputError, JrsError, Notice
from jrscli.io.dicom_decode import PixelReader, check_decodable
from jrscli.io.dicom_geometry import IRREGULAR, axes_of, check_uniform, stack_geometry
from jrscli.io.dicom_irregular import onto_upright, upright_grid
from jrscli.io.dicom_pixels import background_of, read_stack, read_stored
from jrscli.io.dicom_repair import assign_uids as assign
from jrscli.io.dicom_select import (
    Selection,
    choose_series,
    choose_slices,
    parse_selection,
    series_groups,
    summary_of,
    varying_hint,
)
from jrscli.io.dicom_select import SeriesSummary as SeriesSummary
from jrscli.io.dicom_slice import Slice, check_frames, slices_of, text_of
from jrscli.io.dicom_units import unit_of
from jrscli.io.dicom_walk import quiet, walk
from jrscli.io.dicom_write import write_series as write_series
from jrscli.io.pseudonym import pseudonym
from jrscli.io.series_header import SeriesHeader as SeriesHeader
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

TEMPLATE_KEYWORDS = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "PatientIdentityRemoved", "DeidentificationMethod", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "PatientPosition",
)  # fmt: skip


@quiet()
def list_series(path: str | Path) -> tuple[SeriesSummary, ...]:
    """The image series at ``path`` (localisers apart), in the order that ``--select`` counts.

    Raises InputError as `read_series` for what cannot be read at all.
    """
    with _only_our_errors([]):
        return tuple(summary_of(n + 1, group) for n, group in enumerate(series_groups(walk(Path(path)))))


@quiet()
def needs_selection(path: str | Path) -> bool:
    """Whether a selection is needed to read one image at ``path``: several series, orientations, or images at one position."""
    try:
        with _only_our_errors([]):
            groups = series_groups(walk(Path(path)))
            if len(groups) > 1:
                return True
            slices = _slices(groups[0], Selection())
            check_uniform(slices)
    except InputError as error:
        return error.code in ("series.mixed", "series.size")
    heights = np.sort(np.array([s.position for s in slices]) @ axes_of(slices)[:, 2])
    return bool((np.diff(heights) <= _same_place(slices)).any())


@quiet()
def read_series(
    path: str | Path, *, select: str | None = None, resample_irregular: bool = False, assign_uids: bool = False
) -> tuple[Volume, SeriesHeader, tuple[Notice, ...]]:
    """The volume (column, row, slice) in scanner units, its header, and what was repaired.

    select: a SeriesInstanceUID, its number in `list_series`, ``orientation=K``, ``KEYWORD=VALUE`` to keep the images with that
    value, or several of these with commas between. resample_irregular: bring tilted, uneven or incomplete stacks onto an
    upright grid. assign_uids: give new UIDs where they are blank or repeated.

    Raises InputError `input.missing`, `series.none`, `series.many`, `series.select`, `series.dup_diff`, and those of
    `dicom_slice`, `dicom_geometry`, `dicom_decode`; its ``notices`` say what had been found before.
    """
    notices: list[Notice] = []
    with _only_our_errors(notices):
        return _read(Path(path), parse_selection(select), resample_irregular, assign_uids, notices)


@contextmanager
def _only_our_errors(notices: list[Notice]) -> Iterator[None]:
    """Whatever a damaged element makes of the parser becomes one of our errors, which tells ``notices``."""
    try:
        yield
    except JrsError as error:
        error.notices = tuple(notices)
        raise
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the system's own; without a number it is pydicom's word for data that end too early
        raise InputError(
            "an image of the series holds a damaged element and cannot be read",
            code="series.cut",
            hint="copy or export the series again",
        ) from error


def _read(
    path: Path, selection: Selection, resample_irregular: bool, assign_uids: bool, notices: list[Notice]
) -> tuple[Volume, SeriesHeader, tuple[Notice, ...]]:
    """As `read_series`; ``notices`` grows on the way, so that a refusal can tell them."""
    found = walk(path)
    if found.unreadable:
        notices.append(Notice("series.unreadable", f"{found.unreadable} DICOM file(s) cannot be read and were left out"))
    group = choose_series(series_groups(found), selection)
    if assign_uids:
        notices += assign(group)
    slices = _slices(group, selection)
    notices += check_uniform(slices)
    notices += check_decodable(slices)
    slices, repeats = _one_per_position(slices)
    notices += repeats
    unit, factor, more = unit_of(slices)
    notices += more
    geometry: Geometry
    try:
        geometry, few = stack_geometry(slices)
        notices += few
        array, owners = read_stack(slices), slices
    except InputError as error:
        if error.code not in IRREGULAR or not resample_irregular:
            raise
        grid = upright_grid(slices, error)
        notices += grid.notices
        geometry, owners = grid.geometry, [slices[n] for n in grid.nearest]
        array = onto_upright(read_stack(slices), grid, background_of(slices[0].header))
    if factor != 1:
        array = array.astype(np.float32) * np.float32(factor)
    return Volume(array, geometry), header_of(owners, unit), tuple(notices)


@quiet()
def header_of(slices: list[Slice], unit: str = "") -> SeriesHeader:
    """The SeriesHeader of sorted slices."""
    first = slices[0].header
    template = Dataset()
    for keyword in TEMPLATE_KEYWORDS:
        if keyword in first:
            template[keyword] = first[keyword]
    return SeriesHeader(
        modality=text_of(first, "Modality"),
        frame_of_reference_uid=text_of(first, "FrameOfReferenceUID"),
        series_instance_uid=text_of(first, "SeriesInstanceUID"),
        study_instance_uid=text_of(first, "StudyInstanceUID"),
        sop_class_uid=text_of(first, "SOPClassUID"),
        sop_instance_uids=tuple(s.sop_instance_uid for s in slices),
        template=template,
        pseudonym=pseudonym(text_of(first, "PatientID")),
        frame_numbers=() if any(s.frame is None for s in slices) else tuple((s.frame or 0) + 1 for s in slices),
        unit=unit,
    )


def _slices(group: list, selection: Selection) -> list[Slice]:
    """The images that are meant, in the order of the walk."""
    check_frames([header for _, header in group])
    found = [s for n, (source, header) in enumerate(group) for s in slices_of(source, header, n + 1)]
    return choose_slices(found, selection)


def _same_place(slices: list[Slice]) -> float:
    """Images nearer to each other than this, in mm, lie at one position."""
    return min(0.01, 0.1 * min(slices[0].spacing))


def _one_per_position(slices: list[Slice]) -> tuple[list[Slice], list[Notice]]:
    """Slices sorted along their normal; of equal ones at one position, that of the lowest UID.

    Raises InputError `series.dup_diff`, `series.uid_dup`.
    """
    normal = axes_of(slices)[:, 2]
    ordered = sorted(slices, key=lambda s: (round(float(s.position @ normal), 3), s.image_id))
    heights = np.array([s.position @ normal for s in ordered])
    kept, dropped = [ordered[0]], 0
    reader = PixelReader()
    for n in range(1, len(ordered)):
        if heights[n] - float(kept[-1].position @ normal) > _same_place(slices):
            kept.append(ordered[n])
            continue
        dropped += 1
        one, other = kept[-1], ordered[n]
        if not np.array_equal(read_stored(one, len(kept)), read_stored(other, n + 1, reader)):
            if one.image_id == other.image_id and one.sop_instance_uid:
                raise InputError(
                    "the same SOP Instance UID on different images at one position",
                    code="series.uid_dup",
                    hint="export the series again: one of them is not what it says",
                )
            times = int((np.diff(heights) <= _same_place(slices)).sum())
            raise InputError(
                f"positions repeat {times}×, with different images: several times, echoes or b-values in one series",
                code="series.dup_diff",
                hint=varying_hint(one, other),
            )
    return kept, [Notice("series.dup_same", f"{dropped} duplicate slice(s) dropped")] if dropped else []
