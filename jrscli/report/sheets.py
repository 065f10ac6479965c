"""Sheets: one row of planes each, as a picture for the report. Letters, scale bar and slice number stand on every panel."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image
from skimage.measure import find_contours

from jrscli.report.canvas import Canvas, Colour, Panel
from jrscli.report.overlay import display_window, picture_of, readable
from jrscli.report.planes import Plane
from jrscli.report.regions import Region
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

WIDTH_PX = 1150
QUALITY = 84
CHECKS = 8
MOST_POINTS = 150_000
FOLD: Colour = (235, 30, 45)
GRID: Colour = (120, 215, 255)
GRID_LINES = 18
"""About so many lines of the deformation grid across a plane."""


def contour_sheet(
    image: Volume,
    planes: Sequence[Plane],
    regions: Sequence[Region],
    title: str,
    second: str = "",
    window: tuple[float, float] | None = None,
) -> bytes:
    """The image with the outlines of the regions, solid and dashed.

    second: what the dashed ones are called in the legend; "" for no legend. window: the grey values that are black and white.
    """

    def paint(panel: Panel, scale: float) -> None:
        panel.lines += [
            (line, readable(region.colour), 1.8, region.dashed)
            for region in regions
            for line in _outline(panel.plane, region, scale)
        ]

    solid = [(region.name, readable(region.colour), False) for region in regions if not region.dashed]
    dashed = [(second, readable(region.colour), True) for region in regions if region.dashed]
    return _sheet(image, planes, title, paint, list(dict.fromkeys(solid + dashed)) if second else [], window)


def grey_sheet(image: Volume, planes: Sequence[Plane], title: str, window: tuple[float, float] | None = None) -> bytes:
    """The image alone."""
    return _sheet(image, planes, title, lambda panel, scale: None, [], window)


def checkerboard_sheet(fixed: Volume, moved: Volume, planes: Sequence[Plane], title: str) -> bytes:
    """Fields of both images in turn: lines that go on across the fields are in the same place."""
    window = display_window(moved)

    def paint(panel: Panel, scale: float) -> None:
        other = picture_of(panel.plane, moved.array, window, scale)
        side = max(other.shape) / CHECKS
        rows, columns = (np.arange(n) // side for n in other.shape)
        odd = (rows[:, None] + columns[None, :]) % 2 == 1
        panel.grey = np.where(odd, other, panel.grey)

    return _sheet(fixed, planes, title, paint, [])


def difference_sheet(fixed: Volume, moved: Volume, planes: Sequence[Plane], title: str) -> bytes:
    """Fixed minus moved in the window of the fixed image: middle grey is no difference."""
    low, high = display_window(fixed)
    reach = (high - low) / 2

    def paint(panel: Panel, scale: float) -> None:
        both = [picture_of(panel.plane, image.array, (low - reach, high + reach), scale) for image in (fixed, moved)]
        panel.grey = np.clip(0.5 + (both[0] - both[1]), 0, 1)

    return _sheet(fixed, planes, title, paint, [])


def jacobian_sheet(fixed: Volume, planes: Sequence[Plane], jacobian: Volume, title: str) -> bytes:
    """Local volume change over the fixed image: blue grew, orange shrank on its way from the moving image; folds are red."""

    def paint(panel: Panel, scale: float) -> None:
        value = _sampled(panel, fixed.geometry, jacobian, scale)
        change = np.clip(np.log2(np.maximum(value, 1e-3)), -1, 1)
        warm, cold = np.array((1.0, 0.62, 0.1)), np.array((0.2, 0.55, 1.0))
        tint = np.where((change > 0)[..., None], warm, cold)
        share = (0.85 * np.abs(change))[..., None]
        panel.colours = panel.grey[..., None] * (1 - share) + tint * share
        panel.colours[value <= 0] = np.array(FOLD) / 255

    legend: list[tuple[str, Colour, bool]] = [
        ("shrank (J = 2)", (255, 158, 26), False),
        ("grew (J = 0.5)", (51, 140, 255), False),
        ("folded (J <= 0)", FOLD, False),
    ]
    return _sheet(fixed, planes, title, paint, legend)


def error_sheet(fixed: Volume, planes: Sequence[Plane], error_mm: Volume, limit_mm: float, title: str) -> bytes:
    """A length at each point over the fixed image, from nothing (grey) to yellow at ``limit_mm`` and red at twice that."""

    def paint(panel: Panel, scale: float) -> None:
        share = np.clip(_sampled(panel, fixed.geometry, error_mm, scale) / limit_mm, 0, 2)[..., None]
        tint = np.where(share > 1, np.array((0.95, 0.2, 0.15)), np.array((1.0, 0.85, 0.1)))
        weight = 0.8 * np.minimum(share, 1)
        panel.colours = panel.grey[..., None] * (1 - weight) + tint * weight

    legend: list[tuple[str, Colour, bool]] = [
        (f"{limit_mm:.3g} mm", (255, 217, 26), False),
        (f"more than {limit_mm:.3g} mm", (242, 51, 38), False),
    ]
    return _sheet(fixed, planes, title, paint, legend)


def grid_sheet(fixed: Volume, planes: Sequence[Plane], transform: Transform, title: str) -> bytes:
    """Lines that are straight in the fixed image, drawn where the transform puts them (its movement within the plane)."""

    def paint(panel: Panel, scale: float) -> None:
        panel.grey = panel.grey * 0.55
        panel.lines += [(line, GRID, 1.2, False) for line in _grid_lines(panel.plane, fixed.geometry, transform, scale)]

    return _sheet(fixed, planes, title, paint, [])


def _sheet(
    image: Volume,
    planes: Sequence[Plane],
    title: str,
    paint: Callable[[Panel, float], None],
    legend: Sequence[tuple[str, Colour, bool]],
    window: tuple[float, float] | None = None,
) -> bytes:
    canvas = Canvas(planes, WIDTH_PX)
    limits = window or display_window(image)
    panels = []
    for plane in planes:
        panel = Panel(picture_of(plane, image.array, limits, canvas.scale), plane)
        paint(panel, canvas.scale)
        panels.append(panel)
    canvas.add_row(title, panels)
    return jpeg(canvas.finish(legend))


def jpeg(picture: Image.Image) -> bytes:
    """The picture as JPEG; a report has tens of them and PNG would be five times as large."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


