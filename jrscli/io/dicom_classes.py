"""What classes of DICOM objects a folder holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydicom.uid import UID

from jrscli.errors import InputError
from jrscli.io.dicom_walk import walk


def class_names(path: Path) -> dict[str, int]:
    """How many objects of each DICOM class ("RT Dose Storage") there are at ``path``; none without DICOM."""
    try:
        headers = walk(path).headers
    except InputError:
        return {}
    return dict(Counter(UID(str(header.get("SOPClassUID", ""))).name or "object without a class" for _, header in headers))
