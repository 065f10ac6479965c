"""The inverse of a transform, its figures, and structure sets to labels and back."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.contours import labels_of_structures, structures_of_labels
from jrscli.workflows.describe import describe_transform
from jrscli.workflows.warp import inverse_of

GRID = Geometry((30, 28, 26), np.diag((1.5, 1.5, 2.0, 1.0)))


def _bump(peak_mm: float) -> DisplacementField:
    index = np.moveaxis(np.indices(GRID.shape), 0, -1)
    offset = (index - (np.array(GRID.shape) - 1) / 2) / (np.array(GRID.shape) / 7)
    weight = np.exp(-0.5 * (offset**2).sum(-1))
    return DisplacementField((weight[..., None] * np.array([peak_mm, -peak_mm / 2, 0])).astype(np.float32), GRID)


def _turned() -> AffineTransform:
    t = np.radians(10)
    turn = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    return AffineTransform.about(turn, GRID.centre_mm, np.array([3.0, -2, 1]))


def test_the_inverse_of_a_chain_comes_back() -> None:
    chain = Transform((_bump(3.0), _turned()))
    points = GRID.index_to_world(np.random.default_rng(0).uniform(6, 20, (200, 3)))
    np.testing.assert_allclose(inverse_of(chain).map_points(chain.map_points(points)), points, atol=0.05)


def test_a_rigid_transform_in_figures() -> None:
    facts = describe_transform(Transform((_turned(),)))
    assert facts.linear
    assert facts.rotation_deg == pytest.approx(10)
    assert facts.sentence == "rigid: rotates by 10.00°"


def test_an_affine_transform_says_its_scales() -> None:
    facts = describe_transform(Transform((AffineTransform(np.diag((1.1, 1.0, 0.9, 1.0))),)), GRID)
    assert facts.scales == pytest.approx((1.1, 1.0, 0.9))
    assert "scales by 1.100 × 1.000 × 0.900" in facts.sentence
    assert facts.jacobian_min == pytest.approx(0.99, abs=1e-3)


def test_a_field_in_figures() -> None:
    facts = describe_transform(Transform((_bump(3.0),)))
    assert not facts.linear
    assert facts.matrix is None
    assert facts.displacement_max_mm == pytest.approx(3 * np.sqrt(1.25), rel=0.04)
    assert facts.folding_percent == 0
    assert "folds nowhere" in facts.sentence


def test_a_folded_field_is_told() -> None:
    facts = describe_transform(Transform((_bump(40.0),)))
    assert facts.jacobian_min is not None
    assert facts.jacobian_min < 0
    assert facts.folding_percent is not None
    assert facts.folding_percent > 0
    assert "folds at" in facts.sentence


def _square(low: float, high: float, z: float) -> Contour:
    return Contour(np.array([[low, low, z], [high, low, z], [high, high, z], [low, high, z]]))


def test_a_small_structure_stays_visible_in_a_large_one() -> None:
    large = Roi(5, "Body", tuple(_square(3, 30, z) for z in (4.0, 6.0, 8.0)))
    small = Roi(1, "PTV", (_square(10, 16, 6.0),))
    for rois in ((large, small), (small, large)):
        labels, notices = labels_of_structures(StructureSet(rois), GRID)
        assert labels.numbers() == [1, 5]
        assert labels.array[9, 9, 3] == 1
        assert labels.array[5, 5, 3] == 5
        assert [notice.code for notice in notices] == ["labels.overlap"]


def test_structures_beside_the_image_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        labels_of_structures(StructureSet((Roi(1, "far", (_square(500, 600, 4.0),)),)), GRID)
    assert caught.value.code == "rs.outside"


def test_labels_become_structures_and_labels_again() -> None:
    array = np.zeros(GRID.shape, np.uint32)
    array[4:12, 5:15, 6:9] = 2
    array[20:22, 20:22, 3] = 70_000
    labels = LabelMap(array, GRID, {2: "A", 70_000: "B", 9: "empty"})
    structures = structures_of_labels(labels)
    assert [(roi.number, roi.name, bool(roi.contours)) for roi in structures.rois] == [
        (2, "A", True),
        (9, "empty", False),
        (70_000, "B", True),
    ]
    again, notices = labels_of_structures(structures, GRID)
    np.testing.assert_array_equal(again.array, array)
    assert notices == ()
