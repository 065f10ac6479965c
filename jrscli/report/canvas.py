"""The sheet that pictures are laid out on: rows of panels at one scale, with letters, scale bar and legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from jrscli.report.planes import Plane

Colour = tuple[int, int, int]

GROUND: Colour = (16, 18, 22)
INK: Colour = (226, 229, 233)
FAINT: Colour = (139, 147, 158)
MARGIN = 22
GAP = 14
TALLEST_PX = 560
LARGEST_SCALE = 14.0
LARGEST_VOXEL_PX = 8.0
"""A small image is not blown up beyond this: it would show nothing more, and take its time."""
_SHARP = np.radians(20)
FINER = 4
"""Lines are drawn on a sheet this much finer and averaged down: Pillow draws without smoothing."""


@dataclass
class Panel:
    """A grey picture (0 to 1) of a plane, and lines to draw on it: (row, column) points, colour, width in pixels, dashed.

    colours: the picture in colour, where grey is not enough (0 to 1).
    """

    grey: Float[np.ndarray, "r c"]
    plane: Plane
    lines: list[tuple[np.ndarray, Colour, float, bool]] = field(default_factory=list)
    colours: Float[np.ndarray, "r c 3"] | None = None


class Canvas:
    """Collects rows of panels and paints them. ``scale``: pixels per mm, the same for all panels."""

    def __init__(self, planes: Sequence[Plane], width_px: int) -> None:
        sizes = [plane.size_mm for plane in planes]
        room = width_px - 2 * MARGIN - GAP * (len(planes) - 1)
        narrowest = min(width for width, _ in sizes)
        self._bar_mm = bar_length_mm(narrowest)
        self.scale = min(
            room / sum(width for width, _ in sizes),
            TALLEST_PX / max(height for _, height in sizes),
            LARGEST_SCALE,
            LARGEST_VOXEL_PX / min(step for plane in planes for step in plane.spacing_mm),
        )
        self._rows: list[tuple[str, list[Panel]]] = []

    def add_row(self, title: str, panels: list[Panel]) -> None:
        """Put a row below the others."""
        self._rows.append((title, panels))

    def finish(self, legend: Sequence[tuple[str, Colour, bool]]) -> Image.Image:
        """Paint everything."""
        widths = [sum(panel.grey.shape[1] for panel in panels) + GAP * (len(panels) - 1) for _, panels in self._rows]
        heights = [max(panel.grey.shape[0] for panel in panels) for _, panels in self._rows]
        font = ImageFont.load_default(size=15)
        width = max(*widths, 420) + 2 * MARGIN if len(widths) > 1 else max(widths[0], 420) + 2 * MARGIN
        entries = _legend_lines(legend, font, width - 2 * MARGIN) if legend else []
        height = MARGIN + sum(part + 62 for part in heights) + 24 * len(entries) + (MARGIN if entries else 0)
        sheet = Image.new("RGB", (width, height), GROUND)
        pen = ImageDraw.Draw(sheet)
        top = MARGIN
        for (title, panels), tall in zip(self._rows, heights, strict=True):
            pen.text((MARGIN, top), title, fill=INK, font=ImageFont.load_default(size=18))
            top += 30
            left = MARGIN
            for panel in panels:
                picture = self._paint(panel)
                sheet.paste(picture, (left, top + (tall - picture.height) // 2))
                pen.text(
                    (left + picture.width / 2, top + (tall + picture.height) // 2 + 5),
                    _caption(panel.plane),
                    fill=FAINT,
                    font=font,
                    anchor="ma",
                )
                left += picture.width + GAP
            top += tall + 32
        for line in entries:
            across: float = MARGIN
            for name, colour, dashed in line:
                _swatch(pen, across, top + 10, colour, dashed)
                pen.text((across + 34, top + 10), name, fill=INK, font=font, anchor="lm")
                across += _entry_width(name, font)
            top += 24
        return sheet

    def _paint(self, panel: Panel) -> Image.Image:
        shown = panel.grey if panel.colours is None else panel.colours
        picture = Image.fromarray(np.round(shown * 255).astype(np.uint8)).convert("RGB")
        # one coverage mask per colour: averaging colours over black would darken every line
        for key in dict.fromkeys((colour, width, dashed) for _, colour, width, dashed in panel.lines):
            colour, width, dashed = key
            cover = Image.new("L", (picture.width * FINER, picture.height * FINER), 0)
            pen = ImageDraw.Draw(cover)
            for line, *style in panel.lines:
                if tuple(style) == key:
                    for piece in _dashes(line) if dashed else [line]:
                        _stroke(pen, (piece[:, ::-1] + 0.5) * FINER, max(1, round(width * FINER)))
            picture.paste(colour, mask=cover.reduce(FINER))
        self._letters(picture, panel.plane)
        self._scale_bar(picture)
        return picture

    def _letters(self, picture: Image.Image, plane: Plane) -> None:
        width, height = picture.size
        font = ImageFont.load_default(size=16)
        pen = ImageDraw.Draw(picture)
        left, right, top, bottom = plane.letters
        places = (
            (left, (7, height / 2), "lm"),
            (right, (width - 7, height / 2), "rm"),
            (top, (width / 2, 5), "ma"),
            (bottom, (width / 2, height - 6), "md"),
        )
        for letter, place, anchor in places:
            pen.text(place, letter, fill=INK, font=font, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))

    def _scale_bar(self, picture: Image.Image) -> None:
        length = round(self._bar_mm * self.scale)
        pen = ImageDraw.Draw(picture)
        right, bottom = picture.width - 9, picture.height - 9
        pen.rectangle((right - length - 1, bottom - 4, right + 1, bottom + 1), fill=(0, 0, 0))
        pen.rectangle((right - length, bottom - 3, right, bottom), fill=INK)
        text = f"{self._bar_mm:g} mm"
        pen.text(
            (right - length / 2, bottom - 7),
            text,
            fill=INK,
            font=ImageFont.load_default(size=12),
            anchor="md",
            stroke_width=2,
            stroke_fill=(0, 0, 0),
        )


def _stroke(pen: ImageDraw.ImageDraw, points: Float[np.ndarray, "n 2"], width: int) -> None:
    """A line through (column, row) points, round where it turns: Pillow would do that at every point, and takes its time."""
    pen.line(points.ravel().tolist(), fill=255, width=width)
    ways = np.diff(points, axis=0)
    angle = np.arctan2(ways[:, 1], ways[:, 0])
    turn = np.abs((np.diff(angle) + np.pi) % (2 * np.pi) - np.pi)
    for x, y in points[1:-1][turn > _SHARP]:
        pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)


def bar_length_mm(width_mm: float) -> float:
    """A round length of at most a third of the width: 1, 2 or 5 times a power of ten."""
    third = width_mm / 3
    power = 10.0 ** np.floor(np.log10(third))
    return float(next(step * power for step in (5, 2, 1) if step * power <= third * (1 + 1e-9)))


def _caption(plane: Plane) -> str:
    return f"{plane.name}, slice {plane.box[plane.normal].start + 1} of {plane.slices}"


def _dashes(line: np.ndarray, on: float = 6.0, off: float = 4.0) -> list[np.ndarray]:
    """Pieces of a line, in pixels."""
    step = np.linalg.norm(np.diff(line, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(step)])
    pieces = []
    for start in np.arange(0, at[-1], on + off):
        stop = min(start + on, at[-1])
        inner = at[(at > start) & (at < stop)]
        places = np.concatenate([[start], inner, [stop]])
        pieces.append(np.stack([np.interp(places, at, line[:, n]) for n in range(2)], axis=1))
    return pieces


def _swatch(pen: ImageDraw.ImageDraw, left: float, middle: float, colour: Colour, dashed: bool) -> None:
    for start, stop in ((0, 8), (10, 18), (20, 26)) if dashed else ((0, 26),):
        pen.rectangle((left + start, middle - 1, left + stop, middle + 1), fill=colour)


def _entry_width(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> float:
    return 34 + font.getlength(name) + 22


def _legend_lines(
    legend: Sequence[tuple[str, Colour, bool]], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float
) -> list[list[tuple[str, Colour, bool]]]:
    """Entries broken into lines that fit."""
    lines: list[list[tuple[str, Colour, bool]]] = [[]]
    used = 0.0
    for entry in legend:
        needed = _entry_width(entry[0], font)
        if lines[-1] and used + needed > room:
            lines.append([])
            used = 0.0
        lines[-1].append(entry)
        used += needed
    return lines
