"""Target registration error."""

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.errors import InputError
from jrscli.metrics.landmarks import landmark_errors, tre
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.itk import image_from_array
from jrscli.spatial.transform import Transform

GRID = Geometry((10, 12, 9), np.diag((1.0, 2.0, 3.0, 1.0)))


def points(n=25, seed=0):
    return GRID.index_to_world(np.random.default_rng(seed).uniform(1, np.array(GRID.shape) - 2, (n, 3)))


def field(seed=1):
    return DisplacementField(np.random.default_rng(seed).normal(size=(*GRID.shape, 3)), GRID)


def test_translation_is_exact():
    shift = np.array([3.0, -4.0, 12.0])
    moving = points() + shift
    there = Transform((AffineTransform.about(np.eye(3), np.zeros(3), shift),))
    errors = landmark_errors(points(), moving, there)
    assert errors.before_mm == pytest.approx(13.0)
    assert errors.after_mm == pytest.approx(0.0, abs=1e-12)


def test_the_opposite_direction_is_twice_as_wrong():
    shift = np.array([2.0, 0.0, 0.0])
    back = Transform((AffineTransform.about(np.eye(3), np.zeros(3), -shift),))
    assert landmark_errors(points(), points() + shift, back).after_mm == pytest.approx(4.0)


def test_agrees_with_simpleitk():
    there = field()
    theirs = sitk.DisplacementFieldTransform(image_from_array(there.array, GRID))
    moved = np.array([theirs.TransformPoint(point.tolist()) for point in points()])
    errors = landmark_errors(points(), points(seed=5), Transform((there,)))
    assert errors.after_mm == pytest.approx(np.linalg.norm(moved - points(seed=5), axis=1), abs=1e-4)


def test_point_outside_the_field_is_counted_and_kept():
    beyond = np.array([[500.0, 0.0, 0.0], *points(3)])
    errors = landmark_errors(beyond, beyond + 1.0, Transform((field(),)))
    assert errors.outside.tolist() == [True, False, False, False]
    assert errors.after_mm[0] == pytest.approx(np.sqrt(3))
    found = {value.id: value.value for value in tre(errors)}
    assert (found["tre.v1(n)"], found["tre.v1(outside)"]) == (4, 1)


def test_statistics_by_hand():
    fixed = np.zeros((4, 3))
    moving = np.array([[1.0, 0, 0], [2.5, 0, 0], [4.0, 0, 0], [6.0, 0, 0]])
    found = {value.id: value.value for value in tre(landmark_errors(fixed, moving))}
    assert found["tre.v1(mean)"] == pytest.approx(3.375)
    assert found["tre.v1(median)"] == pytest.approx(3.25)
    assert found["tre.v1(max)"] == 6.0
    assert found["tre.v1(sd)"] == pytest.approx(np.std([1, 2.5, 4, 6]))
    assert [found[f"tre.v1(>{limit}mm)"] for limit in (2, 3, 5)] == [75, 50, 25]


@pytest.mark.parametrize(("fixed", "moving"), [(3, 2), (0, 0)])
def test_lists_that_are_no_pairs_are_refused(fixed, moving):
    with pytest.raises(InputError) as caught:
        landmark_errors(np.zeros((fixed, 3)), np.zeros((moving, 3)))
    assert caught.value.code == "points.pairs"
