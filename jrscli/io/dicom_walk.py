"""Finding DICOM files: in a folder, a zip, or one file; told by content, never by name.

A DICOMDIR is walked over like any other file: its index and the paths in it are never followed.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import pydicom
from pydicom.dataset import Dataset

from jrscli.errors import InputError
from jrscli.io.dicom_deflate import plain
from jrscli.io.dicom_zip import open_zip

_FIRST_ELEMENTS = tuple(bytes((group, 0, element, 0)) for group in (2, 8) for element in (0, 1, 5, 8, 0x12, 0x16)) + tuple(
    bytes((0, 8, 0, element)) for element in (0, 1, 5, 8, 0x12, 0x16)
)
_SORTED_BY = ("SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType", "Rows", "NumberOfFrames")
"""What decides where an object belongs: one in which these cannot be read is as good as unreadable."""


@dataclass(frozen=True, eq=False)
class Source:
    """One file, on disk or in a zip.

    pixels_at: where its pixel data element begins, once the header was read; None before, and where there is none.
    """

    path: Path
    member: str | None = None
    archive: zipfile.ZipFile | None = None
    pixels_at: int | None = None

    def open(self) -> BinaryIO:
        """A stream at the first byte; a deflated data set comes unpacked."""
        raw = self.path.open("rb") if self.archive is None else cast(BinaryIO, self.archive.open(str(self.member)))
        return plain(raw)


@dataclass(frozen=True, eq=False)
class Found:
    """What a walk found: headers (no pixels) and the number of DICOM files that cannot be read."""

    headers: tuple[tuple[Source, Dataset], ...]
    unreadable: int


def walk(path: Path) -> Found:
    """The headers of all DICOM objects at ``path``.

    Raises InputError `input.missing`, `series.none` (nothing there is DICOM), `series.cut` (no DICOM file can be read),
    `input.too_big` for a zip or a deflated file that unpacks to too much, and `input.zip` for a zip that is not to be trusted.
    """
    headers: list[tuple[Source, Dataset]] = []
    unreadable = 0
    for source in _sources(path):
        try:
            with source.open() as stream:
                if not looks_like_dicom(stream):
                    continue
                header = read_header(stream)
                headers.append((replace(source, pixels_at=stream.tell()), header))
        except InputError:
            raise
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
    """The data set without its pixels; the stream is left where they begin.

    Raises ValueError where there is no SOP class: not a DICOM object.
    """
    dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    for keyword in _SORTED_BY:
        dataset.get(keyword)  # values are taken apart when they are asked for: what is damaged shows now
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
    elif _is_zip(path):
        archive, members = open_zip(path)
        for member in members:
            yield Source(path, member, archive)
    else:
        yield Source(path)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
