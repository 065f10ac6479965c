"""The report in a real Chromium: pictures, flicker, viewer, print, silence; and what stands in it."""

import re
from pathlib import Path

import numpy as np
import pytest

from jrscli.cli import app
from jrscli.io import write_image, write_labels
from jrscli.io.transforms import write_transform
from jrscli.metrics.evaluation import Row
from jrscli.metrics.gates import GateRow, Verdict
from jrscli.report.page import Card, Page, Picture, render
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume

A4_MM = (210, 297)


def heart(beat=0.0):
    """A cardiac phantom, short axis: right ventricle, muscle, left ventricle; ``beat`` from 0 (full) to 1."""
    grid = Geometry((64, 60, 10), np.diag((1.5, 1.5, 8.0, 1.0)))
    points = grid.index_to_world(np.moveaxis(np.indices(grid.shape), 0, -1).reshape(-1, 3)) - grid.centre_mm
    x, y, z = (part.reshape(grid.shape) for part in points.T)
    taper = np.sqrt(np.clip(1 - (z / 50) ** 2, 0.05, 1)) * (1 - 0.22 * beat)
    left, muscle = np.hypot(x, y) < 15 * taper, np.hypot(x, y) < 24 * (0.4 + 0.6 * taper)
    right = (((x + 26) / 17) ** 2 + (y / 20) ** 2 < taper**2) & ~muscle
    labels = np.where(left, 3, np.where(muscle, 2, np.where(right, 1, 0))).astype(np.uint32)
    brightness = np.array([40.0, 180.0, 90.0, 190.0])[labels] + 25 * np.hypot(x, y) / 60
    noise = np.random.default_rng(0).normal(0, 6, grid.shape)
    names = {1: "Right ventricle", 2: "Myocardium", 3: "Left ventricle <b>"}
    return Volume((brightness + noise).astype(np.int16), grid), LabelMap(labels, grid, names)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The report of one phase of a heart against another, with a field."""
    folder = tmp_path_factory.mktemp("heart")
    image, truth = heart()
    write_image(image, folder / "image.nii.gz")
    write_labels(truth, folder / "truth.nii.gz")
    write_labels(heart(0.9)[1], folder / "found.nii.gz")
    u = np.zeros((*image.geometry.shape, 3), np.float32)
    u[20:40, 20:40, 2:8, 0] = 2 * np.sin(np.linspace(0, 2 * np.pi, 20))[:, None, None]
    write_transform(Transform((DisplacementField(u, image.geometry),)), folder / "field.h5")
    words = ["evaluate", "truth.nii.gz", "found.nii.gz", "--reference", "image.nii.gz", "--field", "field.h5"]
    paths = [str(folder / word) if "." in word else word for word in words]
    assert app([*paths, "-o", str(folder / "out"), "-q"]) == 0
    return folder / "out" / "report.html"


def test_report_is_one_small_file(report):
    assert report.stat().st_size < 15_000_000


def test_page_opens_in_silence_and_shows_every_picture(browser, report):
    browser.open(report)
    pictures = browser.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 300)")
    assert len(pictures) >= 6
    assert all(pictures)
    assert browser.evaluate("document.querySelector('header').className") == "banner review"
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.requests == []
    assert browser.problems == []


def test_viewer_opens_and_scrolls_without_a_network(browser, report, tmp_path):
    browser.open(report)
    browser.evaluate("document.getElementById('look-open').click()")
    browser.wait(
        "document.getElementById('viewer').dataset.ready === 'yes' || document.getElementById('look-words').textContent"
    )
    assert browser.evaluate("document.getElementById('look-words').textContent") == ""
    browser.evaluate("document.getElementById('viewer').scrollIntoView({block: 'center'})")
    before = browser.evaluate("[...lookViewer.scene.crosshairPos]")
    first = browser.screenshot(tmp_path / "first.png", whole=False)
    box = browser.evaluate(
        "(({x, y, width, height}) => [x, y, width, height])(document.getElementById('viewer').getBoundingClientRect())"
    )
    place = {"x": box[0] + box[2] / 4, "y": box[1] + box[3] / 2}
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", **place)
    browser.send("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=240, **place)
    browser.wait(f"JSON.stringify([...lookViewer.scene.crosshairPos]) !== JSON.stringify({before})", 10)
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert browser.screenshot(tmp_path / "second.png", whole=False) != first
    assert len(browser.evaluate("lookViewer.volumes.map(v => v.name)")) == 3
    assert browser.requests == []
    assert browser.problems == []


def test_print_view_is_a4(browser, report, tmp_path):
    browser.open(report)
    content = browser.pdf(tmp_path / "page.pdf")
    boxes = {
        tuple(round(float(x) / 72 * 25.4) for x in box.split()[2:]) for box in re.findall(rb"/MediaBox \[([^]]*)\]", content)
    }
    assert boxes == {A4_MM}
    browser.send("Emulation.setEmulatedMedia", media="print")
    # 186 mm of text at 96 pixels per inch: nothing may be wider
    browser.send("Emulation.setDeviceMetricsOverride", width=703, height=1000, deviceScaleFactor=1, mobile=False)
    try:
        assert browser.evaluate("document.documentElement.scrollWidth") <= 703
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")
        browser.send("Emulation.setEmulatedMedia", media="")


def test_names_are_text_and_not_part_of_the_page(browser, report):
    browser.open(report)
    titles = browser.evaluate("[...document.querySelectorAll('.card h3')].map(h => h.textContent)")
    assert "Left ventricle <b>" in titles
    assert browser.evaluate("document.querySelectorAll('.card h3 b').length") == 0


def jpeg():
    from PIL import Image

    from jrscli.report.sheets import jpeg as packed

    return packed(Image.new("RGB", (400, 300), (60, 80, 90)))


def page(status="fail", **more):
    rows = (GateRow("msd.v1", "Bladder", status, f"Bladder: {status}", 4.2, "mm", "≤ 2 mm", 2.0, "TG-132"),)
    return Page("Evaluation", Verdict(rows), "1.0", "2026-01-01", **more)


def test_flicker_shows_the_pictures_in_turn(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_bytes(render(page(pictures=[Picture(jpeg(), "in turn", jpeg())])))
    browser.open(path)
    shown = "getComputedStyle(document.querySelectorAll('.flicker img')[1]).visibility"
    assert browser.evaluate(shown) == "hidden"
    browser.evaluate("document.querySelector('.pair').click()")
    assert browser.evaluate(shown) == "visible"
    browser.evaluate("document.querySelector('.flicker button').click()")
    browser.wait(f"{shown} === 'hidden'", 5)
    browser.wait(f"{shown} === 'visible'", 5)
    browser.evaluate("document.querySelector('.flicker button').click()")
    assert browser.evaluate("document.querySelector('.flicker button').textContent") == "start flicker"


@pytest.mark.parametrize("status", ["pass", "review", "fail", "not_assessed"])
def test_banner_has_the_word_and_the_colour_of_the_verdict(browser, tmp_path, status):
    path = tmp_path / "report.html"
    path.write_bytes(render(page(status)))
    browser.open(path)
    assert browser.evaluate("document.querySelector('h1').textContent") == status.replace("_", " ")
    colours = {"pass": "26, 127, 75", "review": "178, 106, 0", "fail": "194, 32, 50", "not_assessed": "93, 104, 119"}
    assert colours[status] in browser.evaluate("getComputedStyle(document.querySelector('header')).backgroundColor")
    text = browser.evaluate("document.querySelector('header').textContent")
    assert "for review by a qualified person" in text
    assert "research use, not a medical device" in text
    assert "approved" not in text.lower()


def test_page_asks_for_nothing_from_outside():
    text = render(page(pictures=[Picture(jpeg(), "one")], methods="done", limits="none")).decode()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert "default-src 'none'" in text


def test_names_cannot_break_out_of_the_page():
    nasty = "</script><script>alert(1)</script>"
    cards = [Card(Row(nasty, {}), nasty, facts=((nasty, nasty),))]
    text = render(page(cards=cards, record={"x": nasty}, remarks=[nasty], methods=nasty)).decode()
    assert nasty not in text


@pytest.mark.parametrize(("slices_mm", "told"), [(10.0, True), (2.0, False)])
def test_limits_of_thick_slices_are_called_wide(slices_mm, told):
    inputs = [{"role": "image", "kind": "nifti", "size": [9, 9, 9], "spacing_mm": [1.5, 1.5, slices_mm]}]
    text = render(page(inputs=inputs, v_mm=slices_mm)).decode()
    assert ("Limits that follow v are wide here: the smallest voxel dimension is 1.5 mm" in text) is told


def test_a_pass_says_what_nobody_measured():
    from jrscli.metrics.field_gates import unmeasured_row

    rows = (GateRow("neg_jac.v1", "", "pass", "folds nowhere", 0.0), unmeasured_row())
    text = render(Page("register", Verdict(rows), "1.0", "2026-01-01")).decode()
    banner = text[text.index("<header") : text.index("</header>")]
    assert 'class="banner pass"' in banner
    assert "how well the anatomy fits was not measured" in banner
