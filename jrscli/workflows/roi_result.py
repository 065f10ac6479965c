"""What became of one ROI on its way to the daily image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from jrscli.errors import Notice
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import Contour, Roi

Status = Literal["ok", "cut", "lost", "empty"]
VOLUME_PERCENT = 30.0


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


def with_points(result: RoiResult, opened: tuple[Contour, ...], daily: Geometry) -> RoiResult:
    """The result with points and open contours counted, where the ROI has nothing else."""
    if result.how != "none" or not opened:
        return result
    inside = daily.contains(np.concatenate([contour.points for contour in opened]))
    outside = 100.0 * float((~inside).mean())
    return replace(result, how="points", status="cut" if outside > 0 else "ok", outside_percent=outside)


def flags(roi: Roi, result: RoiResult) -> list[Notice]:
    """What a person should look at: lost, cut, or of another volume than planned."""
    change = result.volume_change_percent
    if result.status == "lost" and result.how == "none":
        return [notice("rs.lost", roi, "lies wholly outside the planning image; it is kept without contours")]
    if result.status == "lost" and result.outside_percent > 99:
        return [notice("rs.lost", roi, "lies wholly outside the daily image; it is kept without contours")]
    if result.status == "lost":
        return [notice("rs.lost", roi, "nothing of it is left on the daily slices; it is kept without contours")]
    if result.status == "cut":
        return [
            notice("rs.cut", roi, f"{result.outside_percent:.0f} % of it lies outside the daily image; its contours end there")
        ]
    if change is not None and result.how == "carried" and abs(change) > VOLUME_PERCENT:
        return [
            notice(
                "rs.volume", roi, f"volume {result.planning_cc:.1f} -> {result.daily_cc:.1f} cc ({change:+.0f} %): look at it"
            )
        ]
    return []


def notice(code: str, roi: Roi, words: str) -> Notice:
    """A notice about an ROI."""
    # by number, as in every notice about structures: names can be personal
    return Notice(code, f"ROI {roi.number}: {words}")
