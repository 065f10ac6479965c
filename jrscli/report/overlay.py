"""The overlay: edges of the moved image, and outlines of structures, on the fixed image in three planes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32
from PIL import Image
from scipy.ndimage import map_coordinates
from skimage.measure import find_contours

from jrscli.errors import GeometryError
from jrscli.report.canvas import Canvas, Colour, Panel
from jrscli.report.edges import Line, edge_lines, edge_strength
from jrscli.report.planes import Plane, choose_planes, content_of
from jrscli.spatial.volume import Volume

CT_BELOW_HU = -500
SOFT_TISSUE_HU = (-160.0, 240.0)
EDGE_COLOURS: tuple[Colour, ...] = ((255, 178, 43), (70, 215, 255), (255, 110, 205))
LEAST_LIGHT = 90
_STRIDE_VOXELS = 2_000_000
_MUCH_FINER = 16
_SIGMA_PX = 2.0
"""How much a picture is smoothed before its edges are looked for, where it has pixels to spare."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A structure to outline.

    mask: on the grid of the fixed image. name: for the legend; leave it empty where names must not be shown.
    row: in which row it is drawn. dashed: a second opinion (a reference, a network) beside the solid one.
    """

    mask: Bool[np.ndarray, "i j k"]
    colour: Colour
    name: str = ""
    row: Literal["before", "after", "both"] = "both"
    dashed: bool = False


def draw_overlay(
    fixed: Volume,
    moved: Volume | None,
    *,
    before: Volume | None = None,
    contours: Sequence[Outline] = (),
    window: tuple[float, float] | None = None,
    width_px: int = 1500,
) -> bytes:
    """A PNG: the fixed image in grey with the edges of ``moved`` on it, axial, coronal and sagittal, all at one scale.

    moved: the moving image on the grid of the fixed one; None for contours alone.
    before: the moving image on the grid of the fixed one without registration; it makes a first row to compare with.
    window: grey values of the fixed image that become black and white; by default `display_window`.
    The picture holds no text from the files but the names in ``contours``.

    Raises GeometryError `grid.mismatch` unless all images and masks lie on the grid of ``fixed``.
    """
    _check(fixed, moved, before, contours)
    low, high = window or display_window(fixed)
    drawn = [outline.mask for outline in contours if outline.mask.any()]
    planes = choose_planes(fixed.geometry, content_of(fixed.array, low, high), drawn)
    rows: list[tuple[Literal["before", "after"], Volume | None]] = [("after", moved)]
    if before is not None:
        rows.insert(0, ("before", before))
    canvas = Canvas(planes, width_px)
    edge_colour = _apart([outline.colour for outline in contours])
    greys = [picture_of(plane, fixed.array, (low, high), canvas.scale) for plane in planes]
    styles = [] if moved is None else [_EdgeStyle.of(plane, moved, canvas.scale) for plane in planes]
    for row, image in rows:
        limits = None if image is None else display_window(image)
        panels = []
        for n, (plane, grey) in enumerate(zip(planes, greys, strict=True)):
            panel = Panel(grey, plane)
            if image is not None and limits is not None:
                edges = styles[n].lines(picture_of(plane, image.array, limits, styles[n].scale))
                panel.lines += [(line, edge_colour, 1.3, False) for line in edges]
            for outline in contours:
                if outline.row in (row, "both"):
                    lines = _outline(plane, outline.mask, canvas.scale)
                    panel.lines += [(line, readable(outline.colour), 1.8, outline.dashed) for line in lines]
            panels.append(panel)
        canvas.add_row(_title(row, before is not None) if moved is not None else "contours on the image", panels)
    legend = [("edges of the moving image", edge_colour, False)] if moved is not None else []
    legend += [(outline.name, readable(outline.colour), outline.dashed) for outline in contours if outline.name]
    picture = canvas.finish(list(dict.fromkeys(legend)))
    return _png(picture)


def display_window(volume: Volume) -> tuple[float, float]:
    """Grey values that become black and white: soft tissue for CT (values below −500), else the 1st and 99th percentile.

    Voxels of the lowest value are left out: cropped images are padded with it.
    """
    values = volume.array.ravel(order="K")
    values = values[:: max(1, values.size // _STRIDE_VOXELS)]
    if values.min() < CT_BELOW_HU:
        return SOFT_TISSUE_HU
    bright = values[values > values.min()]
    low, high = np.percentile(bright if bright.size else values, (1, 99))
    if high <= low:  # one value in front of nothing: a mask, a phantom
        low, high = float(values.min()), float(values.max())
    return float(low), float(high if high > low else low + 1)


def readable(colour: Colour) -> Colour:
    """The colour, with white mixed in if it could not be seen on black: structure sets are full of navy and dark green."""
    light = 0.21 * colour[0] + 0.72 * colour[1] + 0.07 * colour[2]
    share = (LEAST_LIGHT - light) / (255 - light) if light < LEAST_LIGHT else 0.0
    red, green, blue = (round(part + share * (255 - part)) for part in colour)
    return red, green, blue


def _apart(taken: Sequence[Colour]) -> Colour:
    """The first colour for edges that no outline comes close to, or the one farthest from them all."""
    distance = {one: min((math.dist(one, readable(other)) for other in taken), default=math.inf) for one in EDGE_COLOURS}
    return next((one for one in EDGE_COLOURS if distance[one] > 110), max(EDGE_COLOURS, key=lambda one: distance[one]))


@dataclass(frozen=True)
class _EdgeStyle:
    """How edges of one plane are found: by the registered image, and alike in every row, so that rows can be compared.

    scale: pixels per mm of the picture in which they are looked for. finer: how much finer the picture is that they are drawn
    on. The other figures are in pixels of the former.
    """

    scale: float
    finer: float
    sigma_px: float
    weak: float
    strong: float
    shortest_px: float

    @staticmethod
    def of(plane: Plane, image: Volume, scale: float) -> _EdgeStyle:
        # at least the finer voxel size, or edges would follow the steps of the interpolation
        sigma = max(1.5, 0.8 * scale * min(plane.spacing_mm))
        # what is smoothed that much needs no more pixels: a small image on a large sheet has its edges a good deal sooner
        finer = max(1.0, sigma / _SIGMA_PX)
        picture = picture_of(plane, image.array, display_window(image), scale / finer)
        strength = edge_strength(picture, sigma / finer)
        # a share of the picture, but never so little that noise is drawn where there are few edges
        usual, best = np.percentile(strength, (86, 99.5))
        strong = max(float(usual), 0.12 * float(best), 1e-6)
        return _EdgeStyle(scale / finer, finer, sigma / finer, 0.5 * strong, strong, max(14.0, 5 * sigma) / finer)

    def lines(self, picture: Float[np.ndarray, "r c"]) -> list[Line]:
        """The edges, in pixels of the picture that they are drawn on."""
        found = edge_lines(picture, self.sigma_px, self.weak, self.strong, self.shortest_px)
        return [(line + 0.5) * self.finer - 0.5 for line in found]


def picture_of(plane: Plane, array: np.ndarray, window: tuple[float, float], scale: float) -> Float[np.ndarray, "r c"]:
    """A slice at display resolution, 0 = black, 1 = white."""
    low, high = window
    part = np.clip((plane.cut(array).astype(np.float32) - low) / (high - low), 0, 1)
    width, height = (max(1, round(size * scale)) for size in plane.size_mm)
    rows = (np.arange(height) + 0.5) / scale / plane.spacing_mm[1] - 0.5
    columns = (np.arange(width) + 0.5) / scale / plane.spacing_mm[0] - 0.5
    order = 3 if min(part.shape) > 3 else 1
    if width * height > _MUCH_FINER * part.size:  # a spline on a grid is one along each axis: sooner where samples are few
        return np.clip(_weights(part.shape[0], rows, order) @ part @ _weights(part.shape[1], columns, order).T, 0, 1)
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.clip(map_coordinates(part, grid, order=order, mode="nearest"), 0, 1)


def _weights(count: int, places: Float[np.ndarray, " n"], order: int) -> Float32[np.ndarray, "n count"]:
    """What each of ``count`` samples contributes to a spline through them at each place."""
    ones, grid = np.eye(count, dtype=np.float32), np.meshgrid(places, np.arange(count), indexing="ij")
    return map_coordinates(ones, grid, order=order, mode="nearest")


def _outline(plane: Plane, mask: np.ndarray, scale: float) -> list[Line]:
    """The outline of a mask, in pixels of the picture; beyond the part shown is background, so the outline closes there."""
    part = np.pad(plane.cut(mask).astype(np.float32), 1)
    steps = np.array(plane.spacing_mm[::-1]) * scale
    return [(line - 0.5) * steps - 0.5 for line in find_contours(part, 0.5)]


def _title(row: str, both: bool) -> str:
    if not both:
        return "edges of the warped image on the fixed image"
    return "before registration" if row == "before" else "after registration"


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=2)
    return buffer.getvalue()


def _check(fixed: Volume, moved: Volume | None, before: Volume | None, contours: Sequence[Outline]) -> None:
    same = all(image.geometry.matches(fixed.geometry) for image in (moved, before) if image is not None)
    if not same or any(outline.mask.shape != fixed.geometry.shape for outline in contours):
        raise GeometryError(
            "the pictures to lay over each other are on different grids",
            code="grid.mismatch",
            hint="resample everything onto the grid of the fixed image first",
        )
