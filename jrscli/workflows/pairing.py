"""Pairing: which structure of the prediction belongs to which of the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import find_objects

from jrscli.metrics.pair import Box, box_geometry
from jrscli.metrics.surfels import bounding_box
from jrscli.spatial.distance import signed_distance
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.resample import resample
from jrscli.spatial.structures import Roi, StructureSet
from jrscli.spatial.volume import LabelMap, Volume

Match = Literal["auto", "number", "name"]
Mask = Bool[np.ndarray, "i j k"]
LARGEST_INDEX = 100_000
"""Labels up to this are found in one pass over the image; beyond it the pass would take more memory than the image."""


@dataclass(frozen=True)
class Structure:
    """A structure and how to get its mask: made when it is needed, as thirty organs of a CT at once would fill the memory.

    box: the part of the grid that holds it, None where it has no voxels. mask: its voxels within any box.
    drawn: an ROI, or a label with voxels; not a mere entry in a table of names. kind: the DICOM type ("EXTERNAL", "PTV" …).
    """

    number: int
    name: str
    box: Box | None
    mask: Callable[[Box], Mask]
    drawn: bool = True
    kind: str = ""

    @property
    def named(self) -> bool:
        """Whether it has a name of its own, not just its number."""
        return self.name != str(self.number)


def of_labels(labels: LabelMap) -> list[Structure]:
    """Labels that occur, and labels that only the table of names has (they may be empty on both sides)."""
    boxes = _boxes(labels)
    listed = sorted(boxes.keys() | {number for number in labels.names if number})
    return [Structure(n, labels.name(n), boxes.get(n), partial(_of_label, labels, n), n in boxes) for n in listed]


def structures_of(part: StructureSet | LabelMap, geometry: Geometry) -> list[Structure]:
    """The labels of a label map, or the ROIs of a structure set with their masks on ``geometry``."""
    if isinstance(part, LabelMap):
        return of_labels(part)
    return [
        Structure(roi.number, roi.name, _box_of_roi(roi, geometry), partial(_of_roi, roi, geometry), kind=roi.kind)
        for roi in part.rois
    ]


def brought_onto(structures: list[Structure], start: Geometry, end: Geometry) -> list[Structure]:
    """The structures with their masks carried from one grid to another through their signed distance (linear, level 0)."""
    return [_carried(structure, start, end) for structure in structures]


def pairs_of(
    reference: list[Structure], prediction: list[Structure], match: Match
) -> list[tuple[Structure | None, Structure | None]]:
    """Each structure with its partner, or with None on the side where it is missing; the reference's order first.

    "auto": by name if both sides name everything and share a name, else by number. Of several structures of one name the first
    that is left is taken.
    """
    if match == "auto":
        shared = {one.name for one in reference} & {one.name for one in prediction}
        match = "name" if shared and all(one.named for one in (*reference, *prediction)) else "number"
    left = list(prediction)
    pairs: list[tuple[Structure | None, Structure | None]] = []
    for one in reference:
        same = (other for other in left if (other.name == one.name if match == "name" else other.number == one.number))
        partner = next(same, None)
        if partner is not None:
            left.remove(partner)
        pairs.append((one, partner))
    return [*pairs, *((None, other) for other in left)]


def _boxes(labels: LabelMap) -> dict[int, Box]:
    """The box of each label that occurs."""
    if int(labels.array.max()) > LARGEST_INDEX:
        found = {number: bounding_box(labels.mask(number)) for number in labels.numbers()}
        return {number: box for number, box in found.items() if box is not None}
    # one pass over the image as it lies in memory; labels below 2³¹ are the same bits with a sign
    objects = find_objects(labels.array.view(np.int32))
    return {number: (box[0], box[1], box[2]) for number, box in enumerate(objects, start=1) if box is not None}


def _of_label(labels: LabelMap, number: int, box: Box) -> Mask:
    return labels.array[box] == np.uint32(number)


def _box_of_roi(roi: Roi, geometry: Geometry) -> Box | None:
    """Where the closed contours of an ROI lie on the grid, a voxel wider; None where they do not."""
    if not roi.closed:
        return None
    index = geometry.world_to_index(np.concatenate([contour.points for contour in roi.closed]))
    low = np.maximum(np.floor(index.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 2, geometry.shape)
    if (low >= high).any():
        return None
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    found = bounding_box(rasterize(roi, box_geometry(geometry, (i, j, k))))
    if found is None:
        return None
    i, j, k = (slice(a.start + b.start, a.start + b.stop) for a, b in zip((i, j, k), found, strict=True))
    return i, j, k


def _of_roi(roi: Roi, geometry: Geometry, box: Box) -> Mask:
    if not roi.closed:
        return np.zeros([part.stop - part.start for part in box], np.bool_)
    return rasterize(roi, box_geometry(geometry, box))


def _carried(structure: Structure, start: Geometry, end: Geometry) -> Structure:
    """One structure on another grid; worked out at once, because its box is not known before."""
    if structure.box is None:
        return structure
    part = structure.box
    i, j, k = (slice(max(a.start - 2, 0), min(a.stop + 2, n)) for a, n in zip(part, start.shape, strict=True))
    # a box two voxels wider: the signed distance has to go through 0 inside it
    near = box_geometry(start, (i, j, k))
    distance = Volume(signed_distance(structure.mask((i, j, k)), near), near)
    diagonal = float(np.linalg.norm(np.array(near.shape) * near.spacing_mm))
    whole: Mask = resample(distance, end, outside=-diagonal).array > 0
    box = bounding_box(whole)
    if box is None:
        return Structure(structure.number, structure.name, None, structure.mask, structure.drawn, structure.kind)
    small = whole[box].copy()

    def mask(wanted: Box) -> Mask:
        out = np.zeros([one.stop - one.start for one in wanted], np.bool_)
        ends = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(wanted, box, strict=True)]
        if all(low < high for low, high in ends):
            here = tuple(slice(low - a.start, high - a.start) for (low, high), a in zip(ends, wanted, strict=True))
            there = tuple(slice(low - b.start, high - b.start) for (low, high), b in zip(ends, box, strict=True))
            out[here] = small[there]
        return out

    return Structure(structure.number, structure.name, box, mask, structure.drawn, structure.kind)
