"""What classes of DICOM objects a folder holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pydicom
from pydicom.uid import UID

from jrscli.errors import InputError
from jrscli.io.dicom_walk import quiet, walk

SEGMENTATION_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation, and Label Map Segmentation."""
READ_CLASSES = (
    "Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.7",  # label map segmentation, too new to have a name everywhere
    "Spatial Registration Storage",
    "Deformable Spatial Registration Storage",
    "RT Dose Storage",
)
"""Of objects that are neither images nor structure sets, the names of those that are read."""


def class_names(path: Path) -> dict[str, int]:
    """How many objects of each DICOM class ("RT Dose Storage") there are at ``path``; none without DICOM."""
    try:
        headers = walk(path).headers
    except InputError:
        return {}
    return dict(Counter(UID(str(header.get("SOPClassUID", ""))).name or "object without a class" for _, header in headers))


@quiet()
def sop_class_of(path: Path) -> str:
    """The SOP Class UID of a DICOM file; empty for a folder, or a file that is none."""
    if not path.is_file():
        return ""
    try:
        found = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["SOPClassUID"])
        return str(found.get("SOPClassUID", "") or "")
    except Exception:
        # whatever a broken file makes of the parser
        return ""
