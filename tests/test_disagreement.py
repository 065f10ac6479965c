"""The arithmetic of the benchmark that asks whether disagreement finds wrong contours, and one tiny run of it."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from jrscli.io import write_image, write_labels
from jrscli.runtime.card import Grid, Input, Window
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume

PATH = Path(__file__).parent / "benchmark" / "disagreement.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("disagreement", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["disagreement"] = module
    spec.loader.exec_module(module)
    return module


def test_a_score_that_tells_all_and_one_that_tells_nothing(bench):
    wrong = [True, True, False, False, False]
    perfect = bench.curve_of([0.9, 0.8, 0.3, 0.2, 0.1], wrong)
    assert perfect.area == 1
    assert perfect.at(0.0) == (1.0, 0.8)
    assert bench.curve_of([0.1, 0.2, 0.3, 0.8, 0.9], wrong).area == 0
    assert bench.curve_of([0.5] * 5, wrong).area == 0.5
    assert bench.curve_of([0.5] * 5, wrong).at() == (0.0, float("inf"))
    assert bench.curve_of([0.5, 0.6], [True, True]) is None


def test_the_area_is_how_often_a_wrong_contour_looks_worse(bench):
    rng = np.random.default_rng(0)
    scores, wrong = rng.integers(0, 12, 60) / 12, rng.random(60) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[wrong] for b in scores[~wrong]]
    assert bench.curve_of(scores, wrong).area == pytest.approx(np.mean(pairs))


def test_what_is_found_at_a_number_of_false_alarms(bench):
    """Ten right contours, two of which look worse than the second wrong one."""
    scores = [0.9, 0.5, 0.1, 0.8, 0.7, *[0.2] * 8]
    wrong = [True, True, True, *[False] * 10]
    curve = bench.curve_of(scores, wrong)
    assert curve.at(0.2) == (pytest.approx(2 / 3), 0.5)
    assert curve.at(0.1) == (pytest.approx(1 / 3), 0.8)
    assert curve.beyond(0.5) == (pytest.approx(1 / 3), pytest.approx(0.2))  # above it, not at it
    assert curve.beyond(0.05) == (1.0, 1.0)


def test_the_limit_of_a_card_looks_at_right_contours_alone(bench):
    right = [{"organ": "cord", "agreement": 0.5 + n / 100, "carried_dice": 0.9} for n in range(21)]
    wrong = [{"organ": "cord", "agreement": 0.1, "carried_dice": 0.4}, {"organ": "jaw", "agreement": 0.1, "carried_dice": 0.4}]
    assert bench.agreement_words(right + wrong, 0.7) == "agreement: {cord: 0.51}"


def test_what_the_limits_of_a_card_doubt_is_counted_set_by_set(bench):
    contours = [("a", "1", 0.2, 0.9), ("a", "1", 0.8, 0.9), ("a", "2", 0.3, 0.5), ("b", "3", 0.8, 0.5)]
    keys = ("set", "case", "agreement", "carried_dice")
    lines = [{"organ": "cord", **dict(zip(keys, one, strict=True))} for one in contours]
    *_, first, second = bench.doubts_table(lines, 0.7, {"cord": 0.5}).splitlines()
    assert first == "| a | 1 | 1 | 2 | 1 | 1 of 2 |"
    assert second == "| b | 1 | 0 | 0 | 0 | 0 of 1 |"


def test_one_run_finds_the_contour_that_is_wrong(bench, make_model, tmp_path, monkeypatch, capsys):
    """Two pairs that lie alike; in one of them an organ of the moving image is drawn in the wrong place."""
    pytest.importorskip("matplotlib")
    grid = Geometry((24, 20, 12), np.diag([2.0, 2.0, 2.0, 1.0]))
    index = np.indices(grid.shape)
    masks = [np.linalg.norm(index - np.array([x, 10, 6]).reshape(3, 1, 1, 1), axis=0) < 4.5 for x in (6, 17)]
    image = Volume((350 * masks[0] + 900 * masks[1]).astype(np.float32), grid)
    right = np.select(masks, [1, 2], 0).astype(np.uint32)
    wrong = np.where(masks[1], 2, np.where(np.roll(masks[0], 4, axis=1), 1, 0)).astype(np.uint32)
    base = tmp_path / "pairs" / "balls"
    base.mkdir(parents=True)
    write_image(image, base / "image.nii.gz")
    cases = []
    for name, labels in (("good", right), ("bad", wrong)):
        write_labels(LabelMap(labels, grid), base / f"{name}.nii.gz")
        files = {"fixed": "image.nii.gz", "moving": "image.nii.gz", "fixed_labels": "good.nii.gz"}
        cases.append({"id": name, **files, "moving_labels": f"{name}.nii.gz", "label_ids": [1, 2]})
    (base / "manifest.json").write_text(json.dumps({"set": "balls", "cases": cases}))
    spec, whole = Input(window=Window(values=(0, 1000))), Grid(multiple=(2, 2, 2))
    options = {"shift": (0, 0, 0), "levels": (0.2, 0.6), "labels": ("background", "larynx", "brainstem")}
    card = make_model(tmp_path / "model", spec=spec, grid=whole, **options)
    words = [str(tmp_path / "pairs"), "--model", str(card), "--refine", "0", "-o", str(tmp_path / "out"), "--shares"]
    monkeypatch.setattr(sys, "argv", ["disagreement.py", *words])
    bench.main()
    said = capsys.readouterr().out
    assert "| all organs | 4 | 1 | 1.000 | 1.00 |" in said
    assert "| brainstem | 2 | 0 | | | |" in said
    assert "| larynx | " in said.split("| best |")[1]
    with (tmp_path / "out" / "disagreement.csv").open(encoding="utf-8") as file:
        lines = {(line["case"], line["organ"]): line for line in csv.DictReader(file)}
    assert float(lines["bad", "larynx"]["carried_dice"]) < 0.7 < float(lines["bad", "larynx"]["network_dice"])
    assert float(lines["good", "larynx"]["agreement"]) > 0.95
    assert float(lines["good", "larynx"]["fused_0.5"]) > 0.95
    assert (tmp_path / "out" / "disagreement.png").stat().st_size > 5000
    kept = tmp_path / "out" / "balls" / "bad.json"
    before = kept.stat().st_mtime_ns
    monkeypatch.setattr(bench, "measure", lambda *given, **more: pytest.fail("it was done already"))
    bench.main()
    assert kept.stat().st_mtime_ns == before
