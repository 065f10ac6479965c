"""Reading RTSTRUCT: contours belong to an image by frame of reference and position, never by the order of its slices."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from jrscli.errors import InputError, JrsError, Notice
from jrscli.io.dicom_walk import looks_like_dicom, quiet, read_header
from jrscli.io.rtstruct_match import Match, contour_points, match_series, reference_notices
from jrscli.io.rtstruct_write import RTSTRUCT_CLASS
from jrscli.io.rtstruct_write import write_rtstruct as write_rtstruct
from jrscli.io.series_header import SeriesHeader
from jrscli.spatial.contour_notices import contour_notices
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import Contour, ContourKind, Roi, StructureSet

MAX_CONTOURS = 200_000
MAX_POINTS = 20_000_000


def is_rtstruct(path: str | Path) -> bool:
    """Whether the file is an RT Structure Set, by its content."""
    try:
        with Path(path).open("rb") as stream:
            return looks_like_dicom(stream) and str(read_header(stream).get("SOPClassUID", "")) == RTSTRUCT_CLASS
    except Exception:
        # a broken or foreign file, whatever the parser makes of it, is no structure set
        return False


@quiet()
def read_rtstruct(
    path: str | Path,
    series: SeriesHeader | None = None,
    geometry: Geometry | None = None,
    *,
    assume_aligned: bool = False,
) -> StructureSet:
    """The ROIs of the file, points in LPS mm; its ``notices`` tell what was dropped, snapped or matched against the rules.

    series, geometry: the image that the contours are to be used on; ROIs of another space than the image's are left out.
    assume_aligned: use contours of another frame of reference as they are.

    Raises InputError `input.missing`, `rs.unreadable`, `rs.other_space` (nothing in it belongs to the image), `input.too_big`.
    """
    dataset, notices = _open(Path(path))
    match = match_series(dataset, series, assume_aligned=assume_aligned)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            rois, counts = _rois(dataset, match)
    except JrsError:
        raise
    except Exception as error:
        raise InputError(
            "the structure set is damaged and cannot be read",
            code="rs.unreadable",
            hint="export it again from the planning system",
        ) from error
    if any("ncoding" in str(w.message) or "character set" in str(w.message).lower() for w in said):
        notices.append(Notice("rs.charset", "names do not fit the character set of the file; odd characters were replaced"))
    notices += match.notices
    notices += [Notice(code, _COUNTED[code].format(n)) for code, n in counts.items() if n]
    if series is not None:
        notices += reference_notices(dataset, series, geometry)
    if geometry is not None:
        notices += _summed(rois, geometry)
    return StructureSet(
        rois=rois,
        frame_of_reference_uid=match.frame_of_reference_uid or None,
        sop_class_uid=RTSTRUCT_CLASS,
        sop_instance_uid=str(dataset.get("SOPInstanceUID", "") or "") or None,
        label=str(dataset.get("StructureSetLabel", "") or ""),
        notices=tuple(notices),
    )


_COUNTED = {
    "rs.degenerate": "{} contour(s) without points or area dropped",
    "rs.number": "{} ROI(s) share the number of another and got a new one",
    "rs.kind": "{} contour(s) of unknown type read by their number of points",
}


def _open(path: Path) -> tuple[Dataset, list[Notice]]:
    if not path.is_file():
        raise InputError("no such file", code="input.missing", hint="check the path of the structure set")
    try:
        with path.open("rb") as stream:
            dataset = pydicom.dcmread(stream, force=True)
        sop_class = str(dataset.get("SOPClassUID", "") or "")
    except Exception as error:
        raise InputError(
            "the file cannot be read as DICOM", code="rs.unreadable", hint="give the RTSTRUCT file of the planning system"
        ) from error
    if sop_class != RTSTRUCT_CLASS:
        raise InputError(
            "the file is not an RT Structure Set",
            code="rs.unreadable",
            hint="give the RTSTRUCT file; describe this one with: jrs info",
        )
    notices = []
    if str(dataset.get("ApprovalStatus", "")) == "REJECTED":
        notices.append(Notice("rs.rejected", "the structure set was marked as rejected by its makers"))
    return dataset, notices


def _rois(dataset: Dataset, match: Match) -> tuple[tuple[Roi, ...], Counter[str]]:
    counts: Counter[str] = Counter()
    contours: dict[int, Dataset] = {}
    for item in dataset.get("ROIContourSequence") or ():
        contours.setdefault(_number(item.get("ReferencedROINumber")), item)
    kinds: dict[int, str] = {}
    for item in dataset.get("RTROIObservationsSequence") or ():
        kinds.setdefault(_number(item.get("ReferencedROINumber")), str(item.get("RTROIInterpretedType", "") or ""))
    rois: list[Roi] = []
    total = [0, 0]
    items = list(dataset.get("StructureSetROISequence") or ())
    used: set[int] = set()
    for item in items:
        number = _number(item.get("ROINumber"))
        own = contours.get(number) if number not in used else None
        if number in used:
            counts["rs.number"] += 1
            number = max(used | {_number(other.get("ROINumber")) for other in items}) + 1
        used.add(number)
        if not match.accepts(item):
            continue
        colour = own.get("ROIDisplayColor") if own is not None else None
        rois.append(
            Roi(
                number=number,
                name=str(item.get("ROIName", "") or ""),
                contours=_contours(own, counts, total),
                colour=(int(colour[0]), int(colour[1]), int(colour[2])) if colour is not None and len(colour) == 3 else None,
                kind=kinds.get(number, ""),
                frame_of_reference_uid=match.frame_of(item),
            )
        )
    return tuple(rois), counts


def _contours(item: Dataset | None, counts: Counter[str], total: list[int]) -> tuple[Contour, ...]:
    found = []
    for contour in (item.get("ContourSequence") or ()) if item is not None else ():
        points = contour_points(contour)
        kind, known = _kind(contour, points)
        counts["rs.kind"] += not known
        closed = kind in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
        if closed and len(points) > 1 and np.abs(points[0] - points[-1]).max() < 1e-4:
            points = points[:-1]
        if not len(points) or (closed and len(np.unique(points, axis=0)) < 3):
            counts["rs.degenerate"] += 1
            continue
        total[0] += 1
        total[1] += len(points)
        if total[0] > MAX_CONTOURS or total[1] > MAX_POINTS:
            raise InputError(
                f"more than {MAX_CONTOURS} contours or {MAX_POINTS} points", code="input.too_big", hint="export fewer ROIs"
            )
        found.append(Contour(points, kind))
    return tuple(found)


def _kind(contour: Dataset, points: np.ndarray) -> tuple[ContourKind, bool]:
    kind = str(contour.get("ContourGeometricType", "") or "").strip()
    for known in get_args(ContourKind):
        if kind == known:
            return known, True
    return ("POINT" if len(points) == 1 else "CLOSED_PLANAR"), False


def _number(value: object) -> int:
    try:
        return int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return -1


def _summed(rois: tuple[Roi, ...], geometry: Geometry) -> list[Notice]:
    """One notice for each code and kind of trouble, naming the ROIs' numbers."""
    said: dict[str, list[Notice]] = {}
    for roi in rois:
        for notice in contour_notices(roi, geometry):
            said.setdefault(notice.code, []).append(notice)
    return [Notice(code, "; ".join(notice.message for notice in notices)) for code, notices in said.items()]
