"""New UIDs for images that have none of their own, and a copy of the series that bears them.

They come from the content of the files alone: equal files get equal UIDs, so that what one run writes fits what another reads.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from jrscli.errors import Notice, WriteError
from jrscli.io.dicom_decode import transfer_syntax
from jrscli.io.dicom_select import Group, choose_series, parse_selection, series_groups
from jrscli.io.dicom_slice import text_of
from jrscli.io.dicom_values import file_meta, new_uid
from jrscli.io.dicom_walk import Source, quiet, walk

_SEED = "jrscli assigns a UID"
_SERIES_WIDE = {"StudyInstanceUID": "study", "SeriesInstanceUID": "series", "FrameOfReferenceUID": "frame"}
ASSIGNED = ("series.for_blank", "series.uid_blank", "series.uid_dup")
"""The codes that `assign_uids` gives its notices."""


def assign_uids(group: Group) -> tuple[Notice, ...]:
    """Notices after giving the headers, in place, the UIDs that are blank or that other images have too.

    A frame of reference is made up only where no image of the series has one.
    """
    headers = [header for _, header in group]
    blank = sum(
        not all(text_of(h, name) for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")) for h in headers
    )
    no_frame = not any(text_of(header, "FrameOfReferenceUID") for header in headers)
    uids = Counter(text_of(header, "SOPInstanceUID") for header in headers)
    if not (blank or no_frame or max(uids.values()) > 1):
        return ()
    digests = [_digest(source) for source, _ in group]
    whole = hashlib.sha256("".join(sorted(set(digests))).encode()).hexdigest()
    # one file twice is no conflict: the reader drops it
    contents = Counter(uid for uid, _ in {(text_of(h, "SOPInstanceUID"), d) for h, d in zip(headers, digests, strict=True)})
    repeated = sum(uids[uid] for uid, count in contents.items() if uid and count > 1)
    for (_, header), digest in zip(group, digests, strict=True):
        if contents[text_of(header, "SOPInstanceUID")] > 1 or not text_of(header, "SOPInstanceUID"):
            header.SOPInstanceUID = new_uid(_SEED, "image", digest)
        for keyword, word in _SERIES_WIDE.items():
            if not text_of(header, keyword) and (keyword != "FrameOfReferenceUID" or no_frame):
                setattr(header, keyword, new_uid(_SEED, word, whole))
    notices = []
    if no_frame:
        notices.append(Notice("series.for_blank", "the series has no FrameOfReferenceUID; a new one was assigned"))
    if blank:
        notices.append(Notice("series.uid_blank", f"UIDs are empty in {blank} image(s); new ones were assigned"))
    if repeated:
        notices.append(Notice("series.uid_dup", f"{repeated} images shared SOP Instance UIDs; new ones were assigned"))
    return tuple(notices)


@quiet()
def write_repaired(path: str | Path, folder: str | Path, *, select: str | None = None) -> int:
    """How many images of the series at ``path`` were copied into ``folder`` with the UIDs that `assign_uids` gives them.

    Pixels and elements stay as they are; private elements are left out, and the preamble is zeros.

    Raises InputError as `read_series`, WriteError `output.unwritable`.
    """
    group = choose_series(series_groups(walk(Path(path))), parse_selection(select))
    assign_uids(group)
    written: set[str] = set()
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for source, header in group:
            if text_of(header, "SOPInstanceUID") in written:
                continue
            written.add(text_of(header, "SOPInstanceUID"))
            _copy(source, header, Path(folder) / f"{len(written):05d}.dcm")
    except OSError as error:
        raise WriteError(
            "the repaired series cannot be written",
            code="output.unwritable",
            hint="check the folder, its rights and the free space",
        ) from error
    return len(written)


def _copy(source: Source, header: Dataset, path: Path) -> None:
    syntax = transfer_syntax(header)
    with source.open() as stream:
        dataset = pydicom.dcmread(stream, force=True)
    for keyword in ("SOPInstanceUID", *_SERIES_WIDE):
        if text_of(header, keyword):
            setattr(dataset, keyword, text_of(header, keyword))
    dataset.remove_private_tags()
    dataset.file_meta = file_meta(text_of(header, "SOPClassUID"), text_of(header, "SOPInstanceUID"), syntax)
    # files without meta information get it here, so their encoding has to be said once more
    implicit, little = dataset.original_encoding
    dataset.preamble = b"\0" * 128
    dataset.save_as(path, enforce_file_format=True, implicit_vr=implicit, little_endian=little)


def _digest(source: Source) -> str:
    """A hash of the file."""
    with replace(source).open() as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
