"""A word about quality in a structure set that is already written."""

from __future__ import annotations

from pathlib import Path

import pydicom

from jrscli.io.dicom_references import save
from jrscli.io.dicom_walk import quiet

LONGEST = 1024
"""Characters that DICOM allows in a short text (VR ST)."""


@quiet()
def mark_structure_set(path: Path, words: str) -> None:
    """Put words before the description of a structure set that was written a moment ago; nothing else in it changes.

    Raises WriteError `output.unwritable`.
    """
    structures = pydicom.dcmread(path)
    structures.StructureSetDescription = f"{words}; {structures.get('StructureSetDescription', '')}"[:LONGEST]
    save(structures, path, "the structure set")
