"""Contours, ROIs and structure sets: points in LPS mm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

from jrscli.errors import InputError, Notice

ContourKind = Literal["CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "OPEN_PLANAR", "OPEN_NONPLANAR", "POINT"]


@dataclass(frozen=True, eq=False)
class Contour:
    """One contour: points in order, LPS mm; the first point is not repeated at the end of a closed one.

    Raises InputError `rs.points`.
    """

    points: Float[np.ndarray, "n 3"]
    kind: ContourKind = "CLOSED_PLANAR"

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 3 or not len(points) or not np.isfinite(points).all():
            raise InputError(
                "a contour needs finite points of three coordinates", code="rs.points", hint="check the structure set"
            )
        points.setflags(write=False)
        object.__setattr__(self, "points", points)

    @property
    def is_closed(self) -> bool:
        """Whether the contour bounds an area."""
        return self.kind in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True)
class Roi:
    """One region of interest. Its identity is the number; names need not be unique.

    kind: RTROIInterpretedType as written ("ORGAN", "EXTERNAL", "PTV", … or "").
    colour: display colour, 0–255, or None.
    """

    number: int
    name: str
    contours: tuple[Contour, ...] = ()
    colour: tuple[int, int, int] | None = None
    kind: str = ""
    frame_of_reference_uid: str | None = None

    @property
    def closed(self) -> tuple[Contour, ...]:
        """The contours that bound an area."""
        return tuple(contour for contour in self.contours if contour.is_closed)


@dataclass(frozen=True)
class StructureSet:
    """ROIs in one patient space, with what is needed to refer back to the object they came from.

    notices: what was odd or repaired while reading.
    """

    rois: tuple[Roi, ...]
    frame_of_reference_uid: str | None = None
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    label: str = ""
    notices: tuple[Notice, ...] = field(default=())

    def roi(self, name: str) -> Roi:
        """The first ROI of this name.

        Raises InputError `rs.name`.
        """
        for roi in self.rois:
            if roi.name == name:
                return roi
        raise InputError("no ROI of that name in the structure set", code="rs.name", hint="list the names with: jrs info FILE")
