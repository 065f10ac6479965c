"""The labels of a training case: a label image by its numbers, DICOM contours by the names of their organs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from jrscli.errors import InputError
from jrscli.io import read_contours
from jrscli.io.content import kind_of
from jrscli.io.image_file import ImageFile
from jrscli.metrics.organ_names import matched_organs
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.volume import LabelMap
from jrscli.training.cases import DataList
from jrscli.workflows.contours import masks_of_structures
from jrscli.workflows.organs import numbered_as


def read_drawn(path: Path, image: ImageFile, data: DataList) -> LabelMap:
    """The labels at ``path`` by their numbers in the data list.

    path: a label image; or an RTSTRUCT, a DICOM Segmentation, or a folder with one of them, drawn on ``image``. Structures are
    found by the names of their organs (TG-263 will do, `jrscli.metrics.organ_names`); what the list does not name is left out.

    Raises InputError `labels.undrawn` for contours that lack an organ where the data list takes what is absent for
    background, `labels.organs` where they have none of its organs, and the codes of `read_contours`.
    """
    found = read_contours(path, reference=image)
    if isinstance(found, StructureSet):
        return _by_name(found, image.volume.geometry, data)
    if kind_of(path) in ("dicom", "folder"):
        return _complete(numbered_as(found, data.labels), data)
    return merged_labels(found, data)


def merged_labels(labels: LabelMap, data: DataList) -> LabelMap:
    """The labels of an image by their numbers in the data list."""
    if not data.merge:
        return labels
    out = np.zeros(labels.array.shape, np.uint32)
    for n, name in enumerate(data.labels[1:], start=1):
        out[np.isin(labels.array, data.merge[name])] = n
    return LabelMap(out, labels.geometry)


def _by_name(structures: StructureSet, geometry: Geometry, data: DataList) -> LabelMap:
    """Only the organs of the list are drawn, so that a body's outline hides none of them."""
    rois = [roi for roi in structures.rois if roi.closed]
    matches = matched_organs([roi.name for roi in rois], data.labels[1:])
    wanted = {match.given for match in matches if match.kind == "both"}
    masks = masks_of_structures(replace(structures, rois=tuple(roi for roi in rois if roi.name in wanted)), geometry)
    labels, _ = masks.as_labels()
    return _complete(numbered_as(labels, data.labels) if labels.names and labels.array.any() else labels, data)


def _complete(labels: LabelMap, data: DataList) -> LabelMap:
    missing = [name for n, name in enumerate(data.labels[1:], start=1) if n not in labels.numbers()]
    if len(missing) == len(data.labels) - 1:
        raise InputError(
            "a structure set has none of the organs of the data list",
            code="labels.organs",
            hint=f"it should have some of {', '.join(missing)}; jrs info shows which it has",
        )
    if missing and data.absent == "background":
        raise InputError(
            f"a structure set has no contour of {', '.join(missing)}, or several that could be it",
            code="labels.undrawn",
            hint="say absent: undrawn in the data list: what nobody drew then teaches nothing",
        )
    return labels
