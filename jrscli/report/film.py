"""The film of a cine: its frames with their contours, to play or to step through, and the volumes over time."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np

from jrscli.metrics.evaluation import Evaluation
from jrscli.report import sheets
from jrscli.report.canvas import Colour
from jrscli.report.overlay import display_window, readable
from jrscli.report.planes import Plane, choose_planes, content_of
from jrscli.report.regions import Region, planes_through
from jrscli.spatial.volume import Volume

MOST_FRAMES = 40
"""A longer cine is shown with every second, third … frame."""
SLICES = (0.75, 0.5, 0.25)
WIDTH, HEIGHT, MARGIN = 640, 240, 44


def film_html(frames: Sequence[Volume], regions: Sequence[Sequence[Region]], labelled: int) -> str:
    """The pictures of all frames, one shown at a time, with a button to play and a slider.

    regions: those of each frame, on its grid. labelled: the frame whose contours were given. Three slices across the thickest
    axis are shown, through the contours of that frame.
    """
    step = -(-len(frames) // MOST_FRAMES)
    shown = [n for n in range(len(frames)) if n % step == 0]
    planes = _planes(frames[labelled], regions[labelled])
    window = display_window(frames[labelled])
    pictures = []
    for n in shown:
        title = f"frame {n}" + (", as it was drawn" if n == labelled else "")
        data = sheets.contour_sheet(frames[n], planes, regions[n], title, window=window)
        hidden = "" if n == shown[0] else " hidden"
        source = base64.b64encode(data).decode()
        pictures.append(f'<img alt="{title}"{hidden} src="data:image/jpeg;base64,{source}">')
    skipped = f" Every {step}. frame is shown." if step > 1 else ""
    return (
        '<figure class="film"><div class="controls" hidden><button type="button" aria-pressed="false">play</button>'
        f'<input type="range" aria-label="frame" min="0" max="{len(shown) - 1}" value="0"></div>{"".join(pictures)}'
        f"<figcaption>The contours on every frame of the cine; those of frame {labelled} were given, the others were carried "
        f"from it.{skipped}</figcaption></figure>"
    )


def curves_svg(beat: Evaluation, colours: Sequence[Colour]) -> str:
    """The volume of each structure in each frame, ml, as lines; end-diastole and end-systole as dots."""
    lines = [(row, [float(v) for v in volumes]) for row in beat.rows if isinstance(volumes := row.details["volumes_ml"], list)]
    top = max((max(volumes) for _, volumes in lines), default=0.0)
    if top <= 0:
        return ""
    last = max(len(volumes) for _, volumes in lines) - 1
    step = _round_step(top)

    def x(frame: float) -> float:
        return MARGIN + frame / max(last, 1) * (WIDTH - 2 * MARGIN)

    def y(volume: float) -> float:
        return HEIGHT - MARGIN - volume / (step * np.ceil(top / step)) * (HEIGHT - 1.5 * MARGIN)

    parts = []
    for volume in np.arange(0, top + step, step):
        parts.append(f'<line class="grid" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y(volume):.1f}" y2="{y(volume):.1f}"/>')
        parts.append(f'<text x="{MARGIN - 6}" y="{y(volume) + 4:.1f}" text-anchor="end">{volume:g}</text>')
    parts += [
        f'<text x="{x(frame):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{frame}</text>'
        for frame in range(0, last + 1, max(1, -(-last // 10)))
    ]
    for (row, volumes), colour in zip(lines, colours, strict=True):
        ink = f"rgb{colour}".replace(" ", "")
        points = " ".join(f"{x(n):.1f},{y(volume):.1f}" for n, volume in enumerate(volumes))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="2"/>')
        for end in ("end_diastole", "end_systole"):
            n = row.details.get(end)
            if isinstance(n, int):
                parts.append(f'<circle cx="{x(n):.1f}" cy="{y(volumes[n]):.1f}" r="4" fill="{ink}"/>')
    keys = "".join(
        f'<span><i style="background:rgb{colour}"></i>{escape(row.title)}</span>'
        for (row, _), colour in zip(lines, colours, strict=True)
    )
    unit = f'<text x="{MARGIN}" y="12" text-anchor="middle">ml</text>'
    axis = f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">frame</text>'
    return (
        f'<figure class="curves"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="volume of each structure in each '
        f'frame">{"".join(parts)}{axis}{unit}</svg><p class="keys">{keys}</p><figcaption>Volume of each structure; '
        "dots: its largest and its smallest.</figcaption></figure>"
    )


def colours_of(beat: Evaluation, regions: Sequence[Sequence[Region]]) -> list[Colour]:
    """The colour that each structure of the beat is drawn in."""
    known = {region.name: readable(region.colour) for frame in regions for region in frame}
    return [known.get(row.name, (128, 128, 128)) for row in beat.rows]


def _planes(frame: Volume, regions: Sequence[Region]) -> list[Plane]:
    """The plane across the thickest axis, three times: through a quarter, the middle and three quarters of the contours."""
    low, high = display_window(frame)
    planes = choose_planes(frame.geometry, content_of(frame.array, low, high))
    plane = max(planes, key=lambda one: frame.geometry.spacing_mm[one.normal])
    lower = min((region.lower[plane.normal] for region in regions), default=0)
    upper = max(
        (region.lower[plane.normal] + region.mask.shape[plane.normal] for region in regions),
        default=frame.geometry.shape[plane.normal],
    )
    places = dict.fromkeys(lower + round(share * (upper - 1 - lower)) for share in SLICES)
    index = [0, 0, 0]
    found = []
    for place in places:
        index[plane.normal] = place
        found += planes_through([plane], (index[0], index[1], index[2]), regions, frame.geometry.shape)
    return found


def _round_step(top: float) -> float:
    """A round distance between lines, of which four or so reach the top: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(top / 4))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= top / 4))
