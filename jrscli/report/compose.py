"""Which pictures a report has, and what its cards say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jrscli.metrics.evaluation import Row
from jrscli.metrics.gates import Verdict
from jrscli.report import sheets
from jrscli.report.overlay import display_window
from jrscli.report.page import Card, Picture
from jrscli.report.planes import Plane, choose_planes, content_of
from jrscli.report.regions import Region, planes_through
from jrscli.report.tables import number_text, shown_ids_of
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

JACOBIAN = (
    "Local volume change (Jacobian determinant J of the pull field). J > 1: the tissue shrank on its way from the moving to "
    "the fixed image; J < 1: it grew; red: the field folds."
)


@dataclass(frozen=True, eq=False)
class Subject:
    """What is pictured, all on the grid of ``fixed``.

    moved, before: the moving image with and without registration.
    regions: solid (propagated, predicted) and dashed (reference).
    field_grid: where transform and inverse are looked at. same_contrast: whether a difference of the images says anything.
    titles: what solid and dashed contours are called.
    """

    fixed: Volume
    regions: Sequence[Region] = ()
    moved: Volume | None = None
    before: Volume | None = None
    transform: Transform | None = None
    inverse: Transform | None = None
    field_grid: Geometry | None = None
    same_contrast: bool = True
    v_mm: float = 1.0
    titles: tuple[str, str] = ("prediction", "reference")

    def planes(self) -> list[Plane]:
        """The three planes through the middle of the body."""
        low, high = display_window(self.fixed)
        return choose_planes(self.fixed.geometry, content_of(self.fixed.array, low, high))

    def content(self) -> tuple[slice, slice, slice]:
        """The part of the grid that the planes show."""
        shown = [slice(0, n) for n in self.fixed.geometry.shape]
        for plane in self.planes():
            for axis in (plane.right[0], plane.down[0]):
                shown[axis] = plane.box[axis]
        return shown[0], shown[1], shown[2]


def pictures(subject: Subject) -> list[Picture]:
    """The pictures of the whole: contours, fixed and moved to flicker, checkerboard, difference, and three of the field."""
    fixed, planes = subject.fixed, subject.planes()
    found: list[Picture] = []
    if subject.regions:
        centre = _middle(subject.regions, fixed.geometry.shape)
        through = _moved_to(planes, centre)
        data = sheets.contour_sheet(fixed, through, subject.regions, "contours", subject.titles[1])
        found.append(
            Picture(data, f"Contours on the {'image' if subject.moved is None else 'fixed image'}: {_styles(subject)}.")
        )
    if subject.moved is not None:
        fixed_sheet, moved_sheet = (
            sheets.grey_sheet(one, planes, name) for one, name in ((fixed, "fixed"), (subject.moved, "warped"))
        )
        found.append(Picture(fixed_sheet, "Fixed image and warped moving image in turn: what jumps does not fit.", moved_sheet))
        if subject.before is not None:
            before = sheets.grey_sheet(subject.before, planes, "moving, before registration", display_window(subject.moved))
            found.append(Picture(before, "The moving image where its header puts it."))
        board = sheets.checkerboard_sheet(fixed, subject.moved, planes, "checkerboard of fixed and warped")
        found.append(
            Picture(board, "Checkerboard of the fixed and the warped image: edges go on across the fields where they fit.")
        )
        if subject.same_contrast:
            data = sheets.difference_sheet(fixed, subject.moved, planes, "fixed minus warped")
            found.append(Picture(data, "Difference of fixed and warped image: middle grey is none."))
    if subject.transform is not None and subject.field_grid is not None and not subject.transform.is_linear:
        jacobian = sheets.jacobian_of(subject.transform, subject.field_grid)
        found.append(Picture(sheets.jacobian_sheet(fixed, planes, jacobian, "local volume change"), JACOBIAN))
        data = sheets.grid_sheet(fixed, planes, subject.transform, "deformation grid")
        found.append(
            Picture(data, "Lines that are straight in the fixed image, where the transform puts them (within the plane).")
        )
        if subject.inverse is not None:
            error = sheets.error_of(subject.transform, subject.inverse, subject.field_grid)
            data = sheets.error_sheet(fixed, planes, error, subject.v_mm, "inverse consistency")
            words = f"How far a point ends from where it was after the transform and its inverse; v = {subject.v_mm:.3g} mm."
            found.append(Picture(data, words))
    return found


def cards(
    subject: Subject | None, rows: Sequence[Row], verdict: Verdict | None, facts: dict[str, list[tuple[str, str]]]
) -> list[Card]:
    """A card for each row, the worst first; with a picture through its worst slice where there is an image.

    facts: more lines per title.
    """
    planes = subject.planes() if subject else []
    found = []
    for row in rows:
        gates = tuple(one for one in (verdict.rows if verdict else ()) if one.structure == row.title)
        lines = [*facts.get(row.title, []), *_values(row)]
        found.append(Card(row, row.title, gates, tuple(lines), _pictures_of(subject, planes, row)))
    order = ("fail", "review", "pass", "not_assessed")
    return sorted(found, key=lambda card: min((order.index(one.status) for one in card.gates), default=3))


def _values(row: Row) -> list[tuple[str, str]]:
    found = []
    for id_ in shown_ids_of(row):
        value = row.values[id_]
        text = "n/a" if value.value is None else f"{number_text(value.value)} {value.unit}".strip()
        if value.status not in ("ok",):
            text += f" ({value.status.replace('_', ' ')})"
        if id_.startswith("dice") and "volume-dependent" in row.flags:
            text += " (volume-dependent: less than 1 cc)"
        found.append((id_, text))
    return found


def _pictures_of(subject: Subject | None, planes: Sequence[Plane], row: Row) -> tuple[Picture, ...]:
    worst = row.details.get("worst_slices")
    if subject is None or not planes or not isinstance(worst, tuple | list):
        return ()
    regions = [region for region in subject.regions if region.name == row.name]
    if not regions:
        return ()
    index = (int(worst[0]), int(worst[1]), int(worst[2]))
    through = planes_through(planes, index, regions, subject.fixed.geometry.shape)
    data = sheets.contour_sheet(subject.fixed, through, regions, row.name)
    shown = "in which the contours differ most" if "dice.v1" in row.values else "that show most of it"
    return (Picture(data, f"{row.name}: the slices {shown}; {_styles(subject)}."),)


def _styles(subject: Subject) -> str:
    dashed = any(region.dashed for region in subject.regions)
    return f"{subject.titles[0]} solid, {subject.titles[1]} dashed" if dashed else f"{subject.titles[0]} solid"


def _middle(regions: Sequence[Region], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """On each axis the slice that cuts most of the regions, of those the one nearest to their middle."""
    place = []
    for axis, n in enumerate(shape):
        count = np.zeros(n, int)
        for region in regions:
            count[region.lower[axis] : region.lower[axis] + region.mask.shape[axis]] += 1
        best = np.flatnonzero(count == count.max())
        middle = float((count * np.arange(n)).sum() / max(count.sum(), 1))
        place.append(int(best[np.abs(best - middle).argmin()]))
    return place[0], place[1], place[2]


def _moved_to(planes: Sequence[Plane], index: tuple[int, int, int]) -> list[Plane]:
    from dataclasses import replace

    found = []
    for plane in planes:
        box = list(plane.box)
        box[plane.normal] = slice(index[plane.normal], index[plane.normal] + 1)
        found.append(replace(plane, box=(box[0], box[1], box[2])))
    return found
