"""The film of a cine."""

import numpy as np
import pytest

from jrscli.metrics.evaluation import Evaluation
from jrscli.report.film import MOST_FRAMES, colours_of, curves_svg, film_html
from jrscli.report.overlay import display_window
from jrscli.report.page import Page, render
from jrscli.report.regions import Region
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.evaluate_beat import describe_beat

GRID = Geometry((24, 20, 6), np.diag([2.0, 2.0, 8.0, 1.0]))
NAME = "left <b>ventricle"


def heart(frame: int) -> tuple[Volume, list[Region], LabelMap]:
    mask = np.zeros(GRID.shape, np.bool_)
    mask[6 : 18 - frame % 4, 5:15, 1:5] = True
    region = Region(NAME, mask[6:18, 5:15, 1:5], (6, 5, 1), (255, 80, 80))
    return Volume(mask * 100.0 + np.arange(6), GRID), [region], LabelMap(mask.astype(np.uint8), GRID, {1: NAME})


def film(count: int, labelled: int = 0) -> str:
    hearts = [heart(n) for n in range(count)]
    return film_html([one[0] for one in hearts], [one[1] for one in hearts], labelled)


def beat(count: int) -> tuple[Evaluation, str]:
    hearts = [heart(n) for n in range(count)]
    found = describe_beat([one[2] for one in hearts])
    return found, curves_svg(found, colours_of(found, [one[1] for one in hearts]))


def test_every_frame_is_there_and_the_drawn_one_is_named():
    html = film(4, labelled=2)
    assert html.count("<img ") == 4
    assert 'alt="frame 2, as it was drawn"' in html
    assert html.count(" hidden src=") == 3


def test_a_long_cine_is_thinned_and_says_so(monkeypatch):
    monkeypatch.setattr("jrscli.report.film.sheets.contour_sheet", lambda *args, **more: b"jpeg")
    html = film(MOST_FRAMES + 1)
    assert html.count("<img ") == 21
    assert "Every 2. frame is shown." in html


def test_all_frames_have_the_grey_values_of_the_drawn_one(monkeypatch):
    windows = []
    monkeypatch.setattr("jrscli.report.film.sheets.contour_sheet", lambda *args, window: windows.append(window) or b"jpeg")
    hearts = [heart(n) for n in range(3)]
    frames = [Volume(one[0].array * (n + 1), GRID) for n, one in enumerate(hearts)]
    film_html(frames, [one[1] for one in hearts], 1)
    # a film whose frames were each brightened by themselves would flicker
    assert windows == [display_window(frames[1])] * 3


def test_the_curve_passes_through_the_volumes():
    found, svg = beat(4)
    assert svg.count("<polyline") == 1
    assert svg.count("<circle") == 2
    heights = [float(point.split(",")[1]) for point in svg.split('points="')[1].split('"')[0].split()]
    volumes = found.rows[0].details["volumes_ml"]
    assert np.corrcoef(heights, volumes)[0, 1] == pytest.approx(-1, abs=1e-4)
    assert "<b>" not in svg


def test_nothing_to_draw_is_no_picture():
    empty = describe_beat([LabelMap(np.zeros(GRID.shape, np.uint8), GRID)] * 2)
    assert curves_svg(empty, []) == ""


def test_the_film_plays_and_can_be_stepped_through(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_bytes(render(Page("cine", None, "1.0", "", film=film(3) + beat(3)[1])))
    browser.open(path)
    shown = "[...document.querySelectorAll('.film img')].map(one => getComputedStyle(one).display !== 'none').join()"
    assert browser.evaluate(shown) == "true,false,false"
    browser.evaluate("var s = document.querySelector('.film input'); s.value = 2; s.dispatchEvent(new Event('input'))")
    assert browser.evaluate(shown) == "false,false,true"
    browser.evaluate("document.querySelector('.film button').click()")
    browser.wait(f"{shown} === 'true,false,false'", 5)
    browser.wait(f"{shown} === 'false,true,false'", 5)
    browser.evaluate("document.querySelector('.film button').click()")
    assert browser.evaluate("document.querySelector('.film button').textContent") == "play"
    assert browser.problems == []
