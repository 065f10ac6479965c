"""What is odd about a contour: gaps, islands, ends, sides, overlaps."""

import numpy as np
import pytest

from jrscli.metrics.contour_checks import contour_flags, is_body, is_target, overlapping, side_of, swapped_sides
from jrscli.metrics.pair import Pair
from jrscli.spatial.geometry import Geometry

SHAPE = (20, 20, 20)
GRID = Geometry(SHAPE, np.diag((1.0, 1.0, 3.0, 1.0)))


def box(low=(5, 5, 5), high=(12, 12, 14)):
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def flags(reference, test):
    return contour_flags(Pair.of(reference, test, GRID))


def test_same_contour_is_not_odd():
    assert flags(box(), box()) == ()


def test_missing_contour_is_told_elsewhere():
    assert flags(box(), np.zeros(SHAPE, bool)) == ()


def test_empty_slice_inside_is_a_gap():
    test = box()
    test[:, :, 9] = False
    assert flags(box(), test) == ("gap",)
    assert flags(test, test) == ()  # the reference has it too


def test_many_pieces_are_islands():
    test = box()
    for place in (1, 3, 17):
        test[place, place, 9] = True
    assert flags(box(), test) == ("islands",)
    assert flags(test, test) == ()


def test_contour_at_the_border_that_the_reference_does_not_reach_is_cut():
    assert flags(box(), box(low=(0, 5, 5))) == ("cut",)
    assert flags(box(low=(0, 5, 5)), box(low=(0, 5, 5))) == ()


@pytest.mark.parametrize(("lacking", "found"), [(2, ()), (3, ("truncated",))])
def test_contour_that_ends_early_is_truncated(lacking, found):
    assert flags(box(), box(high=(12, 12, 14 - lacking))) == found


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("LeftParotid", ("L", "parotid")),
        ("Parotid_R", ("R", "parotid")),
        ("lung-left", ("L", "lung")),
        ("FemoralHead_L", ("L", "femoralhead")),
        ("FemurR", ("R", "femur")),
        ("R Kidney", ("R", "kidney")),
        ("Bladder", None),
        ("Liver", None),
        ("Rectum", None),
        ("Larynx", None),
        ("PTV_LN", None),
        ("L", None),
    ],
)
def test_side_is_read_from_the_name(name, side):
    assert side_of(name) == side


def test_swapped_pair_is_found_against_the_reference():
    left, right = np.array([50.0, 0, 0]), np.array([-50.0, 0, 0])
    right_way = {"Kidney_L": left, "Kidney_R": right}
    wrong_way = {"Kidney_L": right, "Kidney_R": left}
    assert swapped_sides(wrong_way, right_way) == ("Kidney_L", "Kidney_R")
    assert swapped_sides(right_way, right_way) == ()
    assert swapped_sides(wrong_way, wrong_way) == ()  # a convention of the site, not an error


def test_swapped_pair_without_a_reference_is_judged_by_the_patients_left():
    assert swapped_sides({"Lung left": np.array([-9.0, 0, 0]), "Lung right": np.array([9.0, 0, 0])}, {}) != ()


def test_overlap_that_the_reference_does_not_have():
    apart = Pair.of(box(), box(), GRID), Pair.of(box((13, 5, 5), (18, 12, 14)), box((9, 5, 5), (14, 12, 14)), GRID)
    assert overlapping({"Bladder": apart[0], "Rectum": apart[1]}) == ("Bladder", "Rectum")
    same = Pair.of(box((9, 5, 5), (14, 12, 14)), box((9, 5, 5), (14, 12, 14)), GRID)
    assert overlapping({"Bladder": apart[0], "Rectum": same}) == ()


def test_body_and_targets_by_type_or_name():
    assert is_body("x", "EXTERNAL")
    assert is_body("BODY")
    assert is_body("Patient outline")
    assert not is_body("Vertebral body")
    assert is_target("PTV_60")
    assert is_target("x", "CTV")
    assert not is_target("Bladder", "ORGAN")
