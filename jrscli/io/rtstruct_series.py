"""The image series that an RTSTRUCT was drawn on, looked for near it."""

from __future__ import annotations

from pathlib import Path

import pydicom

from jrscli.errors import JrsError
from jrscli.io.dicom_walk import quiet, walk
from jrscli.io.rtstruct_match import referenced_images

MOST_FILES = 5000


@quiet()
def series_of(path: Path) -> tuple[Path, str] | None:
    """The folder and SeriesInstanceUID of the series that the structure set's contours name; None where it is not near.

    Looked for in the structure set's own folder, then in the folders beside it; folders of more than 5000 files are left alone.
    """
    try:
        wanted = referenced_images(pydicom.dcmread(path, force=True))
    except Exception:  # a damaged structure set is told by the reader of structure sets
        return None
    if not wanted:
        return None
    here = path.resolve().parent
    beside = (
        [] if here.parent == Path(here.anchor) else sorted(one for one in here.parent.iterdir() if one.is_dir() and one != here)
    )
    for folder in (here, *beside):
        uid = _series_in(folder, wanted)
        if uid:
            return folder, uid
    return None


def _series_in(folder: Path, wanted: set[str]) -> str | None:
    try:
        if sum(1 for _, file in zip(range(MOST_FILES + 1), folder.rglob("*"), strict=False)) > MOST_FILES:
            return None
        for _, header in walk(folder).headers:
            if str(header.get("SOPInstanceUID", "")) in wanted:
                return str(header.get("SeriesInstanceUID", "")) or None
    except (JrsError, OSError):
        return None
    return None
