"""Likeness of two images before and after a registration."""

import numpy as np
import pytest

from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume
from jrscli.workflows import evaluate_images as module
from jrscli.workflows.evaluate_images import evaluate_images

GRID = Geometry((30, 28, 20), np.diag((2.0, 2.0, 3.0, 1.0)))
THERE = Transform((AffineTransform.about(np.eye(3), np.zeros(3), np.array([6.0, 0.0, 0.0])),))


def image(offset_mm=0.0, air=-1000.0):
    i, j, k = np.indices(GRID.shape)
    inside = ((2 * i - 28 - offset_mm) / 20) ** 2 + ((2 * j - 28) / 18) ** 2 < 1
    return Volume((np.where(inside, 40.0 + 30 * np.sin(0.2 * (2 * i - offset_mm) + 0.1 * j + k), air)).astype(np.float32), GRID)


def rows(fixed, moving, **options):
    before, after = resample(moving, GRID), resample(moving, GRID, THERE)
    found = evaluate_images(fixed, GRID, THERE, before, after, **options)
    return found, {row.name: {id_: value.value for id_, value in row.values.items()} for row in found.rows}


def test_difference_of_a_ct_is_in_hu_within_the_patient():
    moving = Volume(image(6.0).array + np.float32(10) * (image(6.0).array > -500), GRID)
    found, values = rows(image(), moving)
    assert (found.kind, found.facts["region"]) == ("images", "patient outline")
    assert found.rows[0].values["mean_abs_diff.v1"].unit == "HU"
    assert values["after"]["ncc.v1"] > values["before"]["ncc.v1"]
    assert values["after"]["nmi.v1"] > values["before"]["nmi.v1"]


def test_images_of_two_contrasts_have_no_difference():
    found, values = rows(image(air=0.0), image(6.0, air=0.0), same_contrast=False)
    assert found.facts["region"] == "overlap"
    assert values["after"]["mean_abs_diff.v1"] is None
    assert found.rows[1].values["mean_abs_diff.v1"].status == "not_assessed"


def test_large_images_are_looked_at_voxel_by_voxel_no_more(monkeypatch):
    monkeypatch.setattr(module, "MOST_VOXELS", 3000)
    fixed = image(air=0.0)
    found = evaluate_images(fixed, GRID, Transform.identity(), fixed, fixed)
    assert found.facts["stride"] == 2
    assert found.facts["spacing_mm"] == pytest.approx([4.0, 4.0, 6.0])
    assert found.rows[1].values["ncc.v1"].value == pytest.approx(1.0)


def test_what_the_moving_image_does_not_reach_is_left_out():
    fixed = image(air=0.0)
    far = Transform((AffineTransform.about(np.eye(3), np.zeros(3), np.array([30.0, 0.0, 0.0])),))
    after = Volume(np.where(np.arange(30)[:, None, None] < 15, fixed.array, 999.0).astype(np.float32), GRID)
    found = evaluate_images(fixed, GRID, far, fixed, after)
    assert found.rows[1].values["mean_abs_diff.v1"].value == 0.0
