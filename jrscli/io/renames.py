"""Lists of new names for ROIs: a JSON object, or a CSV file with two columns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from jrscli.errors import InputError
from jrscli.io.content import existing

LONGEST = 64
"""What DICOM allows a name."""
MAX_BYTES = 1_000_000


def read_renames(path: Path | str) -> dict[str, str]:
    """Old name -> new name. A CSV may begin with the line ``from,to``; its separator is a comma or a semicolon.

    Raises InputError `input.missing`, `rename.unreadable`, `rename.twice`, `rename.name`.
    """
    path = existing(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError
        text = path.read_text(encoding="utf-8-sig")
        pairs = _from_json(text) if text.lstrip().startswith("{") else _from_csv(text)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path.name} is no list of new names",
            code="rename.unreadable",
            hint='give lines of "old name,new name", or a JSON object {"old name": "new name"}',
        ) from error
    found: dict[str, str] = {}
    for old, new in pairs:
        if old in found:
            raise InputError(f"'{old}' is renamed twice", code="rename.twice", hint="keep one line for each name")
        if not new or len(new) > LONGEST or any(ord(letter) < 32 or letter == "\\" for letter in new):
            raise InputError(
                f"the new name of '{old}' is no name that DICOM allows",
                code="rename.name",
                hint=f"1 to {LONGEST} characters, without backslashes and line breaks",
            )
        found[old] = new
    return found


def _from_json(text: str) -> list[tuple[str, str]]:
    pairs = json.loads(text, object_pairs_hook=list)
    if not all(isinstance(new, str) for _, new in pairs):
        raise ValueError
    return [(old.strip(), new.strip()) for old, new in pairs]


def _from_csv(text: str) -> list[tuple[str, str]]:
    first = text.lstrip().splitlines()[0] if text.strip() else ""
    rows = list(csv.reader(text.splitlines(), delimiter=";" if first.count(";") == 1 and "," not in first else ","))
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if not rows or any(len(row) != 2 for row in rows):
        raise ValueError
    if [cell.lower() for cell in rows[0]] == ["from", "to"]:
        rows = rows[1:]
    return [(old, new) for old, new in rows]
