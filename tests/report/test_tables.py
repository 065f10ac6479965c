"""Evaluations as text."""

import csv
import io
import json

import pytest

from jrscli.errors import Notice
from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.value import Value
from jrscli.report.tables import number_text, to_columns, to_csv, to_json


def evaluation(*names, notices=()):
    rows = [
        Row(
            name,
            {
                "dice.v1": Value("dice.v1", 0.9 - 0.1 * n, ""),
                "hd95.v1": Value("hd95.v1", None, "mm", "test_empty", "+inf") if n else Value("hd95.v1", 1 / 3, "mm"),
            },
            number=n + 1,
            flags=("volume-dependent",) if n else (),
        )
        for n, name in enumerate(names)
    ]
    return Evaluation("labels", tuple(rows), {"spacing_mm": [1.0, 1.0, 2.0]}, notices)


def test_json_has_null_and_a_limit_instead_of_infinity():
    found = json.loads(to_json(evaluation("Liver", "Spleen")), parse_constant=pytest.fail)
    assert found["structures"][1]["metrics"]["hd95.v1"] == {
        "value": None,
        "unit": "mm",
        "status": "test_empty",
        "limit": "+inf",
    }
    assert found["summary"]["hd95.v1"]["n"] == 1
    assert found["summary"]["hd95.v1"]["left_out"] == 1
    assert found["summary"]["dice.v1"]["worst"] == "Spleen"
    assert found["spacing_mm"] == [1.0, 1.0, 2.0]


def test_json_carries_notices():
    found = json.loads(to_json(evaluation("A", notices=(Notice("rs.for", "no frame of reference"),))))
    assert found["notices"] == [{"code": "rs.for", "message": "no frame of reference"}]


def test_csv_keeps_full_precision_and_says_why_a_number_is_missing():
    lines = list(csv.DictReader(io.StringIO(to_csv(evaluation("Liver", "Spleen")))))
    assert float(lines[1]["value"]) == 1 / 3
    assert (lines[3]["value"], lines[3]["status"], lines[3]["limit"]) == ("", "test_empty", "+inf")
    assert lines[3]["flags"] == "volume-dependent"


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "-2", "+3"])
def test_csv_names_are_no_formulas(name):
    lines = list(csv.DictReader(io.StringIO(to_csv(evaluation(name)))))
    assert lines[0]["name"] == f"'{name}"


def test_csv_survives_commas_and_quotes_in_names():
    name = 'PTV, "boost"'
    assert next(csv.DictReader(io.StringIO(to_csv(evaluation(name)))))["name"] == name


def test_columns_are_for_people():
    header, lines = to_columns(evaluation("Liver", "Spleen"))
    assert header == ["name", "dice.v1", "hd95.v1 mm", "remarks"]
    assert lines[0] == ["Liver", "0.900", "0.333", ""]
    assert lines[1] == ["Spleen", "0.800", "n/a", "test_empty, volume-dependent"]
    # a distance without end is not averaged away: it is the largest in the median
    assert lines[2] == ["mean", "0.850", "n/a", "up to 1 of 2 rows left out"]
    assert lines[3][:3] == ["median", "0.850", "n/a"]


def test_columns_can_be_chosen():
    assert to_columns(evaluation("Liver"), ["hd95.v1"])[0] == ["name", "hd95.v1 mm", "remarks"]


def test_small_number_is_not_shown_as_zero():
    rows = (Row("A", {"neg_jac.v1": Value("neg_jac.v1", 0.00004, "%")}),)
    assert to_columns(Evaluation("field", rows))[1][0][1] == "4.0e-05"


def test_what_rounding_leaves_is_shown_as_zero_and_nothing_else_is():
    assert [number_text(number) for number in (9.6e-16, -1e-13, 2e-5, 0.0, None)] == [
        "0.000",
        "0.000",
        "2.0e-05",
        "0.000",
        "n/a",
    ]
