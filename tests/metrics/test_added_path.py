"""Added path length: hand-counted squares, direction, empty masks, and a count pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.metrics.added_path import added_path, added_polyline, contour_pixels, deleted_path

SPACING = (2.0, 2.0, 3.0)


def square(low, high, slices=(1, 2), shape=(12, 12, 4)):
    mask = np.zeros(shape, bool)
    mask[low:high, low:high, slices[0] : slices[1]] = True
    return mask


def by_id(values):
    return {value.id: value.value for value in values}


def slowly(reference, test, within=0):
    """Contour pixels of the reference without one of the test within so many pixels, one by one."""

    def rim(mask, k):
        inside = {(i, j) for i, j in zip(*np.nonzero(mask[:, :, k]), strict=True)}
        return {(i, j) for i, j in inside if not {(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)} <= inside}

    count = 0
    for k in range(reference.shape[2]):
        theirs = rim(test, k)
        count += sum(not any(np.hypot(i - a, j - b) <= within for a, b in theirs) for i, j in rim(reference, k))
    return count


def test_square_inside_a_square_by_hand():
    # 8×8 pixels have a rim of 28; the rim of the 4×4 pixels inside touches none of them
    found = by_id(added_path(square(2, 10), square(4, 8), SPACING))
    assert found["apl.v1(pixels)"] == 28
    assert found["apl.v1"] == 56.0
    assert found["apl.v1(%)"] == 100.0
    assert found["apl.v1(1px)"] == 56.0
    assert by_id(deleted_path(square(2, 10), square(4, 8), SPACING))["dpl.v1(pixels)"] == 12


def test_one_pixel_of_shift_is_forgiven_by_the_wider_count():
    shifted = np.roll(square(3, 8), 1, axis=0)
    found = by_id(added_path(square(3, 8), shifted, SPACING))
    assert found["apl.v1(pixels)"] == slowly(square(3, 8), shifted) > 0
    assert found["apl.v1(1px)"] == 0


def test_same_contour_is_nothing_to_draw():
    assert by_id(added_path(square(2, 9), square(2, 9), SPACING))["apl.v1"] == 0


def test_slice_without_test_counts_whole():
    reference = square(3, 8, (0, 3))
    found = by_id(added_path(reference, square(3, 8, (0, 2)), SPACING))
    assert found["apl.v1(pixels)"] == 16
    assert found["apl.v1(%)"] == pytest.approx(100 / 3)


def test_test_empty_is_the_whole_contour_to_draw_and_nothing_to_erase():
    nothing = np.zeros((12, 12, 4), bool)
    apl, dpl = added_path(square(3, 8), nothing, SPACING), deleted_path(square(3, 8), nothing, SPACING)
    assert [value.value for value in apl[:3]] == [32.0, 16, 100.0]
    assert {value.status for value in apl} == {"test_empty"}
    assert (dpl[0].value, dpl[0].status) == (0.0, "test_empty")


def test_direction_what_lies_inside_the_reference_has_to_be_drawn():
    assert by_id(added_path(square(2, 10), square(4, 8), SPACING))["apl.v1"] > 0
    assert by_id(deleted_path(square(2, 10), np.zeros((12, 12, 4), bool), SPACING))["dpl.v1"] == 0


def test_reference_empty_is_nothing_to_draw_and_everything_to_erase():
    nothing = np.zeros((12, 12, 4), bool)
    apl, dpl = added_path(nothing, square(3, 8), SPACING), deleted_path(nothing, square(3, 8), SPACING)
    assert (apl[0].value, apl[0].status) == (0.0, "ref_empty")
    assert (dpl[0].value, dpl[0].status) == (32.0, "ref_empty")


def test_both_empty_is_null():
    nothing = np.zeros((12, 12, 4), bool)
    for value in (*added_path(nothing, nothing, SPACING), *added_polyline(nothing, nothing, SPACING)):
        assert (value.value, value.status) == (None, "both_empty")


def test_border_of_the_image_is_drawn_too():
    assert contour_pixels(np.ones((5, 5, 1), bool)).sum() == 16


def test_pixels_that_are_not_square_have_a_polyline_only():
    found = added_path(square(2, 9), square(3, 9), (1.0, 1.2, 3.0))
    assert {value.status for value in found} == {"not_assessed"}
    # a square of 4×4 pixels: 3 pixels along each side and a cut corner at each end
    line = by_id(added_polyline(square(4, 8), np.zeros((12, 12, 4), bool), (1.0, 1.2, 3.0)))
    assert line["apl_poly.v1"] == pytest.approx(6 * 1.0 + 6 * 1.2 + 4 * 0.5 * np.hypot(1.0, 1.2))
    assert line["apl_poly.v1(%)"] == 100.0


def test_polyline_of_a_shared_side_is_not_drawn_again():
    reference, test = square(3, 9), square(3, 9)
    test[3:6] = False  # the half towards larger i stays
    line = by_id(added_polyline(reference, test, SPACING))
    assert 0 < line["apl_poly.v1(%)"] < 70


@given(st.integers(0, 10**6))
def test_agrees_with_a_count_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    reference, test = (rng.random((7, 6, 2)) < 0.6 for _ in range(2))
    found = by_id(added_path(reference, test, (1.5, 1.5, 4.0)))
    assert found["apl.v1(pixels)"] == slowly(reference, test)
    assert found["apl.v1(1px)"] == 1.5 * slowly(reference, test, within=1)
    assert by_id(deleted_path(reference, test, (1.5, 1.5, 4.0)))["dpl.v1(pixels)"] == slowly(test, reference)
