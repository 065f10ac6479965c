"""Two estimates of a contour become one: between both, never mixed up, sides kept however the patient lies."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jrscli.io.tolerances import read_tolerances
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.contours import structures_of_labels
from jrscli.workflows.fuse import fuse
from jrscli.workflows.propagate import propagate
from jrscli.workflows.second_estimate import second_estimate
from jrscli.workflows.segment_by_model import ModelSegmentation, volumes_cc

SHAPE = (36, 28, 14)
SUPINE = np.diag([1.5, 1.5, 3.0, 1.0])
MODEL = ("left parotid", "right parotid", "larynx")


@dataclass(frozen=True)
class Still:
    """A registration of images that lie alike."""

    transform = Transform((AffineTransform.identity(),))
    inverse = Transform((AffineTransform.identity(),))


def ball(geometry, centre_mm, radius_mm=7.0):
    """Voxels near a place, relative to the middle of the grid, LPS mm."""
    index = np.moveaxis(np.indices(geometry.shape), 0, -1).reshape(-1, 3)
    away = geometry.index_to_world(index) - geometry.centre_mm - np.array(centre_mm)
    return (np.linalg.norm(away, axis=1) < radius_mm).reshape(geometry.shape)


def labels_of(geometry, places, names):
    array = np.zeros(geometry.shape, np.uint32)
    for number, place in places.items():
        array[ball(geometry, place)] = number
    return LabelMap(array, geometry, names)


def seen(labels):
    return ModelSegmentation(labels, volumes_cc(labels), {}, 0.0, None, "test@1")


def both(drawn, found, *, contours, shares=None, **options):
    """(carried, second estimate, fused) where the daily image is the planning image."""
    image = Volume(np.zeros(drawn.geometry.shape, np.float32), drawn.geometry)
    given_as = structures_of_labels(drawn) if contours else drawn
    carried = propagate(image, given_as, image, registration=Still(), body="propagate")
    second = second_estimate(carried, found, read_tolerances())
    return carried, second, fuse(carried, found, second, shares or {}, **options)


def middle(result, number, geometry):
    """Where a structure of the result lies, relative to the middle of the grid, mm."""
    if result.labels is not None:
        mask = result.labels.mask(number)
    else:
        mask = rasterize(next(roi for roi in result.structures.rois if roi.number == number), geometry)
    return geometry.index_to_world(np.argwhere(mask)).mean(axis=0) - geometry.centre_mm


@pytest.mark.parametrize("contours", [True, False], ids=["contours", "labels"])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_fused_contour_lies_between_both_as_the_card_says(contours, share):
    grid = Geometry(SHAPE, SUPINE)
    drawn = labels_of(grid, {4: (12, 0, 0)}, {4: "Parotid_L"})
    found = seen(labels_of(grid, {1: (16, 0, 0)}, dict(enumerate(MODEL, 1))))
    carried, second, fused = both(drawn, found, contours=contours, shares={"left parotid": share})
    assert second.labels == {4: 1}
    place = middle(fused, 4, grid)
    assert place == pytest.approx([12 + 4 * share, 0, 0], abs=0.4)
    assert fused.shares == ({4: share} if share else {})
    assert not fused.notices
    if share:
        assert fused.volumes_cc[4] == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.2)  # a little less between two that differ
    else:
        assert fused.structures.rois == carried.structures.rois


def test_without_a_word_of_the_card_it_lies_midway():
    grid = Geometry(SHAPE, SUPINE)
    found = seen(labels_of(grid, {1: (16, 0, 0)}, dict(enumerate(MODEL, 1))))
    _, _, fused = both(labels_of(grid, {4: (12, 0, 0)}, {4: "Parotid_L"}), found, contours=True)
    assert fused.shares == {4: 0.5}
    assert middle(fused, 4, grid)[0] == pytest.approx(14, abs=0.3)


@given(st.integers(0, 10_000), st.sampled_from([0.2, 0.5, 0.8]))
@settings(max_examples=12)
def test_it_holds_what_both_share_and_nothing_that_neither_has(seed, share):
    rng = np.random.default_rng(seed)
    grid = Geometry(SHAPE, SUPINE)
    places = rng.uniform(-1.5, 1.5, (2, 3))
    drawn = labels_of(grid, {1: places[0]}, {1: "Larynx"})
    found = seen(labels_of(grid, {3: places[1]}, dict(enumerate(MODEL, 1))))
    _, _, fused = both(drawn, found, contours=False, shares={"larynx": share})
    one, other, result = drawn.mask(1), found.labels.mask(3), fused.labels.mask(1)
    assert result[one & other].all()
    assert not result[~(one | other)].any()


@pytest.mark.parametrize("contours", [True, False], ids=["contours", "labels"])
@pytest.mark.parametrize(
    "turn", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1)], ids=["head first", "RAS", "feet first", "prone"]
)
def test_left_and_right_are_fused_each_with_its_own(turn, contours):
    """Numbers and order of the names are of no account, nor how the patient was scanned."""
    affine = SUPINE.copy()
    affine[:3, :3] = np.diag(turn) @ affine[:3, :3]
    grid = Geometry(SHAPE, affine)
    drawn = labels_of(grid, {1: (-12, 0, 0), 2: (12, 0, 0), 5: (0, 10, 0)}, {1: "Parotid_R", 2: "Parotid_L", 5: "GTV"})
    found = seen(labels_of(grid, {1: (12, 4, 0), 2: (-12, 4, 0), 3: (0, -10, 0)}, dict(enumerate(MODEL, 1))))
    carried, second, fused = both(drawn, found, contours=contours)
    assert fused.shares == {1: 0.5, 2: 0.5}
    assert middle(fused, 1, grid) == pytest.approx([-12, 2, 0], abs=0.4)
    assert middle(fused, 2, grid) == pytest.approx([12, 2, 0], abs=0.4)
    assert not any(one.exchanged for one in second.organs)
    kinds = {(match.given, match.known): match.kind for match in second.matches}
    assert kinds["GTV", None] == "given only"
    assert kinds[None, "larynx"] == "known only"
    assert [roi.name for roi in fused.structures.rois] == ["Parotid_R", "Parotid_L", "GTV"]  # no larynx among the clinic's
    assert fused.structures.rois[2] == carried.structures.rois[2]
    if not contours:
        assert np.array_equal(fused.labels.mask(5), carried.labels.mask(5))


def test_names_on_the_wrong_side_are_told_and_nothing_is_mixed():
    grid = Geometry(SHAPE, SUPINE)
    mirrored = labels_of(grid, {1: (12, 0, 0), 2: (-12, 0, 0)}, {1: "Parotid_R", 2: "Parotid_L"})
    found = seen(labels_of(grid, {1: (12, 0, 0), 2: (-12, 0, 0)}, dict(enumerate(MODEL, 1))))
    carried, second, fused = both(mirrored, found, contours=True)
    assert [one.exchanged for one in second.organs] == [True, True, False]
    assert {one.gate.status for one in second.organs if one.gate} <= {"fail", "not_assessed"}
    assert fused.shares == {}
    assert fused.structures.rois == carried.structures.rois
    assert {notice.code for notice in fused.notices} == {"rs.unfused"}
    assert "other side" in fused.notices[0].message


@pytest.mark.parametrize("place", [(0, 10, 0), (0, -3, 0), None], ids=["elsewhere", "hardly the same", "nothing"])
def test_what_the_model_does_not_find_there_stays_as_it_was_carried(place):
    grid = Geometry(SHAPE, SUPINE)
    drawn = labels_of(grid, {1: (0, -10, 0)}, {1: "larynx"})
    found = seen(labels_of(grid, {3: place} if place else {}, dict(enumerate(MODEL, 1))))
    carried, second, fused = both(drawn, found, contours=True)
    assert second.labels == {1: 3}
    assert fused.structures.rois == carried.structures.rois
    assert [notice.code for notice in fused.notices] == ["rs.unfused"]


def test_the_outline_fills_what_a_fused_organ_leaves():
    """In a label map the body is wherever no organ is."""
    grid = Geometry(SHAPE, SUPINE)
    body = ball(grid, (0, 0, 0), 20.0)
    image = Volume(np.where(body, 40, -1000).astype(np.float32), grid)
    drawn = LabelMap(np.where(ball(grid, (0, 0, 0)), 1, np.where(body, 2, 0)).astype(np.uint32), grid, {1: "Larynx", 2: "BODY"})
    found = seen(labels_of(grid, {3: (4, 0, 0)}, dict(enumerate(MODEL, 1))))
    carried = propagate(image, drawn, image, registration=Still())
    assert carried.results[1].how == "found"
    fused = fuse(carried, found, second_estimate(carried, found, read_tolerances()), {"larynx": 1.0})
    inside = (carried.labels.array > 0) | fused.labels.mask(1)
    assert (fused.labels.array[inside] > 0).all()
    assert fused.labels.mask(1).any()
    assert not np.array_equal(fused.labels.mask(1), carried.labels.mask(1))


def test_two_structures_of_one_name_are_not_guessed_at():
    grid = Geometry(SHAPE, SUPINE)
    drawn = labels_of(grid, {1: (0, -10, 0), 2: (0, 10, 0)}, {1: "larynx", 2: "x"})
    twice = replace(
        structures_of_labels(drawn), rois=tuple(replace(r, name="larynx") for r in structures_of_labels(drawn).rois)
    )
    image = Volume(np.zeros(SHAPE, np.float32), grid)
    carried = propagate(image, twice, image, registration=Still(), body="propagate")
    second = second_estimate(carried, seen(labels_of(grid, {3: (0, 10, 0)}, dict(enumerate(MODEL, 1)))), read_tolerances())
    assert second.labels == {}
    assert [(one.number, one.match.kind) for one in second.organs][-2:] == [(1, "given only"), (2, "given only")]
    assert "several" in {match.kind for match in second.matches}


@pytest.mark.parametrize(("agreement", "status"), [({}, "fail"), ({"larynx": 0.5}, "pass"), ({"larynx": 0.9}, "review")])
def test_how_far_a_right_contour_lies_from_the_models_is_the_models_to_say(agreement, status):
    grid = Geometry((48, 48, 48), SUPINE)
    drawn = LabelMap(ball(grid, (0, 0, 0), 12.0).astype(np.uint32), grid, {1: "Larynx"})
    image = Volume(np.zeros(grid.shape, np.float32), grid)
    carried = propagate(image, drawn, image, registration=Still(), body="propagate")
    found = seen(LabelMap(3 * ball(grid, (6, 0, 0), 12.0).astype(np.uint32), grid, dict(enumerate(MODEL, 1))))
    (row,) = second_estimate(carried, replace(found, agreement=agreement), read_tolerances()).rows
    assert row.status == status
