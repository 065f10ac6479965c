"""Contours, ROIs and structure sets."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.spatial.structures import Contour, Roi, StructureSet

SQUARE = Contour(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]))
POINT = Contour(np.array([[5.0, 5, 5]]), "POINT")


def test_points_are_kept_as_float64_and_read_only():
    points = np.array([[1, 2, 3]], dtype=np.int16)
    contour = Contour(points, "POINT")
    points[0, 0] = 9
    assert contour.points.dtype == np.float64
    assert contour.points.tolist() == [[1.0, 2.0, 3.0]]
    with pytest.raises(ValueError, match="read-only"):
        contour.points[0, 0] = 4.0


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.zeros((4, 2)), np.zeros(3), [[0.0, np.nan, 0.0]]])
def test_what_are_no_points_is_refused(points):
    with pytest.raises(InputError) as caught:
        Contour(points)
    assert caught.value.code == "rs.points"


@pytest.mark.parametrize(
    ("kind", "closed"),
    [("CLOSED_PLANAR", True), ("CLOSEDPLANAR_XOR", True), ("OPEN_PLANAR", False), ("OPEN_NONPLANAR", False), ("POINT", False)],
)
def test_only_closed_kinds_bound_an_area(kind, closed):
    assert Contour(SQUARE.points, kind).is_closed is closed


def test_a_roi_tells_its_closed_contours():
    assert Roi(1, "Isocentre", (POINT, SQUARE)).closed == (SQUARE,)


def test_the_first_roi_of_a_name_is_found():
    structures = StructureSet((Roi(1, "PTV"), Roi(2, "Bladder"), Roi(7, "Bladder")))
    assert structures.roi("Bladder").number == 2


def test_a_missing_name_is_an_error_that_names_no_roi():
    with pytest.raises(InputError) as caught:
        StructureSet((Roi(1, "Private^Name"),)).roi("Bladder")
    assert caught.value.code == "rs.name"
    assert "Private" not in caught.value.message + caught.value.hint
