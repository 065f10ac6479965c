"""The page of a cohort."""

from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import Image

from jrscli.report import cohort
from jrscli.report.cohort import cohort_page
from jrscli.report.thumbnail import thumbnail

LINES = [
    {"case": "fine", "status": "ok", "disagreement_max_mm": 0.1, "out": "fine", "timing": {"seconds": 2.0}},
    {"case": "worse", "status": "ok", "disagreement_max_mm": 4.5, "out": "worse", "timing": {"seconds": 2.0}},
    {"case": "<held>", "status": "quarantined", "code": "series.missing", "out": None},
    {"case": "look", "status": "review", "disagreement_max_mm": 0.2, "out": "look"},
    {"case": "broken", "status": "failed", "code": "worker.lost", "out": None},
]


def page() -> str:
    summary = {"counts": {"ok": 2, "quarantined": 1, "review": 1, "failed": 1}, "jrs": "1.0", "structures": {"big": {}}}
    reasons = {"<held>": "1 slice(s) missing"}
    return cohort_page("jrs batch", LINES, summary, reasons=reasons, pages={"worse": "report.html"}).decode()


def test_the_worst_come_first() -> None:
    rows = re.findall(r"<tr><td data-value=\"([^\"]*)\"", page())
    assert rows == ["broken", "&lt;held&gt;", "look", "worse", "fine"]


def test_a_case_leads_to_its_report_and_says_why_it_failed() -> None:
    text = page()
    assert re.findall(r'href="([^"]*)"', text) == ["worse/report.html"]
    assert "1 slice(s) missing [series.missing]" in text
    assert "1 failed, 1 quarantined, 1 review, 2 ok" in text
    assert '<header class="banner fail">' in text
    assert "<held>" not in text


def test_nothing_is_fetched_from_outside() -> None:
    text = page()
    assert "default-src 'none'" in text
    assert re.findall(r"(?:src|href)=\"(?!worse/)[^\"]*\"|url\(|@import|https?://", text) == []


def test_a_low_dice_is_bad_and_a_high_one_good() -> None:
    lines = [{"case": name, "status": "ok", "dice_min": dice} for name, dice in (("a", 0.9), ("b", 0.2), ("c", 0.5))]
    assert re.findall(r"<tr><td data-value=\"([^\"]*)\"", cohort_page("t", lines, {}).decode()) == ["b", "c", "a"]


def test_where_one_figure_is_alike_the_next_one_tells() -> None:
    figures = {"a": (0.0, 0.1), "b": (0.0, 0.9), "c": (0.5, 0.0), "d": (0.0, 0.5)}
    lines = [
        {"case": name, "status": "ok", "folding_percent": folds, "inverse_consistency_p95_mm": inverse}
        for name, (folds, inverse) in figures.items()
    ]
    assert re.findall(r"<tr><td data-value=\"([^\"]*)\"", cohort_page("t", lines, {}).decode()) == ["c", "b", "d", "a"]


def test_the_worst_cases_have_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort, "MOST_PICTURES", 2)
    text = cohort_page("t", LINES, {}, pages={"worse": "report.html"}, picture_of=lambda case: f"data:{case}").decode()
    assert re.findall(r'<img src="([^"]*)"', text) == ["data:look", "data:worse"]


def test_a_picture_is_made_small_and_what_is_none_is_left_out() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (880, 400), (200, 30, 30)).save(buffer, format="PNG")
    found = thumbnail(buffer.getvalue())
    with Image.open(io.BytesIO(base64.b64decode(found.partition(",")[2]))) as small:
        assert (small.format, small.size) == ("JPEG", (220, 100))
    assert thumbnail(b"no picture") == ""
    assert thumbnail(buffer.getvalue()[:60]) == ""
