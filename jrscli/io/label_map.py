"""Label maps and the table of names beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from jrscli.errors import InputError
from jrscli.io.caps import MAX_TABLE, check_text
from jrscli.io.sidecar import beside, write_json
from jrscli.spatial.volume import LabelMap, Volume

SAME_NEIGHBOURS = 0.5
"""In a label map most neighbours inside a structure are equal; in an image noise makes them differ."""


def labels_from_volume(volume: Volume, path: Path) -> LabelMap:
    """The labels of an image, named by the .json beside its file.

    Raises InputError `labels.values`.
    """
    array = volume.array
    if array.dtype.kind == "f":
        if array.size and (float(array.min()) < 0 or float(array.max()) > 2**24 or not (array == np.round(array)).all()):
            raise InputError(
                f"{path.name} holds values that are not whole numbers from 0 up: it is no label map",
                code="labels.values",
                hint="give the label file, not the image; probabilities have to be thresholded first",
            )
        array = array.astype(np.uint32)
    return LabelMap(array, volume.geometry, read_names(path))


def read_names(path: Path) -> dict[int, str]:
    """The names in the .json beside a label file: ``{"labels": {"1": "Bladder"}}``; none where there is no such file.

    Raises InputError `labels.table`.
    """
    table = beside(path)
    if not table.is_file():
        return {}
    check_text(table, MAX_TABLE)
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        names = content.get("labels", {}) if isinstance(content, dict) else {}
        return {int(number): str(name) for number, name in names.items()}
    except (ValueError, TypeError, AttributeError, OSError, OverflowError, RecursionError) as error:
        raise InputError(
            f"the label table {table.name} cannot be read",
            code="labels.table",
            hint='it should look like {"labels": {"1": "Bladder"}}; or move it away',
        ) from error


def write_names(labels: LabelMap, path: Path) -> None:
    """Write the table of names beside a label file; nothing where there are no names."""
    if labels.names:
        write_json({"labels": {str(number): name for number, name in sorted(labels.names.items())}}, beside(path))


def holds_labels(volume: Volume, path: Path) -> bool:
    """Whether an image is a label map: whole numbers from 0 up, and names in a .json beside it or areas of one value."""
    array = volume.array
    if array.size == 0 or float(array.min()) < 0 or not array.any():
        return False
    if array.dtype.kind == "f" and not (array == np.round(array)).all():
        return False
    if beside(path).is_file() and read_names(path):
        return True
    axis = int(np.argmax(array.shape))
    this, next_one = np.moveaxis(array, axis, 0)[:-1], np.moveaxis(array, axis, 0)[1:]
    inside = (this > 0) | (next_one > 0)
    return bool(inside.any() and np.mean(this[inside] == next_one[inside]) > SAME_NEIGHBOURS)
