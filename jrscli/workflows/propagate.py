"""Planning contours on a daily image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from jrscli.errors import Notice
from jrscli.progress import Progress, silent
from jrscli.spatial.contouring import Holes, contours_from_levels, contours_from_mask
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.body import segment_body
from jrscli.workflows.carry import Solid, carry_contour, outside_percent, pull, solid_of_mask, solid_of_roi
from jrscli.workflows.label_levels import labels_from_levels
from jrscli.workflows.selection import external_roi, select_rois

if TYPE_CHECKING:
    from jrscli.workflows.register import Registration

Body = Literal["segment", "propagate"]
Status = Literal["ok", "cut", "lost", "empty"]
CUT_PERCENT = 1.0
BODY_CUT_PERCENT = 5.0
"""Every scan ends somewhere in the patient: a few percent of the outline are no news."""
VOLUME_PERCENT = 30.0


class Mapping3D(Protocol):
    """What propagation needs of a registration."""

    @property
    def transform(self) -> Transform:
        """Daily mm -> planning mm (pull)."""

    @property
    def inverse(self) -> Transform:
        """Planning mm -> daily mm."""


@dataclass(frozen=True)
class RoiResult:
    """What became of one ROI.

    how: "carried" by the transform, "found" in the daily image, "points" (only points and open contours), "none" (nothing to
    carry). status: "ok"; "cut" by the border of the daily image; "lost" (nothing of it is left); "empty" (it had no contours).
    planning_cc, daily_cc: volumes, cm³. outside_percent: the share of the planning volume that lies beyond the daily image.
    """

    number: int
    name: str
    how: Literal["carried", "found", "points", "none"]
    status: Status
    planning_cc: float | None = None
    daily_cc: float | None = None
    outside_percent: float = 0.0

    @property
    def volume_change_percent(self) -> float | None:
        """How much larger the ROI is than in the planning image; None where it cannot be compared."""
        if self.planning_cc is None or self.daily_cc is None or self.status != "ok" or not self.planning_cc:
            return None
        return 100.0 * (self.daily_cc / self.planning_cc - 1)


@dataclass(frozen=True, eq=False)
class Propagation:
    """Contours on the daily slices and how they came there.

    labels: the same as a label map, where labels were given (structures may overlap, labels may not).
    registration: daily (fixed) and planning (moving); as given or as made.
    """

    structures: StructureSet
    labels: LabelMap | None
    registration: Any
    results: tuple[RoiResult, ...]
    notices: tuple[Notice, ...]


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
    progress: Progress = silent,
    **register_options: Any,
) -> Propagation:
    """The structures of the planning image on the slices (array axis 2) of the daily image.

    Each ROI goes as a signed distance through the transform and is contoured at 0; points and open contours go vertex by
    vertex. Numbers, names, colours and kinds stay. An ROI that the daily image cuts is flagged `rs.cut`, one that is gone
    `rs.lost` (it stays as an empty ROI).
    registration: daily is fixed, planning is moving; made here with ``register_options`` if not given.
    rois, exclude: names or patterns (``Femoral*``), letters of either case. body: how the external ROI comes: found in the
    daily image, or carried like the rest.

    Raises InputError `rs.name` if a pattern fits no ROI, `rs.none` if none is left; and what `register` raises.
    """
    source = structures if isinstance(structures, StructureSet) else _as_structures(structures)
    chosen = select_rois(source.rois, rois, exclude)
    if registration is None:
        from jrscli.workflows.register import register

        registration = register(daily, planning, progress=progress, **register_options)
    transform, inverse = registration.transform, registration.inverse
    external = external_roi(chosen) if body == "segment" else None
    done: list[Roi] = []
    results: list[RoiResult] = []
    notices: list[Notice] = []
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
                    _notice("rs.body", roi, "the outline was not found in the daily image; the planned one was carried")
                )
        contours: tuple[Contour, ...] = ()
        if solid is None:
            result = RoiResult(roi.number, roi.name, "none", "empty")
        elif found is not None and roi is external:
            contours = contours_from_mask(found, daily.geometry, holes=holes)
            volume = float(np.count_nonzero(found)) * daily.geometry.voxel_volume_mm3 / 1000
            status: Status = "cut" if outside >= BODY_CUT_PERCENT else "ok"
            result = RoiResult(roi.number, roi.name, "found", status, solid.volume_cc, volume, outside)
        else:
            level = pull(solid, daily.geometry, transform, inverse, finer=not labelled)
            if level is not None and labelled:
                levels[roi.number] = level
            contours, result = _carried(roi, solid, level, outside, holes)
        opened = tuple(carry_contour(contour, inverse) for contour in roi.contours if not contour.is_closed)
        result = _with_points(result, opened, daily.geometry)
        done.append(replace(roi, contours=contours + opened, frame_of_reference_uid=None))
        results.append(result)
        notices.extend(_flags(roi, result))
    progress("propagate", len(chosen), len(chosen))
    labels = None
    if isinstance(structures, LabelMap):
        names = {roi.number: structures.name(roi.number) for roi in chosen}
        filler = (external.number, found) if external is not None and found is not None else None
        labels = labels_from_levels(levels, daily.geometry, names, filler)
    carried_set = replace(source, rois=tuple(done), frame_of_reference_uid=None, notices=tuple(notices))
    return Propagation(carried_set, labels, registration, tuple(results), tuple(notices))


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
    roi: Roi, solid: Solid, level: Volume | None, outside: float, holes: Holes
) -> tuple[tuple[Contour, ...], RoiResult]:
    if level is None:
        return (), RoiResult(roi.number, roi.name, "carried", "lost", solid.volume_cc, 0.0, outside)
    contours = contours_from_levels(level.array, level.geometry, 0.0, holes=holes)
    volume = float(np.count_nonzero(level.array > 0)) * level.geometry.voxel_volume_mm3 / 1000
    status: Status = "lost" if not contours else "cut" if outside >= CUT_PERCENT else "ok"
    return contours, RoiResult(roi.number, roi.name, "carried", status, solid.volume_cc, volume, outside)


def _with_points(result: RoiResult, opened: tuple[Contour, ...], daily: Geometry) -> RoiResult:
    """The result with points and open contours counted, where the ROI has nothing else."""
    if result.how != "none" or not opened:
        return result
    inside = daily.contains(np.concatenate([contour.points for contour in opened]))
    outside = 100.0 * float((~inside).mean())
    return replace(result, how="points", status="cut" if outside > 0 else "ok", outside_percent=outside)


def _flags(roi: Roi, result: RoiResult) -> list[Notice]:
    change = result.volume_change_percent
    if result.status == "lost" and result.outside_percent > 99:
        return [_notice("rs.lost", roi, "lies wholly outside the daily image; it is kept without contours")]
    if result.status == "lost":
        return [_notice("rs.lost", roi, "nothing of it is left on the daily slices; it is kept without contours")]
    if result.status == "cut":
        return [
            _notice("rs.cut", roi, f"{result.outside_percent:.0f} % of it lies outside the daily image; its contours end there")
        ]
    if change is not None and result.how == "carried" and abs(change) > VOLUME_PERCENT:
        return [
            _notice(
                "rs.volume", roi, f"volume {result.planning_cc:.1f} -> {result.daily_cc:.1f} cc ({change:+.0f} %): look at it"
            )
        ]
    return []


def _notice(code: str, roi: Roi, words: str) -> Notice:
    # by number, as in every notice about structures: names can be personal
    return Notice(code, f"ROI {roi.number}: {words}")
