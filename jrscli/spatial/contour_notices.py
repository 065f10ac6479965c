"""What is odd about an ROI's contours on a grid: codes, counts and the largest offsets."""

from __future__ import annotations

from jrscli.errors import Notice
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.planes import Placed, place_contours
from jrscli.spatial.polygons import area_of
from jrscli.spatial.rasterize import fill
from jrscli.spatial.stacks import stack_volume_mm3
from jrscli.spatial.structures import Roi

OFFPLANE_MM = 0.05
SMALL_PERCENT = 5.0
LARGE_VOXELS = 20_000
"""Above this, voxels and contours differ by far less than `SMALL_PERCENT`: not looked at."""


def contour_notices(roi: Roi, geometry: Geometry) -> tuple[Notice, ...]:
    """What was left out, snapped, clipped or is too small, with counts; ROIs are named by number (names can be personal)."""
    placed = place_contours(roi, geometry)
    opened = sum(not contour.is_closed and contour.kind != "POINT" for contour in roi.contours)
    whole = "; nothing of it is inside" if placed.is_empty else ""
    said = [
        (placed.degenerate, "rs.degenerate", f"{placed.degenerate} contour(s) without an area dropped"),
        (placed.oblique, "rs.oblique", f"{placed.oblique} contour(s) lie across the slices; drawn between their own planes"),
        (placed.outside, "rs.outside", f"{placed.outside} contour(s) lie outside the image{whole}"),
        (placed.clipped, "rs.clipped", f"{placed.clipped} contour(s) clipped at the border of the image"),
        (placed.between, "rs.planes", f"{placed.between} contour(s) between slices left out; a nearer plane was used"),
        (placed.missing_planes, "rs.gap", f"{placed.missing_planes} slice(s) inside the structure hold no contour"),
        (
            placed.offset_mm > OFFPLANE_MM,
            "rs.offplane",
            f"contours up to {placed.offset_mm:.2f} mm off their slice, snapped",
        ),
        (opened, "rs.open", f"{opened} open contour(s) bound no area"),
    ]
    found = [Notice(code, f"ROI {roi.number}: {words}") for count, code, words in said if count]
    return (*found, *_small(placed, geometry))


def _small(placed: Placed, geometry: Geometry) -> list[Notice]:
    """`rs.small`: voxels tell another volume than the contours. Of clipped ROIs nothing is said."""
    if placed.is_empty or placed.clipped:
        return []
    drawn = sum(map(area_of, placed.planes.values())) * geometry.voxel_volume_mm3 + stack_volume_mm3(placed.stacks)
    if drawn > LARGE_VOXELS * geometry.voxel_volume_mm3 or not drawn:
        return []
    voxels = float(fill(placed, geometry).sum()) * geometry.voxel_volume_mm3
    off = 100 * (voxels / drawn - 1)
    if abs(off) <= SMALL_PERCENT:
        return []
    words = f"{voxels / 1000:.3f} cc in voxels, {drawn / 1000:.3f} cc by its contours ({off:+.0f} %): too small for this grid"
    return [Notice("rs.small", f"ROI {placed.number}: {words}")]
