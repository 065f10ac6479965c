"""Point files: all formats say the same place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.errors import InputError, UsageError
from jrscli.io.points import read_points, write_points

POINTS = np.array([[1.5, -2.25, 300.125], [-0.5, 17.0, -42.75]])


@pytest.mark.parametrize("name", ["a.csv", "a.fcsv", "a.mrk.json"])
@given(
    st.lists(st.tuples(*[st.floats(-2000, 2000)] * 3), min_size=1, max_size=5),
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12),
)
def test_points_and_labels_come_back(tmp_path_factory: pytest.TempPathFactory, name: str, rows: list, label: str) -> None:
    path = tmp_path_factory.mktemp("points") / name
    labels = tuple(f"{label}, {n}" for n in range(len(rows)))
    write_points(np.array(rows), labels, path)
    points, found = read_points(path)
    np.testing.assert_allclose(points, rows, atol=1e-6)
    assert found == labels


def test_slicer_files_in_ras_are_turned(tmp_path: Path) -> None:
    fcsv = (
        "# Markups fiducial file version = 4.6\n# CoordinateSystem = 0\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label\n"
    )
    (tmp_path / "a.fcsv").write_text(fcsv + "vtkMRMLMarkupsFiducialNode_0,-1.5,2.25,300.125,0,0,0,1,1,1,0,F-1,,\n")
    markup = {"coordinateSystem": "RAS", "controlPoints": [{"label": "F-1", "position": [-1.5, 2.25, 300.125]}]}
    (tmp_path / "a.mrk.json").write_text(json.dumps({"markups": [markup]}))
    for name in ("a.fcsv", "a.mrk.json"):
        points, labels = read_points(tmp_path / name)
        np.testing.assert_allclose(points, POINTS[:1])
        assert labels == ("F-1",)


def test_points_that_are_not_placed_are_left_out(tmp_path: Path) -> None:
    control = [{"position": [1, 2, 3]}, {"position": [0, 0, 0], "positionStatus": "undefined"}]
    (tmp_path / "a.mrk.json").write_text(json.dumps({"markups": [{"coordinateSystem": "LPS", "controlPoints": control}]}))
    assert len(read_points(tmp_path / "a.mrk.json")[0]) == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x,y,z\n1,2,3\n", "points.header"),
        ("x_lps_mm,y_lps_mm,z_lps_mm\n", "points.empty"),
        ("x_lps_mm,y_lps_mm,z_lps_mm\n1,2,drei\n", "points.values"),
        ("x_lps_mm,y_lps_mm,z_lps_mm\n1,2\n", "points.values"),
        ("x_lps_mm,y_lps_mm,z_lps_mm\n1,2,nan\n", "points.values"),
        ('{"markups": [{"controlPoints": 3}]}', "points.unreadable"),
        ("# Markups fiducial file version = 5\n# CoordinateSystem = IJK\n1,2,3,4\n", "points.header"),
    ],
)
def test_files_that_do_not_say_where(text: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_points(tmp_path / "a.csv")
    assert caught.value.code == code


def test_csv_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufefflabel, z_lps_mm, y_lps_mm ,X_LPS_MM\nA,3,2,1\n", encoding="utf-8")
    points, labels = read_points(tmp_path / "a.csv")
    np.testing.assert_array_equal(points, [[1, 2, 3]])
    assert labels == ("A",)


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_points(POINTS, ("", ""), tmp_path / "a.txt")
