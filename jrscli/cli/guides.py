"""What steers a registration beside the images: its options, its reading, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli.run import Run
from jrscli.errors import UsageError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.register import Registration

_PANEL = "Guides"
MovingLabels = Annotated[
    Path | None,
    typer.Option(help="Labels of MOVING, carried along.", show_default=False, rich_help_panel=_PANEL),
]
FixedLabels = Annotated[
    Path | None,
    typer.Option(
        help="Labels of FIXED: with MOVING's they steer the registration.", show_default=False, rich_help_panel=_PANEL
    ),
]
Guide = Annotated[
    bool,
    typer.Option(
        "--guide/--no-guide", help="Labels of both images steer, or only judge what came out.", rich_help_panel=_PANEL
    ),
]
FixedPoints = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Landmarks in FIXED that steer.", show_default=False, rich_help_panel=_PANEL),
]
MovingPoints = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The same landmarks in MOVING.", show_default=False, rich_help_panel=_PANEL),
]


@dataclass(frozen=True)
class Given:
    """What was drawn on the two images, and the landmarks of both in one order. guide: labels steer."""

    fixed: LabelMap | StructureSet | None = None
    moving: LabelMap | StructureSet | None = None
    points_mm: tuple[Any, Any] = (None, None)
    guide: bool = True

    @property
    def options(self) -> dict[str, Any]:
        """As `jrscli.workflows.register.register` takes them."""
        fixed_points, moving_points = self.points_mm
        return {
            "fixed_labels": self.fixed,
            "moving_labels": self.moving,
            "fixed_points_mm": fixed_points,
            "moving_points_mm": moving_points,
            "guide": self.guide,
        }

    def judging(self, images: tuple[ImageFile, ImageFile]) -> tuple[LabelMap, LabelMap] | None:
        """Labels of both images that can judge the registration, as they did not steer it."""
        if self.guide or self.fixed is None or self.moving is None:
            return None
        return _as_labels(self.fixed, images[0])[0], _as_labels(self.moving, images[1])[0]

    def carried(self, run: Run, moving: ImageFile) -> LabelMap | None:
        """The labels that come along with the moving image."""
        if self.moving is None:
            return None
        labels, notices = _as_labels(self.moving, moving)
        run.note(notices)
        return labels


def read_guides(
    run: Run,
    images: tuple[ImageFile, ImageFile],
    labels: tuple[Path | None, Path | None],
    points: tuple[Path | None, Path | None],
    *,
    guide: bool = True,
) -> Given:
    """Labels and landmarks of the fixed and the moving image, read and recorded; contours too where both sides are given.

    Raises UsageError `usage.combination` for landmarks of one image; InputError `points.pairs`, `points.names`.
    """
    roles = ("fixed labels", "moving labels")
    if None in labels:
        drawn = [run.labels(role, path) if path else None for role, path in zip(roles, labels, strict=True)]
        return Given(drawn[0], drawn[1], _read_points(run, points), guide)
    both = [run.contours(role, path, image) for role, path, image in zip(roles, labels, images, strict=True) if path]
    return Given(both[0], both[1], _read_points(run, points), guide)


def say_guides(run: Run, registration: Registration) -> None:
    """Say and record what steered the registration."""
    run.note(registration.notices)
    run.record.facts["guided_by"] = registration.guided_by or None
    if registration.guided_by:
        run.talk.say(f"guided by {registration.guided_by}: figures taken from them are no independent check")


def _read_points(run: Run, files: tuple[Path | None, Path | None]) -> tuple[Any, Any]:
    fixed, moving = files
    if fixed is None and moving is None:
        return None, None
    if fixed is None or moving is None:
        given, other = ("fixed", "moving") if moving is None else ("moving", "fixed")
        raise UsageError(
            f"landmarks of the {given} image alone guide nothing",
            code="usage.combination",
            hint=f"give the same landmarks in the {other} image: --{other}-points FILE",
        )
    from jrscli.io.points import read_points
    from jrscli.workflows.guides import paired_points

    lists = [read_points(path) for path in (fixed, moving)]
    for role, path in (("fixed points", fixed), ("moving points", moving)):
        run.record.add_input(role, path, "points")
    return paired_points(lists[0], lists[1])


def _as_labels(drawn: LabelMap | StructureSet, image: ImageFile) -> tuple[LabelMap, Any]:
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.contours import labels_of_structures

    return (drawn, ()) if isinstance(drawn, LabelMap) else labels_of_structures(drawn, image.volume.geometry)
