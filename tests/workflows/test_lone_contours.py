"""Contours without a reference."""

import numpy as np

from jrscli.metrics.gates import Verdict
from jrscli.metrics.structure_gates import contour_row
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.lone_contours import describe_contours

GRID = Geometry((30, 24, 20), np.diag((1.0, 1.0, 2.0, 1.0)))


def labels(names, **boxes):
    array = np.zeros(GRID.shape, np.uint32)
    for number, (low, high) in boxes.items():
        array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = int(number[1:])
    return LabelMap(array, GRID, names)


LOW, HIGH = ((3, 5, 5), (9, 12, 12)), ((18, 5, 5), (24, 12, 12))


def test_volume_and_worst_slices_and_no_metric_that_needs_a_reference():
    found = describe_contours(labels({1: "Liver"}, n1=LOW), GRID)
    row = found.row("Liver")
    assert list(row.values) == ["volume.v1(test)"]
    assert row.values["volume.v1(test)"].value == 6 * 7 * 7 * 2 / 1000
    assert 3 <= row.details["worst_slices"][0] < 9
    assert (row.number, row.test_number) == (None, 1)


def test_named_structure_without_a_voxel_is_a_row():
    row = describe_contours(labels({1: "Liver", 2: "Spleen"}, n1=LOW), GRID).row("Spleen")
    assert (row.status, row.values["volume.v1(test)"].value) == ("test_empty", 0.0)


def test_sides_are_told_by_the_patients_left_where_asked():
    names = {1: "Kidney_L", 2: "Kidney_R"}
    right, wrong = labels(names, n1=HIGH, n2=LOW), labels(names, n1=LOW, n2=HIGH)
    assert "swapped" in describe_contours(wrong, GRID, sides=True).row("Kidney_L").flags
    assert "swapped" not in describe_contours(right, GRID, sides=True).row("Kidney_L").flags
    assert "swapped" not in describe_contours(wrong, GRID).row("Kidney_L").flags


def test_gap_is_flagged_and_the_outline_of_the_patient_is_not_judged():
    part = labels({1: "Liver", 2: "Body"}, n1=LOW, n2=HIGH)
    array = part.array.copy()
    array[:, :, 8] = 0
    found = describe_contours(LabelMap(array, GRID, part.names), GRID)
    assert found.row("Liver").flags == ("gap",)
    assert found.row("Body").flags == ("body",)


def test_nothing_odd_is_no_pass_by_itself():
    assert Verdict((contour_row("Liver", "ok", (), 2.0),)).status == "not_assessed"
    assert Verdict((contour_row("Liver", "ok", ("gap",), 2.0),)).status == "review"
