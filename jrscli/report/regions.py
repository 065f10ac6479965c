"""Regions: structures for pictures, kept as small boxes so that thirty organs of a CT fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from jrscli.report.canvas import Colour
from jrscli.report.planes import Plane

MARGIN_MM = 25.0


@dataclass(frozen=True, eq=False)
class Region:
    """One structure on the grid of the pictures.

    mask: in the box whose first voxel is ``lower``. dashed: a reference or second opinion beside the solid one.
    number: of the structure, where it has one.
    """

    name: str
    mask: Bool[np.ndarray, "i j k"]
    lower: tuple[int, int, int]
    colour: Colour
    dashed: bool = False
    number: int = 0

    def cut(self, plane: Plane) -> np.ndarray | None:
        """The structure in a plane, as rows of columns like `Plane.cut`; None where the plane does not meet it."""
        part = [slice(0, 0)] * 3
        shown = [one.stop - one.start for one in plane.box]
        target = np.zeros(shown, np.bool_)
        place = list(part)
        for axis, (low, n, box) in enumerate(zip(self.lower, self.mask.shape, plane.box, strict=True)):
            start, stop = max(low, box.start), min(low + n, box.stop)
            if start >= stop:
                return None
            part[axis], place[axis] = slice(start - low, stop - low), slice(start - box.start, stop - box.start)
        target[tuple(place)] = self.mask[tuple(part)]
        whole = replace(plane, box=(slice(0, shown[0]), slice(0, shown[1]), slice(0, shown[2])))
        return whole.cut(target)


def planes_through(
    planes: Sequence[Plane], index: tuple[int, int, int], regions: Sequence[Region], shape: tuple[int, int, int]
) -> list[Plane]:
    """The planes moved to a voxel of the grid and cropped to the regions with 25 mm round them."""
    held = [region for region in regions if region.mask.size]
    moved = []
    for plane in planes:
        spacing = {plane.right[0]: plane.spacing_mm[0], plane.down[0]: plane.spacing_mm[1]}
        box = list(plane.box)
        for axis, mm in spacing.items():
            if held:
                margin = int(np.ceil(MARGIN_MM / mm))
                low = min(region.lower[axis] for region in held) - margin
                high = max(region.lower[axis] + region.mask.shape[axis] for region in held) + margin
                box[axis] = slice(max(low, 0), min(high, shape[axis]))
        at = int(np.clip(index[plane.normal], 0, shape[plane.normal] - 1))
        box[plane.normal] = slice(at, at + 1)
        moved.append(replace(plane, box=(box[0], box[1], box[2])))
    return moved
