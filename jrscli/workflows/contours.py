"""Structure sets and label maps, one from the other. Pure: no files, no printing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from jrscli.errors import InputError, Notice
from jrscli.spatial.contour_notices import contour_notices
from jrscli.spatial.contouring import Holes, Traced, trace
from jrscli.spatial.gaps import fill_gaps
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.masks import Masks
from jrscli.spatial.rasterize import contour_volume_mm3, rasterize
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.volume import LabelMap


@dataclass(frozen=True)
class RoiFacts:
    """What an ROI is on a grid. Volumes in cm³: by its contours (Σ area · slice distance) and by whole voxels.

    codes: what is odd about it.
    """

    number: int
    name: str
    contours: int
    points_and_open: int
    contour_cc: float
    voxel_cc: float
    voxels: int
    codes: tuple[str, ...]


def labels_of_structures(structures: StructureSet, geometry: Geometry) -> tuple[LabelMap, tuple[Notice, ...]]:
    """The ROIs as labels by their numbers, larger ones below smaller ones, and how much was hidden by that.

    Raises InputError `rs.outside` if nothing of them lies on the grid.
    """
    masks = masks_of_structures(structures, geometry)
    if not any(mask.any() for mask in masks.masks.values()):
        raise InputError(
            "no ROI has an area on the grid of the image",
            code="rs.outside",
            hint="give the image that the contours were drawn on",
        )
    labels, hidden = masks.as_labels()
    notices = []
    if hidden:
        words = f"{len(hidden)} of {len(masks.masks)} ROIs overlap smaller ones, which hide parts of them in a label map"
        notices.append(Notice("labels.overlap", words))
    return labels, tuple(notices)


def masks_of_structures(structures: StructureSet, geometry: Geometry) -> Masks:
    """The ROIs that bound an area as masks by their numbers; the names of all."""
    masks = {roi.number: rasterize(roi, geometry) for roi in structures.rois if roi.closed}
    return Masks(masks, geometry, {roi.number: roi.name for roi in structures.rois})


def structures_of_labels(
    labels: LabelMap | Masks,
    geometry: Geometry | None = None,
    *,
    holes: Holes = "keyhole",
    simplify_mm: float = 0.0,
) -> StructureSet:
    """The labels as ROIs with closed contours on the slices (array axis 2) of ``geometry``, or else of their own grid.

    geometry: the grid of the series, which has to be the labels' own, be it with its axes in another order or direction.
    The notices tell of contours dropped (`rs.degenerate`) or made simpler (`rs.simplified`).

    Raises GeometryError `geometry.other_grid`.
    """
    grid = labels.geometry if geometry is None else geometry
    there = set(labels.numbers()) if isinstance(labels, LabelMap) else set(labels.masks)
    rois, notices = [], []
    for number in sorted(there | (set(labels.names) - {0})):
        contours: tuple[Contour, ...] = ()
        if number in there:
            # one at a time: sixty organs of a whole CT are more than memory holds
            mask = labels.mask(number) if isinstance(labels, LabelMap) else labels.masks[number]
            mask = Masks({number: mask}, labels.geometry).on(grid).masks[number]
            traced = trace(mask, grid, 0.5, holes=holes, simplify_mm=simplify_mm)
            contours = traced.contours
            notices += traced_notices(number, traced, grid, mask)
        rois.append(Roi(number, labels.name(number), contours))
    return StructureSet(tuple(rois), notices=tuple(notices))


def traced_notices(
    number: int, traced: Traced, geometry: Geometry, mask: Bool[np.ndarray, "i j k"] | None = None
) -> list[Notice]:
    """What was dropped while contours were drawn, and what simpler outlines cost: points, distance and Dice with ``mask``."""
    found = []
    if traced.dropped:
        found.append(Notice("rs.degenerate", f"ROI {number}: {traced.dropped} contour(s) too small to keep dropped"))
    points = sum(len(contour.points) for contour in traced.contours)
    if traced.deviation_mm > 0:
        words = f"{traced.points_before} points thinned to {points}, at most {traced.deviation_mm:.3f} mm off"
        if mask is not None:
            again = rasterize(Roi(number, "", traced.contours), geometry)
            both = np.count_nonzero(again & mask)
            words += f", Dice {2 * both / (np.count_nonzero(again) + np.count_nonzero(mask)):.4f}"
        found.append(Notice("rs.simplified", f"ROI {number}: {words}"))
    return found


def with_gaps_filled(structures: StructureSet, geometry: Geometry) -> tuple[StructureSet, tuple[Notice, ...]]:
    """The structures with contours on the slices inside them that had none, and how many there are now (`rs.filled`)."""
    rois, notices = [], []
    for roi in structures.rois:
        filled, count = fill_gaps(roi, geometry)
        rois.append(filled)
        if count:
            notices.append(Notice("rs.filled", f"ROI {roi.number}: {count} slice(s) between contours filled by interpolation"))
    return replace(structures, rois=tuple(rois)), tuple(notices)


def check_strictly(structures: StructureSet) -> None:
    """Raise InputError `rs.outside` if reading the structures found contours outside the image."""
    outside = [notice for notice in structures.notices if notice.code == "rs.outside"]
    if outside:
        raise InputError(outside[0].message, code="rs.outside", hint="leave out --strict to use what lies inside")


def roi_facts(structures: StructureSet, geometry: Geometry) -> tuple[RoiFacts, ...]:
    """Contours, volumes and oddities of each ROI on a grid."""
    found = []
    for roi in structures.rois:
        voxels = int(np.count_nonzero(rasterize(roi, geometry))) if roi.closed else 0
        found.append(
            RoiFacts(
                number=roi.number,
                name=roi.name,
                contours=len(roi.closed),
                points_and_open=len(roi.contours) - len(roi.closed),
                contour_cc=contour_volume_mm3(roi, geometry) / 1000 if roi.closed else 0.0,
                voxel_cc=voxels * geometry.voxel_volume_mm3 / 1000,
                voxels=voxels,
                codes=tuple(notice.code for notice in contour_notices(roi, geometry)),
            )
        )
    return tuple(found)
