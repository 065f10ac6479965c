"""Planning contours on a daily image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from jrscli.errors import InputError, Notice
from jrscli.progress import Progress, silent
from jrscli.spatial.contouring import Holes, trace
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.planes import place_contours
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.body import segment_body
from jrscli.workflows.carry import Solid, carry_contour, outside_percent, pull, solid_of_mask, solid_of_roi
from jrscli.workflows.contours import traced_notices, with_gaps_filled
from jrscli.workflows.label_levels import labels_from_levels
from jrscli.workflows.roi_result import RoiResult, Status, flags, notice, with_points
from jrscli.workflows.selection import external_roi, select_rois

if TYPE_CHECKING:
    from jrscli.workflows.register import Registration

Body = Literal["segment", "propagate"]
CUT_PERCENT = 1.0
BODY_CUT_PERCENT = 5.0
"""Every scan ends somewhere in the patient: a few percent of the outline are no news."""


class Mapping3D(Protocol):
    """What propagation needs of a registration."""

    @property
    def transform(self) -> Transform:
        """Daily mm -> planning mm (pull)."""

    @property
    def inverse(self) -> Transform:
        """Planning mm -> daily mm."""


@dataclass(frozen=True, eq=False)
class Propagation:
    """Contours on the daily slices and how they came there.

    labels: the same as a label map, where labels were given (structures may overlap, labels may not).
    registration: daily (fixed) and planning (moving); as given or as made.
    levels: the signed distance (mm, positive inside) of each carried label on a box of the daily grid, where labels were given.
    """

    structures: StructureSet
    labels: LabelMap | None
    registration: Any
    results: tuple[RoiResult, ...]
    notices: tuple[Notice, ...]
    levels: Mapping[int, Volume] = field(default_factory=dict)


def propagate(
    planning: Volume,
    structures: StructureSet | LabelMap,
    daily: Volume,
    *,
    registration: Registration | Mapping3D | None = None,
    rois: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    body: Body = "segment",
    holes: Holes = "keyhole",
    simplify_mm: float = 0.0,
    fill_gaps: bool = False,
    daily_contours: StructureSet | LabelMap | None = None,
    progress: Progress = silent,
    **register_options: Any,
) -> Propagation:
    """The structures of the planning image on the slices (array axis 2) of the daily image.

    Each ROI goes as a signed distance through the transform and is contoured at 0; points and open contours go vertex by
    vertex. Numbers, names, colours and kinds stay. An ROI that the daily image cuts is flagged `rs.cut`, one that is gone
    `rs.lost` (it stays as an empty ROI).
    registration: daily is fixed, planning is moving; made here with ``register_options`` if not given.
    rois, exclude: names or patterns (``Femoral*``), letters of either case. body: how the external ROI comes: found in the
    daily image, or carried like the rest. holes, simplify_mm: how contours are drawn, see `contouring.trace`. fill_gaps: put
    contours on the planning slices inside an ROI that have none.
    daily_contours: what is drawn on the daily image already; with the same structures of the planning image they steer the
    registration made here.

    Raises InputError `rs.name` if a pattern fits no ROI, `rs.none` if none is left, `rs.outside` if none lies in the planning
    image; and what `register` raises.
    """
    source = structures if isinstance(structures, StructureSet) else _as_structures(structures)
    chosen = select_rois(source.rois, rois, exclude)
    notices: list[Notice] = []
    if fill_gaps:
        filled, said = with_gaps_filled(StructureSet(chosen), planning.geometry)
        chosen = filled.rois
        notices += said
    _check_inside(chosen, planning.geometry)
    if registration is None:
        from jrscli.workflows.register import register

        if daily_contours is not None:
            register_options |= {"fixed_labels": daily_contours, "moving_labels": structures}
        elif _asks_for_labels(register_options.get("model")):
            register_options |= {"moving_labels": structures}
        registration = register(daily, planning, progress=progress, **register_options)
    transform, inverse = registration.transform, registration.inverse
    external = external_roi(chosen) if body == "segment" else None
    done: list[Roi] = []
    results: list[RoiResult] = []
    drawing = _Drawing(holes, simplify_mm, notices)
    labelled = isinstance(structures, LabelMap)
    levels: dict[int, Volume] = {}  # kept for the label map only
    found: np.ndarray | None = None
    for step, roi in enumerate(chosen):
        progress("propagate", step, len(chosen))
        solid = _solid(roi, structures, planning.geometry)
        outside = 0.0 if solid is None else outside_percent(solid, daily.geometry, transform, inverse)
        if solid is not None and roi is external:
            found = _found_body(daily, solid, outside)
            if found is None:
                notices.append(
                    notice("rs.body", roi, "the outline was not found in the daily image; the planned one was carried")
                )
        contours: tuple[Contour, ...] = ()
        if solid is None:
            result = RoiResult(roi.number, roi.name, "none", "lost" if roi.closed else "empty")
        elif found is not None and roi is external:
            contours = drawing.draw(roi, found, daily.geometry, 0.5)
            volume = float(np.count_nonzero(found)) * daily.geometry.voxel_volume_mm3 / 1000
            status: Status = "cut" if outside >= BODY_CUT_PERCENT else "ok"
            result = RoiResult(roi.number, roi.name, "found", status, solid.volume_cc, volume, outside)
        else:
            level = pull(solid, daily.geometry, transform, inverse, finer=not labelled)
            if level is not None and labelled:
                levels[roi.number] = level
            contours, result = _carried(roi, solid, level, outside, drawing)
        opened = tuple(carry_contour(contour, inverse) for contour in roi.contours if not contour.is_closed)
        result = with_points(result, opened, daily.geometry)
        done.append(replace(roi, contours=contours + opened, frame_of_reference_uid=None))
        results.append(result)
        notices.extend(flags(roi, result))
    progress("propagate", len(chosen), len(chosen))
    labels = None
    if isinstance(structures, LabelMap):
        names = {roi.number: structures.name(roi.number) for roi in chosen}
        filler = (external.number, found) if external is not None and found is not None else None
        labels = labels_from_levels(levels, daily.geometry, names, filler)
    carried_set = replace(source, rois=tuple(done), frame_of_reference_uid=None, notices=tuple(notices))
    return Propagation(carried_set, labels, registration, tuple(results), tuple(notices), levels)


def _asks_for_labels(model: Any) -> bool:
    """Whether a model takes the labels of the planning image and cannot find them itself."""
    return model is not None and model.segmenting is None and "moving_labels" in model.card.requires


@dataclass(frozen=True)
class _Drawing:
    """How contours are drawn; what was dropped or simplified goes to ``notices``."""

    holes: Holes
    simplify_mm: float
    notices: list[Notice]

    def draw(self, roi: Roi, array: np.ndarray, geometry: Geometry, level: float) -> tuple[Contour, ...]:
        traced = trace(array, geometry, level, holes=self.holes, simplify_mm=self.simplify_mm)
        self.notices.extend(traced_notices(roi.number, traced, geometry, array > level if self.simplify_mm else None))
        return traced.contours


def _check_inside(chosen: Sequence[Roi], planning: Geometry) -> None:
    """Raise `rs.outside` if there are contours, but none lies in the image: it is not the one they were drawn on."""
    drawn = [roi for roi in chosen if roi.contours]
    points = [c.points for roi in drawn for c in roi.contours if not c.is_closed]
    if (
        drawn
        and not any(planning.contains(p).any() for p in points)
        and all(place_contours(r, planning).is_empty for r in drawn)
    ):
        raise InputError(
            "no contour lies in the planning image",
            code="rs.outside",
            hint="give the image that the contours were drawn on",
        )


def _as_structures(labels: LabelMap) -> StructureSet:
    numbers = sorted(set(labels.numbers()) | set(labels.names) - {0})
    return StructureSet(tuple(Roi(number, labels.name(number)) for number in numbers))


def _solid(roi: Roi, structures: StructureSet | LabelMap, planning: Geometry) -> Solid | None:
    if isinstance(structures, LabelMap):
        return solid_of_mask(structures.mask(roi.number), structures.geometry)
    return solid_of_roi(roi, planning)


def _found_body(daily: Volume, planned: Solid, outside: float) -> np.ndarray | None:
    """The outline found in the daily image, or None if its volume is not what the planned one leads to expect."""
    mask = segment_body(daily)
    expected = planned.volume_cc * (1 - outside / 100)
    volume = float(np.count_nonzero(mask)) * daily.geometry.voxel_volume_mm3 / 1000
    return mask if expected > 0 and 0.6 < volume / expected < 1.7 else None


def _carried(
    roi: Roi, solid: Solid, level: Volume | None, outside: float, drawing: _Drawing
) -> tuple[tuple[Contour, ...], RoiResult]:
    if level is None:
        return (), RoiResult(roi.number, roi.name, "carried", "lost", solid.volume_cc, 0.0, outside)
    contours = drawing.draw(roi, level.array, level.geometry, 0.0)
    volume = float(np.count_nonzero(level.array > 0)) * level.geometry.voxel_volume_mm3 / 1000
    status: Status = "lost" if not contours else "cut" if outside >= CUT_PERCENT else "ok"
    return contours, RoiResult(roi.number, roi.name, "carried", status, solid.volume_cc, volume, outside)
