"""A zip of DICOM files, read in place: nothing is unpacked to disk."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from jrscli.errors import InputError
from jrscli.io.caps import MAX_BYTES, MAX_RATIO


def open_zip(path: Path) -> tuple[zipfile.ZipFile, list[str]]:
    """The archive and its files in order of their names; nothing is unpacked yet.

    What the entries promise is what zipfile holds them to: an entry that unpacks to more is cut there and fails its checksum.

    Raises InputError `input.zip` for one that is damaged, locked, or names paths outside itself, `input.too_big` for one that
    unpacks to more than 8 GB or to over 200 times its size.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError("the zip is damaged", code="input.zip", hint="copy it again, or unpack it by hand") from error
    entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    for entry in entries:
        name = PurePosixPath(entry.filename.replace("\\", "/"))
        if not name.parts or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            raise InputError(
                "the zip holds a path that leaves it", code="input.zip", hint="do not trust this zip; unpack it by hand"
            )
        if entry.flag_bits & 1:
            raise InputError("the zip is locked by a password", code="input.zip", hint="unpack it and give the folder")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_BYTES or total > MAX_RATIO * max(path.stat().st_size, 1):
        raise InputError(
            f"the zip unpacks to {total / 1e9:.1f} GB, more than {MAX_RATIO} times its size or above 8 GB",
            code="input.too_big",
            hint="unpack it by hand and give the folder",
        )
    return archive, sorted(entry.filename for entry in entries)
