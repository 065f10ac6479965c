"""Reports of real patients in a real Chromium: no console error, no request, every picture visible, A4.

    JRS_DATA=/path/to/data pytest -m benchmark tests/benchmark/test_reports.py -s

The data folder holds openkbp, acdc and dicom/. Pictures of the pages go to JRS_SHOTS, if that names a folder, to be looked at.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jrscli.cli import app

pytestmark = pytest.mark.benchmark
DATA = Path(os.environ.get("JRS_DATA", "data"))
RS = "dicom/pelvis-phantom/RS"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    place = Path(__file__).parents[1] / "report" / "conftest.py"
    spec = importlib.util.spec_from_file_location("report_conftest", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.Browser(Path(shutil.which("chromium")), tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


def shifted(labels: Path, out: Path) -> Path:
    """The labels with each of them moved by a voxel, as a prediction."""
    from jrscli.io import read_labels, write_labels
    from jrscli.spatial.volume import LabelMap

    found = read_labels(labels)
    write_labels(LabelMap(np.roll(found.array, (1, 1), (0, 1)), found.geometry, found.names), out)
    return out


def shifted_contours(path: Path, out: Path) -> Path:
    """The structure set with every contour moved by 3 mm to the left."""
    import pydicom

    dataset = pydicom.dcmread(path)
    for roi in dataset.ROIContourSequence:
        for contour in roi.get("ContourSequence", []):
            points = np.array(contour.ContourData, float).reshape(-1, 3) + (3.0, 0.0, 0.0)
            contour.ContourData = [f"{x:.3f}" for x in points.ravel()]
    dataset.save_as(out)
    return out


def case(name: str, folder: Path) -> list[str]:
    """The words after ``jrs`` for a case."""
    if name == "pelvis":
        truth = next((DATA / RS).glob("*.dcm"))
        return ["evaluate", str(truth), str(shifted_contours(truth, folder / "RS.dcm"))]
    if name == "sarcoma":
        place = DATA / "dicom" / "sarcoma" / "STS_003"
        pair = [place / "CT" / "image", place / "MR_T1" / "image"]
        return ["register", *map(str, pair), "--preset", "fast", "--report"]
    place = DATA / name
    labels = sorted(
        path for path in place.rglob("*.nii.gz") if any(w in path.as_posix().lower() for w in ("label", "seg", "gt"))
    )[0]
    words = ["evaluate", str(labels), str(shifted(labels, folder / "found.nii.gz"))]
    image = Path(str(labels).replace("_seg", "_ct" if name == "openkbp" else ""))
    return [*words, *(["--reference", str(image)] if image != labels and image.exists() else [])]


@pytest.mark.parametrize("name", ["pelvis", "sarcoma", "openkbp", "acdc"])
def test_report(browser, tmp_path, capsys, name):
    start = time.perf_counter()
    words = case(name, tmp_path)
    assert app([*words, "-o", str(tmp_path / "out"), "-q"]) in (0, 3)
    report = tmp_path / "out" / "report.html"
    seconds = time.perf_counter() - start
    browser.open(report)
    pictures = browser.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 300)")
    browser.evaluate("document.getElementById('look-open').click()")
    browser.wait("document.getElementById('viewer').dataset.ready === 'yes'")
    shots = os.environ.get("JRS_SHOTS")
    if shots:
        browser.screenshot(Path(shots) / f"report-{name}.png")
    wide = browser.evaluate("document.documentElement.scrollWidth")
    pages = browser.pdf(tmp_path / "page.pdf")
    with capsys.disabled():
        size = report.stat().st_size / 1e6
        sys.stdout.write(f"\n{name}: {size:.1f} MB, {len(pictures)} pictures, {seconds:.0f} s with the computation\n")
    assert pictures
    assert all(pictures)
    assert wide <= 1240
    assert b"/MediaBox [0 0 595" in pages.replace(b"594.95996", b"595").replace(b"594.95", b"595")
    assert report.stat().st_size < 15_000_000
    assert browser.requests == []
    assert browser.problems == []
