"""Pairing: which structure of the prediction belongs to which of the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Bool

from jrscli.spatial.distance import signed_distance
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.resample import resample
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.volume import LabelMap, Volume

Match = Literal["auto", "number", "name"]
Mask = Bool[np.ndarray, "i j k"]


@dataclass(frozen=True)
class Structure:
    """A structure and how to get its mask: made when it is needed, as thirty organs of a CT at once would fill the memory.

    mask: gives None where the structure has no voxels.
    drawn: an ROI, or a label with voxels; not a mere entry in a table of names.
    """

    number: int
    name: str
    mask: Callable[[], Mask | None]
    drawn: bool = True

    @property
    def named(self) -> bool:
        """Whether it has a name of its own, not just its number."""
        return self.name != str(self.number)


def of_labels(labels: LabelMap) -> list[Structure]:
    """Labels that occur, and labels that only the table of names has (they may be empty on both sides)."""
    held = set(labels.numbers())
    listed = sorted(held | {number for number in labels.names if number})
    return [Structure(n, labels.name(n), partial(labels.mask, n) if n in held else _nothing, n in held) for n in listed]


def structures_of(part: StructureSet | LabelMap, geometry: Geometry) -> list[Structure]:
    """The labels of a label map, or the ROIs of a structure set with their masks on ``geometry``."""
    if isinstance(part, LabelMap):
        return of_labels(part)
    return [Structure(roi.number, roi.name, partial(rasterize, roi, geometry) if roi.closed else _nothing) for roi in part.rois]


def brought_onto(structures: list[Structure], start: Geometry, end: Geometry) -> list[Structure]:
    """The structures with their masks carried from one grid to another through their signed distance (linear, level 0)."""

    def carried(structure: Structure) -> Mask | None:
        mask = structure.mask()
        if mask is None:
            return None
        distance = Volume(signed_distance(mask, start), start)
        diagonal = float(np.linalg.norm(np.array(start.shape) * start.spacing_mm))
        return resample(distance, end, outside=-diagonal).array > 0

    return [replace(one, mask=partial(carried, one)) for one in structures]


def _nothing() -> None:
    return None


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
