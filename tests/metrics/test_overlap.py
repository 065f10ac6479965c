"""Overlap, volume and centroid shift."""

import re
import subprocess

import numpy as np
import pytest
import SimpleITK as sitk
import surface_distance as oracle

from jrscli.errors import GeometryError
from jrscli.metrics import overlap
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.itk import image_from_array

SPACING = (0.7, 1.5, 4.0)


def oblique():
    axes = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = axes * SPACING
    affine[:3, 3] = (-40, 12, 300)
    return Geometry((12, 10, 8), affine)


def masks(seed=0, shape=(12, 10, 8)):
    rng = np.random.default_rng(seed)
    return rng.random(shape) < 0.4, rng.random(shape) < 0.5


def both(*pair):
    return overlap.count(*pair)


NOTHING = np.zeros((4, 4, 4), bool)
SOMETHING = NOTHING.copy()
SOMETHING[1:3, 1:3, 1:3] = True


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_simpleitk(seed):
    one, other = masks(seed)
    measure = sitk.LabelOverlapMeasuresImageFilter()
    geometry = oblique()
    measure.Execute(*(image_from_array(mask.astype(np.uint8), geometry) for mask in (one, other)))
    counts = both(one, other)
    assert overlap.dice(counts).value == pytest.approx(measure.GetDiceCoefficient(), abs=1e-12)
    assert overlap.jaccard(counts).value == pytest.approx(measure.GetJaccardCoefficient(), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_dice_agrees_with_surface_distance(seed):
    one, other = masks(seed)
    expected = oracle.compute_dice_coefficient(one, other)
    assert overlap.dice(both(one, other)).value == pytest.approx(expected, abs=1e-12)


def test_dice_agrees_with_plastimatch(tmp_path, requires_tool):
    tool = requires_tool("plastimatch")
    one, other = masks()
    for name, mask in (("one", one), ("other", other)):
        sitk.WriteImage(image_from_array(mask.astype(np.uint8), oblique()), str(tmp_path / f"{name}.mha"))
    done = subprocess.run([tool, "dice", "one.mha", "other.mha"], cwd=tmp_path, check=True, capture_output=True, text=True)
    theirs = float(re.search(r"DICE:\s*([0-9.]+)", done.stdout).group(1))
    assert overlap.dice(both(one, other)).value == pytest.approx(theirs, abs=1e-6)


def test_jaccard_follows_from_dice():
    counts = both(*masks())
    dice = overlap.dice(counts).value
    assert overlap.jaccard(counts).value == pytest.approx(dice / (2 - dice), abs=1e-12)


def test_sensitivity_and_ppv_by_hand():
    counts = overlap.Counts(reference=8, test=5, both=4)
    assert overlap.sensitivity(counts).value == 0.5
    assert overlap.ppv(counts).value == 0.8


def test_volume_and_centroid_agree_with_simpleitk_on_an_oblique_grid():
    one, other = masks()
    geometry = oblique()
    found = []
    for mask in (one, other):
        shape = sitk.LabelShapeStatisticsImageFilter()
        shape.Execute(image_from_array(mask.astype(np.uint8), geometry))
        found.append((shape.GetPhysicalSize(1) / 1000, np.array(shape.GetCentroid(1))))
    reference, test = overlap.volumes(both(one, other), geometry.spacing_mm)
    assert reference.value == pytest.approx(found[0][0], abs=1e-9)
    assert test.value == pytest.approx(found[1][0], abs=1e-9)
    length, *parts = overlap.centroid_shift(one, other, geometry)
    shift = found[1][1] - found[0][1]
    assert [part.value for part in parts] == pytest.approx(shift.tolist(), abs=1e-6)
    assert length.value == pytest.approx(np.linalg.norm(shift), abs=1e-6)


def test_doubling_the_spacing_multiplies_volume_by_eight():
    counts = overlap.Counts(reference=1000, test=1200, both=1000)
    fine, coarse = overlap.volumes(counts, (0.7, 1.5, 4.0)), overlap.volumes(counts, (1.4, 3.0, 8.0))
    assert [value.value for value in coarse] == pytest.approx([8 * value.value for value in fine], rel=1e-12)


def test_volume_difference_by_hand():
    counts = overlap.Counts(reference=1000, test=1200, both=1000)
    difference, relative = overlap.volume_diff(counts, (1.0, 1.0, 2.0))
    assert difference.value == pytest.approx(0.4)
    assert relative.value == pytest.approx(20.0)


def test_both_empty_is_null():
    counts = both(NOTHING, NOTHING)
    found = [overlap.dice(counts), overlap.jaccard(counts), overlap.sensitivity(counts), overlap.ppv(counts)]
    found += overlap.volume_diff(counts, SPACING)
    assert {value.value for value in found} == {None}
    assert {value.status for value in found} == {"both_empty"}


def test_volume_of_both_empty_is_zero():
    assert [value.value for value in overlap.volumes(both(NOTHING, NOTHING), SPACING)] == [0, 0]


def test_test_empty_is_zero_overlap():
    counts = both(SOMETHING, NOTHING)
    for value in (overlap.dice(counts), overlap.jaccard(counts), overlap.sensitivity(counts)):
        assert (value.value, value.status) == (0.0, "test_empty")
    assert overlap.ppv(counts).value is None


def test_reference_empty_is_zero_overlap_without_relative_volume():
    counts = both(NOTHING, SOMETHING)
    assert (overlap.dice(counts).value, overlap.dice(counts).status) == (0.0, "ref_empty")
    assert overlap.sensitivity(counts).value is None
    difference, relative = overlap.volume_diff(counts, SPACING)
    assert difference.value == pytest.approx(8 * 4.2 / 1000)
    assert relative.value is None


def test_centroid_shift_with_one_empty_is_null():
    geometry = Geometry((4, 4, 4), np.eye(4))
    assert {value.value for value in overlap.centroid_shift(SOMETHING, NOTHING, geometry)} == {None}


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(GeometryError) as caught:
        overlap.count(NOTHING, np.zeros((4, 4, 5), bool))
    assert caught.value.code == "grid.mismatch"


def test_nothing_is_thresholded():
    with pytest.raises(TypeError, match="float32"):
        overlap.count(NOTHING, SOMETHING.astype(np.float32))