def _outline(plane: Plane, region: Region, scale: float) -> list[np.ndarray]:
    mask = region.cut(plane)
    if mask is None or not mask.any():
        return []
    steps = np.array(plane.spacing_mm[::-1]) * scale
    return [(line - 0.5) * steps - 0.5 for line in find_contours(np.pad(mask.astype(np.float32), 1), 0.5)]


def _sampled(panel: Panel, geometry: Geometry, values: Volume, scale: float) -> Float[np.ndarray, "r c"]:
    """The values at each pixel of a panel, from their own grid, linear."""
    from scipy.ndimage import map_coordinates

    points, shape = _pixels(panel.plane, geometry, panel.grey.shape, scale)
    index = values.geometry.world_to_index(points).T
    return map_coordinates(values.array, index, order=1, mode="nearest").reshape(shape).astype(np.float64)


def _pixels(plane: Plane, geometry: Geometry, shape: tuple[int, ...], scale: float) -> tuple[np.ndarray, tuple[int, ...]]:
    """The patient points of the pixels of a panel."""
    rows = (np.arange(shape[0]) + 0.5) / scale / plane.spacing_mm[1] - 0.5
    columns = (np.arange(shape[1]) + 0.5) / scale / plane.spacing_mm[0] - 0.5
    r, c = np.meshgrid(rows, columns, indexing="ij")
    return geometry.index_to_world(_index(plane, r.ravel(), c.ravel())), shape


def _index(plane: Plane, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Voxel indices of places in a plane, counted in voxels down and to the right."""
    index = np.empty((len(rows), 3))
    index[:, plane.normal] = plane.box[plane.normal].start
    for (axis, way), along in ((plane.down, rows), (plane.right, columns)):
        box = plane.box[axis]
        index[:, axis] = box.start + along if way > 0 else box.stop - 1 - along
    return index


def _grid_lines(plane: Plane, geometry: Geometry, transform: Transform, scale: float) -> list[np.ndarray]:
    size = [plane.box[axis].stop - plane.box[axis].start for axis in (plane.down[0], plane.right[0])]
    step_mm = max(plane.size_mm) / GRID_LINES
    steps = [max(step_mm / mm, 1.0) for mm in plane.spacing_mm[::-1]]
    lines = []
    for along, across in ((0, 1), (1, 0)):
        fine = np.linspace(0, size[along] - 1, 120)
        for place in np.arange(steps[across] / 2, size[across] - 1, steps[across]):
            both = [fine, np.full(len(fine), place)] if along == 0 else [np.full(len(fine), place), fine]
            index = _index(plane, both[0], both[1])
            moved = geometry.world_to_index(transform.map_points(geometry.index_to_world(index)))
            down, right = (_place(moved[:, axis], plane.box[axis], way) for axis, way in (plane.down, plane.right))
            lines.append(
                np.stack([(down + 0.5) * plane.spacing_mm[1] * scale, (right + 0.5) * plane.spacing_mm[0] * scale], axis=1)
            )
    return lines


def _place(index: np.ndarray, box: slice, way: int) -> np.ndarray:
    return index - box.start if way > 0 else box.stop - 1 - index


def jacobian_of(transform: Transform, geometry: Geometry) -> Volume:
    """The determinant of a transform on a grid, as a volume to draw."""
    field = transform.displacement(geometry) if not _is_field(transform, geometry) else transform.parts[0]
    if not isinstance(field, DisplacementField):
        raise AssertionError
    return Volume(field.jacobian().astype(np.float32), geometry)


def error_of(transform: Transform, inverse: Transform, geometry: Geometry) -> Volume:
    """How far points end from where they were after both maps, mm, on a coarser grid of the same place."""
    spacing = list(geometry.spacing_mm)
    while np.prod(geometry.with_spacing((spacing[0], spacing[1], spacing[2])).shape) > MOST_POINTS:
        spacing = [1.2 * one for one in spacing]
    coarse = geometry.with_spacing((spacing[0], spacing[1], spacing[2]))
    points = coarse.index_to_world(np.moveaxis(np.indices(coarse.shape), 0, -1).reshape(-1, 3))
    error = np.linalg.norm(inverse.map_points(transform.map_points(points)) - points, axis=1)
    return Volume(error.reshape(coarse.shape).astype(np.float32), coarse)


def _is_field(transform: Transform, geometry: Geometry) -> bool:
    first = transform.parts[0]
    return len(transform.parts) == 1 and isinstance(first, DisplacementField) and first.geometry.matches(geometry)
