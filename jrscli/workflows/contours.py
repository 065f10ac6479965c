"""Structure sets and label maps, one from the other. Pure: no files, no printing."""

from __future__ import annotations

from jrscli.errors import InputError, Notice
from jrscli.spatial.contouring import contours_from_mask
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.masks import Masks
from jrscli.spatial.rasterize import rasterize, rasterize_all
from jrscli.spatial.structures import Roi, StructureSet
from jrscli.spatial.volume import LabelMap


def labels_of_structures(structures: StructureSet, geometry: Geometry) -> tuple[LabelMap, tuple[Notice, ...]]:
    """The ROIs as labels by their numbers, larger ones below smaller ones, and how much was hidden by that.

    Raises InputError `rs.outside` if nothing of them lies on the grid.
    """
    masks = {roi.number: rasterize(roi, geometry) for roi in structures.rois if roi.closed}
    labels, hidden = Masks(masks, geometry, {roi.number: roi.name for roi in structures.rois}).as_labels()
    if not labels.array.any():
        raise InputError(
            "no ROI has an area on the grid of the image",
            code="rs.outside",
            hint="give the image that the contours were drawn on",
        )
    notices = []
    if hidden:
        words = f"{len(hidden)} of {len(masks)} ROIs overlap smaller ones, which hide parts of them in a label map"
        notices.append(Notice("labels.overlap", words))
    return labels, tuple(notices)


def masks_of_structures(structures: StructureSet, geometry: Geometry) -> Masks:
    """The ROIs as masks by their numbers; each is whole, also where ROIs overlap."""
    return Masks(rasterize_all(structures, geometry), geometry, {roi.number: roi.name for roi in structures.rois})


def structures_of_labels(labels: LabelMap) -> StructureSet:
    """The labels as ROIs with closed contours on the slices of their grid (array axis 2)."""
    numbers = sorted(set(labels.numbers()) | (set(labels.names) - {0}))
    rois = tuple(Roi(n, labels.name(n), contours_from_mask(labels.mask(n), labels.geometry)) for n in numbers)
    return StructureSet(rois)
