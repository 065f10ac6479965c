"""Structures as outlines for the picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from jrscli.report.outlines import MOST, colour_of, outlines_of
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.volume import LabelMap

GRID = Geometry((8, 8, 4), np.eye(4))


def test_an_roi_keeps_its_colour_and_lends_no_name() -> None:
    square = Contour(np.array([[1.5, 1.5, 2.0], [5.5, 1.5, 2.0], [5.5, 5.5, 2.0], [1.5, 5.5, 2.0]]))
    rois = (Roi(1, "Doe", (square,), (1, 2, 3)), Roi(2, "point", (Contour(np.zeros((1, 3)), "POINT"),)))
    (outline,) = outlines_of(StructureSet(rois), GRID, "before")
    assert (outline.colour, outline.name, outline.row) == ((1, 2, 3), "", "before")
    assert outline.mask.sum() == 16


def test_labels_of_another_grid_are_not_drawn() -> None:
    array = np.zeros(GRID.shape, np.uint32)
    array[2, 2, 2] = 4
    assert [outline.mask.sum() for outline in outlines_of(LabelMap(array, GRID), GRID)] == [1]
    assert outlines_of(LabelMap(array, GRID), Geometry((8, 8, 4), np.diag((2.0, 1, 1, 1)))) == []


def test_neighbours_differ_in_colour() -> None:
    colours = [colour_of(number) for number in range(MOST)]
    steps = [max(abs(a - b) for a, b in zip(one, other, strict=True)) for one, other in pairwise(colours)]
    assert min(steps) > 60
