"""The arithmetic of the table of pairs."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest

COMPARE = runpy.run_path(str(Path(__file__).parent / "benchmark" / "compare_pairs.py"))
NAN = float("nan")


def score(dice: float, hd95_mm: float, lost: int, seconds: float):
    return COMPARE["Score"]("a", dice, hd95_mm, lost, 0.0, 0.1, NAN, seconds, 1.0, 100.0)


def test_a_row_has_means_the_worst_pair_all_that_was_lost_and_median_costs():
    found = COMPARE["means"]([score(0.5, 4.0, 1, 1.0), score(0.7, NAN, 2, 2.0), score(0.9, 2.0, 0, 9.0)])
    assert found["dice"] == pytest.approx(0.7)
    assert (found["worst"], found["hd95_mm"], found["lost"], found["seconds"], found["pairs"]) == (0.5, 3.0, 3, 2.0, 3)
    assert found["tre_mm"] != found["tre_mm"]


def test_rows_of_other_sets_stay_in_the_file(tmp_path):
    file = tmp_path / "kept.csv"
    rows = [score(0.5, 4.0, 0, 1.0)]
    COMPARE["keep"](file, {"one": {"jrs": rows}, "two": {"jrs": rows, "demons": rows}})
    COMPARE["keep"](file, {"two": {"jrs": [score(0.75, 4.0, 0, 1.0)]}})
    with file.open() as found:
        kept = [(row["set"], row["method"], row["dice"], row["tre_mm"]) for row in csv.DictReader(found)]
    assert kept == [("one", "jrs", "0.5000", ""), ("two", "jrs", "0.7500", "")]


def test_the_first_row_is_held_against_each_other_one_pair_by_pair():
    first, other = ([score(dice, 4.0, 0, 1.0) for dice in row] for row in ((0.5, 0.7, 0.9), (0.4, 0.73, 0.7)))
    row = COMPARE["table"]("set", {"a": first, "b": other}).splitlines()[-1].split(" | ")
    assert row[3].startswith("+0.090")
    assert row[4] == "-0.030"
