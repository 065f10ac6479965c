"""Finding DICOM files: in a folder, a zip, or one file; told by content, never by name."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset

from jrscli.errors import InputError

ZIP_RATIO = 200
ZIP_BYTES = 8_000_000_000
_FIRST_ELEMENTS = tuple(bytes((group, 0, element, 0)) for group in (2, 8) for element in (0, 1, 5, 8, 0x12, 0x16)) + tuple(
    bytes((0, 8, 0, element)) for element in (0, 1, 5, 8, 0x12, 0x16)
)


@dataclass(frozen=True)
class Source:
    """One file, on disk or in a zip."""

    path: Path
    member: str | None = None

    def open(self) -> BinaryIO:
        """A stream at the first byte."""
        if self.member is None:
            return self.path.open("rb")
        with zipfile.ZipFile(self.path) as archive:
            return io.BytesIO(archive.read(self.member))


@dataclass(frozen=True, eq=False)
class Found:
    """What a walk found: headers (no pixels) and the number of DICOM files that cannot be read."""

    headers: tuple[tuple[Source, Dataset], ...]
    unreadable: int


def walk(path: Path) -> Found:
    """The headers of all DICOM objects at ``path``.

    Raises InputError `input.missing`, `series.none` (nothing there is DICOM), `series.cut` (no DICOM file can be read),
    `input.too_big` and `input.zip` for a zip that is not to be trusted.
    """
    headers: list[tuple[Source, Dataset]] = []
    unreadable = 0
    for source in _sources(path):
        with source.open() as stream:
            if not looks_like_dicom(stream):
                continue
            try:
                headers.append((source, read_header(stream)))
            except Exception:
                # whatever a broken file makes of the parser: it is counted, and told if nothing else is left
                unreadable += 1
    if not headers and unreadable:
        raise InputError(
            f"{unreadable} DICOM file(s) found, none can be read", code="series.cut", hint="copy or export the images again"
        )
    if not headers:
        raise InputError(
            "no DICOM file found", code="series.none", hint="give a folder of slices, a zip of them or one DICOM file"
        )
    return Found(tuple(headers), unreadable)


def looks_like_dicom(stream: BinaryIO) -> bool:
    """Whether the bytes begin like DICOM: ``DICM`` at byte 128, or without preamble an element of group 2 or 8."""
    stream.seek(0)
    start = stream.read(132)
    stream.seek(0)
    if start[128:132] == b"DICM":
        return True
    # without preamble the data set begins at once, with a low element of group 2 or 8 (either byte order)
    return start[:4] in _FIRST_ELEMENTS


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings, which quote values: names and identifiers have no place on a terminal or in a log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@quiet()
def read_header(stream: BinaryIO) -> Dataset:
    """The data set without its pixels.

    Raises ValueError where there is no SOP class: not a DICOM object.
    """
    dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    if not str(dataset.get("SOPClassUID", "")) and "DirectoryRecordSequence" not in dataset:
        raise ValueError("no SOP Class UID")
    return dataset


def _sources(path: Path) -> Iterator[Source]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield Source(file)
    elif not path.is_file():
        raise InputError("no such file or folder", code="input.missing", hint="check the path")
    elif zipfile.is_zipfile(path):
        yield from _members(path)
    else:
        yield Source(path)


def _members(path: Path) -> Iterator[Source]:
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in entries:
        name = PurePosixPath(entry.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            raise InputError(
                "the zip holds a path that leaves it", code="input.zip", hint="do not trust this zip; unpack it by hand"
            )
    total = sum(entry.file_size for entry in entries)
    if total > ZIP_BYTES or total > ZIP_RATIO * max(path.stat().st_size, 1):
        raise InputError(
            f"the zip unpacks to {total / 1e9:.1f} GB, more than {ZIP_RATIO} times its size or above 8 GB",
            code="input.too_big",
            hint="unpack it by hand and give the folder",
        )
    for entry in sorted(entries, key=lambda entry: entry.filename):
        yield Source(path, entry.filename)
