"""What a folder of patients holds: series, structure sets and image files, told by their headers and never by their names."""

from __future__ import annotations

import contextlib
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from jrscli.errors import InputError, JrsError
from jrscli.io.content import kind_of
from jrscli.io.dicom_select import series_groups
from jrscli.io.dicom_slice import text_of
from jrscli.io.dicom_walk import Found, Source, quiet, read_header
from jrscli.io.pseudonym import pseudonym
from jrscli.io.rtstruct_match import referenced_images
from jrscli.io.rtstruct_write import RTSTRUCT_CLASS

_KEPT = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "Modality",
    "ImageType", "Rows", "Columns", "NumberOfFrames", "StudyDate", "StudyTime", "SeriesDate", "SeriesTime", "AcquisitionDate",
    "AcquisitionTime",
)  # fmt: skip


@dataclass(frozen=True)
class SeriesFiles:
    """An image series. patient: its pseudonym. date: sortable, of the series or else of its study."""

    paths: tuple[Path, ...]
    patient: str
    modality: str
    uid: str
    frame_uid: str
    image_uids: frozenset[str]
    date: str
    voxels: int


@dataclass(frozen=True)
class StructureFile:
    """A structure set and what it says it was drawn on."""

    path: Path
    patient: str
    uid: str
    frame_uids: frozenset[str]
    image_uids: frozenset[str]


@dataclass(frozen=True)
class PlainImage:
    """An image file without patient. labels: whether its values are labels. grid: a hash of its geometry."""

    path: Path
    voxels: int
    labels: bool
    grid: str


@dataclass(frozen=True)
class Survey:
    """All of it. unreadable: what should have been readable, and why it is not. empty: folders with nothing in them."""

    series: tuple[SeriesFiles, ...] = ()
    structures: tuple[StructureFile, ...] = ()
    images: tuple[PlainImage, ...] = ()
    unreadable: tuple[tuple[Path, JrsError], ...] = ()
    empty: tuple[Path, ...] = ()


@dataclass
class _Piles:
    slices: list[tuple[Source, Dataset]] = field(default_factory=list)
    structures: list[StructureFile] = field(default_factory=list)
    images: list[PlainImage] = field(default_factory=list)
    unreadable: list[tuple[Path, JrsError]] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)


@quiet()
def survey(root: Path, leave_out: Iterable[Path] = ()) -> Survey:
    """What lies below ``root``. Links to folders are followed, each folder once. leave_out: folders not to look into.

    Raises InputError `input.missing`.
    """
    if not root.is_dir():
        raise InputError("no such folder", code="input.missing", hint="name a folder of patients, or a list (.csv, .yaml)")
    piles = _Piles()
    for folder, files in _folders(root, {path.resolve() for path in leave_out}):
        if files is None:
            piles.empty.append(folder)
            continue
        for path in files:
            try:
                _sort_in(path, piles)
            except JrsError as error:
                piles.unreadable.append((path, error))
    return Survey(
        tuple(_series(piles.slices)), tuple(piles.structures), tuple(piles.images), tuple(piles.unreadable), tuple(piles.empty)
    )


def _folders(root: Path, leave_out: set[Path]) -> Iterator[tuple[Path, list[Path] | None]]:
    """Each folder once, whatever links lead to it, with its files; None for one that holds nothing at all."""
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            about = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue  # a link that leads nowhere, or a folder that is not ours to read
        if (about.st_dev, about.st_ino) in seen or folder.resolve() in leave_out:
            continue
        seen.add((about.st_dev, about.st_ino))
        shown = [entry for entry in entries if not entry.name.startswith(".")]
        yield folder, [Path(entry.path) for entry in shown if entry.is_file()] if shown else None
        waiting.extend(Path(entry.path) for entry in reversed(shown) if entry.is_dir())


def _sort_in(path: Path, piles: _Piles) -> None:
    kind = kind_of(path)
    if kind == "dicom":
        _sort_in_dicom(path, piles)
    elif kind in ("nifti", "itk"):
        piles.images.append(_plain_image(path))
    elif kind == "zip":
        raise InputError("zips are not looked into here", code="batch.zip", hint="unpack it")


def _sort_in_dicom(path: Path, piles: _Piles) -> None:
    try:
        with path.open("rb") as stream:
            header = read_header(stream)
    except Exception as error:  # whatever a damaged file makes of the parser
        raise InputError("a DICOM file cannot be read", code="series.cut", hint="copy or export it again") from error
    if text_of(header, "SOPClassUID") == RTSTRUCT_CLASS:
        piles.structures.append(_structures(path, header))
        return
    kept = Dataset()
    for keyword in _KEPT:
        if keyword in header:
            kept[keyword] = header[keyword]
    piles.slices.append((Source(path), kept))


def _structures(path: Path, header: Dataset) -> StructureFile:
    try:
        images = referenced_images(pydicom.dcmread(path, force=True))
        rois = header.get("StructureSetROISequence") or ()
        frames = {str(roi.get("ReferencedFrameOfReferenceUID", "") or "") for roi in rois}
        frames |= {
            str(one.get("FrameOfReferenceUID", "") or "") for one in header.get("ReferencedFrameOfReferenceSequence") or ()
        }
    except Exception as error:
        raise InputError("a structure set cannot be read", code="rs.unreadable", hint="export it again") from error
    return StructureFile(
        path,
        pseudonym(text_of(header, "PatientID")),
        text_of(header, "SOPInstanceUID"),
        frozenset(frames - {""}),
        frozenset(images),
    )


def _series(slices: list[tuple[Source, Dataset]]) -> Iterator[SeriesFiles]:
    patients: dict[str, list[tuple[Source, Dataset]]] = defaultdict(list)
    for one in slices:
        patients[text_of(one[1], "PatientID")].append(one)  # a copied series may carry the UIDs of another patient's
    groups = []
    for of_one in patients.values():
        with contextlib.suppress(InputError):  # none of its objects is an image
            groups += series_groups(Found(tuple(of_one), 0))
    for group in groups:
        first = group[0][1]
        sizes = (_voxels(header) for _, header in group)
        dates = (text_of(first, f"{one}Date") + text_of(first, f"{one}Time") for one in ("Series", "Acquisition", "Study"))
        yield SeriesFiles(
            tuple(sorted(source.path for source, _ in group)),
            pseudonym(text_of(first, "PatientID")),
            text_of(first, "Modality"),
            text_of(first, "SeriesInstanceUID"),
            text_of(first, "FrameOfReferenceUID"),
            frozenset(text_of(header, "SOPInstanceUID") for _, header in group),
            next((date for date in dates if date), ""),
            sum(sizes),
        )


def _voxels(header: Dataset) -> int:
    try:
        return int(header.get("Rows", 0)) * int(header.get("Columns", 0)) * max(1, int(header.get("NumberOfFrames", 1) or 1))
    except (TypeError, ValueError):
        return 0


def _plain_image(path: Path) -> PlainImage:
    from jrscli.io import read_image
    from jrscli.io.label_map import holds_labels

    volume = read_image(path).volume
    return PlainImage(path, math.prod(volume.geometry.shape), holds_labels(volume, path), volume.geometry.sha256)
