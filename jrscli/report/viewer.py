"""The viewer tab: NiiVue and the volumes, inside the page, to scroll through fixed, moved and contours without a network.

Volumes are cropped to what was pictured, made coarser until they fit, and 8-bit; they and the program are packed, and unpacked
by the browser when a person opens the tab.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from importlib import resources

import numpy as np

from jrscli.metrics.added_path import contour_pixels
from jrscli.report.canvas import Colour
from jrscli.report.overlay import display_window, readable
from jrscli.report.regions import Region
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample
from jrscli.spatial.volume import LabelMap, Volume

MOST_VOXELS = 2_500_000
MARGIN_MM = 20.0


def viewer_volumes(
    fixed: Volume, moved: Volume | None, regions: Sequence[Region], content: tuple[slice, slice, slice]
) -> list[tuple[str, Volume | LabelMap]]:
    """What the viewer shows, by name: 8-bit copies on one coarser grid round the content, and the contours as labels.

    Dashed regions (a reference) are labels of their own after the solid ones.
    """
    geometry = _small(fixed.geometry, content)
    named: list[tuple[str, Volume | LabelMap]] = [("fixed", _grey(fixed, geometry))]
    if moved is not None:
        named.append(("moved", _grey(moved, geometry)))
    for name, dashed in (("contours", False), ("reference", True)):
        chosen = [region for region in regions if region.dashed == dashed]
        if chosen:
            named.append((name, _labels(chosen, fixed.geometry, geometry)))
    return named


def viewer_html(packed: Sequence[tuple[str, bytes]], regions: Sequence[Region]) -> str:
    """The tab: ``packed`` are the volumes of `viewer_volumes` as .nii.gz bytes."""
    colours = {name: _table([r for r in regions if r.dashed == (name == "reference")]) for name, _ in packed}
    data = {
        "volumes": [
            {"name": name, "data": base64.b64encode(content).decode(), "labels": colours[name] if name in _OVERLAYS else None}
            for name, content in packed
        ]
    }
    library = base64.b64encode(_asset("niivue.umd.js.gz")).decode()
    controls = "".join(_control(name) for name, _ in packed if name != "fixed")
    return (
        "<p>Scroll with the wheel, click to move; the images are coarser than the originals. "
        '<button type="button" id="look-open">open the viewer</button></p>'
        f'<div class="bar" id="look-bar" hidden>{controls}</div>'
        '<div id="viewer" hidden><canvas id="look-canvas"></canvas></div>'
        '<p id="look-words" role="status"></p>'
        f'<script type="application/json" id="look-data">{_safe_json(data)}</script>'
        f'<script type="application/octet-stream" id="look-library">{library}</script>'
        f"<script>{_asset('viewer.js').decode()}</script>"
        "<p>Viewer: NiiVue 0.69.0 (BSD-2-Clause), part of this file.</p>"
    )


_OVERLAYS = ("contours", "reference")


def _control(name: str) -> str:
    start = {"moved": 0.0, "contours": 1.0, "reference": 0.6}[name]
    return (
        f"<label>{escape(name)} "
        f'<input type="range" min="0" max="1" step="0.05" value="{start}" data-volume="{escape(name)}"></label>'
    )


def _small(geometry: Geometry, content: tuple[slice, slice, slice]) -> Geometry:
    """A grid round the content with at most 2.5 million voxels of about equal size."""
    margin = [int(np.ceil(MARGIN_MM / s)) for s in geometry.spacing_mm]
    low = [max(part.start - m, 0) for part, m in zip(content, margin, strict=True)]
    high = [min(part.stop + m, n) for part, m, n in zip(content, margin, geometry.shape, strict=True)]
    cropped = geometry.cropped_to((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    spacing = list(cropped.spacing_mm)
    while np.prod(cropped.with_spacing((spacing[0], spacing[1], spacing[2])).shape) > MOST_VOXELS:
        spacing[int(np.argmin(spacing))] *= 1.12
    return cropped.with_spacing((spacing[0], spacing[1], spacing[2]))


def _grey(image: Volume, geometry: Geometry) -> Volume:
    low, high = display_window(image)
    part = resample(image, geometry).array
    return Volume(np.round(np.clip((part - low) / (high - low), 0, 1) * 255).astype(np.uint8), geometry)


def _labels(regions: Sequence[Region], start: Geometry, geometry: Geometry) -> LabelMap:
    """The outlines of the regions, slice by slice, numbered from 1, small ones above large ones."""
    array = np.zeros(geometry.shape, np.uint8)
    order = sorted(range(len(regions)), key=lambda n: -int(np.count_nonzero(regions[n].mask)))
    for n in order[:255]:
        region = regions[n]
        upper = tuple(low + size for low, size in zip(region.lower, region.mask.shape, strict=True))
        box = start.cropped_to(region.lower, (upper[0], upper[1], upper[2]))
        share = resample(Volume(region.mask.astype(np.float32), box), geometry, outside=0.0).array
        rim = contour_pixels(np.pad(share > 0.5, 1))[1:-1, 1:-1, 1:-1]
        array[rim] = n + 1
    return LabelMap(array, geometry)


def _table(regions: Sequence[Region]) -> dict[str, list[int] | list[str]]:
    """The colours of the labels as NiiVue reads them."""
    colours: list[Colour] = [readable(region.colour) for region in regions][:255]
    return {
        "R": [0, *(c[0] for c in colours)],
        "G": [0, *(c[1] for c in colours)],
        "B": [0, *(c[2] for c in colours)],
        "A": [0, *(255 for _ in colours)],
        "I": list(range(len(colours) + 1)),
        "labels": ["", *(region.name for region in regions)][: len(colours) + 1],
    }


def _safe_json(data: object) -> str:
    """JSON that cannot end the script element it stands in, whatever the names of structures are."""
    return json.dumps(data).replace("<", "\\u003c")


def _asset(name: str) -> bytes:
    return resources.files("jrscli.report").joinpath("assets", name).read_bytes()
