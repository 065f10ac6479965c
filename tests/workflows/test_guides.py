"""Contours and landmarks as guidance: who is paired with whom, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.errors import InputError, UsageError
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.contours import structures_of_labels
from jrscli.workflows.guides import check_sides, guidance_of, paired_points

GRID = Geometry((30, 28, 20), np.diag((2.0, 2.0, 3.0, 1.0)))
SHIFTED = Geometry((30, 28, 20), np.array([[2.0, 0, 0, 6], [0, 2.0, 0, -4], [0, 0, 3.0, 3], [0, 0, 0, 1]]))


def labels(*numbers: int, grid: Geometry = GRID, names: dict[int, str] | None = None) -> LabelMap:
    """A box of voxels per number, side by side."""
    array = np.zeros(grid.shape, np.uint32)
    for place, number in enumerate(numbers):
        array[6:12, 4 + 7 * place : 9 + 7 * place, 5:12] = number
    return LabelMap(array, grid, names or {})


def test_labels_are_paired_by_their_numbers_and_the_rest_is_told():
    guidance, notices = guidance_of(GRID, SHIFTED, labels=(labels(1, 2, 5), labels(2, 1, 7, grid=SHIFTED)))
    assert guidance.words() == "2 labels"
    assert [(notice.code, notice.message[-4:]) for notice in notices] == [("guide.unpaired", "5, 7")]
    places = [[np.round(v.geometry.centre_mm).tolist() for v in maps] for maps in (guidance.fixed_maps, guidance.moving_maps)]
    assert places[0][0][1] + 14 - 4 == places[1][0][1]  # label 1 is the second box of the other list
    for volume in (*guidance.fixed_maps, *guidance.moving_maps):
        assert volume.array.sum() == 6 * 5 * 7
        assert max(volume.array[0].max(), volume.array[:, :, -1].max()) == 0


def test_named_contours_are_paired_by_name():
    fixed = structures_of_labels(labels(1, 2, names={1: "Bladder", 2: "Rectum"}))
    moving = labels(4, 9, grid=SHIFTED, names={4: "Rectum", 9: "Bladder"})
    guidance, notices = guidance_of(GRID, SHIFTED, labels=(fixed, moving))
    assert guidance.words() == "2 labels"
    assert not notices
    apart = [
        b.geometry.centre_mm - a.geometry.centre_mm for a, b in zip(guidance.fixed_maps, guidance.moving_maps, strict=True)
    ]
    np.testing.assert_allclose(apart, [(6, 10, 3), (6, -18, 3)], atol=1.6)


def test_labels_without_a_partner_or_beside_their_image_are_refused():
    with pytest.raises(InputError) as none:
        guidance_of(GRID, GRID, labels=(labels(1), labels(2)))
    assert none.value.code == "guide.none"
    far = Geometry(GRID.shape, GRID.affine + np.array([[0, 0, 0, 500]] + [[0] * 4] * 3))
    for pair, role in (((labels(1, grid=far), labels(1)), "fixed"), ((labels(1), labels(1, grid=far)), "moving")):
        with pytest.raises(InputError, match=f"the {role} labels do not overlap the {role} image") as beside:
            guidance_of(GRID, GRID, labels=pair)
        assert beside.value.code == "overlap.none"


def test_landmarks_outside_are_left_out_and_told():
    fixed, moving = np.array([[10.0, 10, 10], [20, 20, 20]]), np.array([[12.0, 8, 12], [900, 0, 0]])
    guidance, notices = guidance_of(GRID, SHIFTED, points_mm=(fixed, moving))
    np.testing.assert_array_equal(guidance.moving_points_mm, moving[:1])
    assert [notice.code for notice in notices] == ["guide.outside"]
    with pytest.raises(InputError) as outside:
        guidance_of(GRID, SHIFTED, points_mm=(fixed, moving + 900))
    assert outside.value.code == "overlap.none"


def test_landmarks_with_names_are_paired_by_them():
    one, other = np.arange(9.0).reshape(3, 3), np.arange(9.0, 18.0).reshape(3, 3)
    fixed, moving = paired_points((one, ("a", "b", "c")), (other, ("c", "a", "b")))
    np.testing.assert_array_equal(fixed, one)
    np.testing.assert_array_equal(moving, other[[1, 2, 0]])
    for names in (("", "", ""), ("a", "a", "b")):
        np.testing.assert_array_equal(paired_points((one, ("a", "b", "c")), (other, names))[1], other)


@pytest.mark.parametrize(("count", "names", "code"), [(2, ("a", "b"), "points.pairs"), (3, ("a", "b", "d"), "points.names")])
def test_landmarks_that_do_not_pair_are_refused(count: int, names: tuple[str, ...], code: str):
    points = np.arange(9.0).reshape(3, 3)
    with pytest.raises(InputError) as refused:
        paired_points((points, ("a", "b", "c")), (points[:count], names))
    assert refused.value.code == code


def test_one_side_alone_guides_nothing():
    check_sides(None, None, "points")
    check_sides(1, 1, "points")
    with pytest.raises(UsageError) as alone:
        check_sides(1, None, "labels")
    assert "--moving-labels" in alone.value.hint
