"""Boxes round structures: as far as the statistics ask, inside the grid, cut out and put back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.spatial.boxes import box_about, fallen_back, reach_of, sides_of


def test_sides_are_counted_from_the_centroid():
    mask = np.zeros((9, 9, 9), bool)
    mask[2:5, 4, 4] = True
    assert sides_of(mask).tolist() == [1, 1, 0, 0, 0, 0]
    mask[7, 4, 4] = True  # a lone voxel far above pulls the centroid less than the box
    assert sides_of(mask).tolist() == [2, 3, 0, 0, 0, 0]
    assert sides_of(np.zeros((3, 3), bool)) is None


def test_the_reach_is_what_the_paper_says():
    """R = 1.25 (mean + 3 std), each side on its own."""
    sides = np.array([[2.0, 6.0], [4.0, 6.0]])
    assert reach_of(sides).tolist() == pytest.approx([1.25 * (3 + 3 * 1), 1.25 * 6])


@pytest.mark.parametrize(
    ("middle", "reach", "expected"),
    [
        (10.0, (2.0, 3.0), (8, 14)),  # 8 … 13 are six voxels
        (10.0, (2.0, 2.0), (8, 14)),  # five, rounded up
        (0.0, (4.0, 3.0), (0, 8)),  # moved inside
        (19.0, (4.0, 3.0), (12, 20)),
        (5.0, (30.0, 30.0), (0, 20)),  # larger than the grid
    ],
)
def test_boxes_are_even_and_inside(middle, reach, expected):
    (found,) = box_about([middle], reach, [20])
    assert (found.start, found.stop) == expected


@given(
    st.lists(st.floats(-5, 30), min_size=3, max_size=3),
    st.lists(st.floats(0, 25), min_size=6, max_size=6),
    st.lists(st.integers(2, 24), min_size=3, max_size=3),
)
def test_what_is_cut_out_and_put_back_is_the_same(middle, reach, shape):
    box = box_about(middle, reach, shape)
    whole = np.arange(np.prod(shape), dtype=float).reshape(shape)
    crop = whole[box]
    assert all(n % 2 == 0 and n > 0 for n in crop.shape)
    blank = np.full(shape, np.nan)
    blank[box] = crop
    assert np.array_equal(blank[box], crop)
    filled = ~np.isnan(blank)
    assert np.array_equal(blank[filled], whole[filled])
    assert filled.sum() == crop.size


def test_a_lost_structure_goes_with_the_others():
    first = np.array([[1.0, 1.0], [5.0, 5.0], [9.0, 9.0], [np.nan, np.nan]])
    now = np.array([[2.0, 1.0], [8.0, 5.0], [np.nan, np.nan], [np.nan, np.nan]])
    found = fallen_back(now, first)
    assert found[:3].tolist() == [[2, 1], [8, 5], [11, 9]]
    assert np.isnan(found[3]).all()  # never there
