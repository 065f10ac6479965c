from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from jrscli.errors import GeometryError, InputError
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.segment import segment_by_atlas

GRID = Geometry((40, 36, 20), np.diag((2.0, 2.0, 2.0, 1.0)))


def scene(move: tuple[float, float, float] = (0, 0, 0), noise: int = 0) -> tuple[Volume, LabelMap]:
    """Two touching boxes of different brightness on texture, moved by voxels; the texture moves along."""
    rng = np.random.default_rng(0)
    labels = np.zeros(GRID.shape)
    labels[10:20, 10:26, 5:15], labels[20:30, 10:26, 5:15] = 1, 2
    image = np.choose(labels.astype(int), [0, 600, 1000]) + 4000 * gaussian_filter(rng.standard_normal(GRID.shape), 2)
    image = shift(image, move, order=1, mode="nearest")
    image = image + np.random.default_rng(noise).normal(0, 20, GRID.shape)
    moved = shift(labels, move, order=0)
    return Volume(image.astype(np.float32), GRID), LabelMap(moved.astype(np.uint32), GRID, {1: "Left", 2: "Right"})


class By:
    """A registration that moves the atlas by these millimetres."""

    def __init__(self, *mm: float) -> None:
        there = AffineTransform.about(np.eye(3), np.zeros(3), np.array(mm))
        self.transform, self.inverse = Transform((there.inverse(),)), Transform((there,))


def test_one_atlas_is_plain_propagation(dice):
    image, labels = scene((3, -2, 1), noise=1)
    atlas = scene(noise=2)
    done = segment_by_atlas(image, [atlas], registrations=[By(6, -4, 2)])
    for number in (1, 2):
        assert dice(done.labels.mask(number), labels.mask(number)) > 0.98
    assert dict(done.labels.names) == {1: "Left", 2: "Right"}
    assert done.similarities[0] > 0.5


def test_the_atlas_that_fits_better_wins(dice):
    image, labels = scene(noise=1)
    good, bad = scene(noise=2), scene((4, 0, 0), noise=3)
    alone = segment_by_atlas(image, [bad], registrations=[By(0, 0, 0)])
    fused = segment_by_atlas(image, [bad, good], registrations=[By(0, 0, 0), By(0, 0, 0)])
    assert fused.similarities[1] > fused.similarities[0] + 0.2
    assert dice(alone.labels.mask(1), labels.mask(1)) < 0.7
    for number in (1, 2):
        assert dice(fused.labels.mask(number), labels.mask(number)) > 0.97


def test_two_atlases_shifted_either_way_meet_in_the_middle(dice):
    image, labels = scene(noise=1)
    left, right = scene((1, 0, 0), noise=2), scene((-1, 0, 0), noise=3)
    single = segment_by_atlas(image, [left], registrations=[By(0, 0, 0)])
    fused = segment_by_atlas(image, [left, right], registrations=[By(0, 0, 0), By(0, 0, 0)])
    assert dice(fused.labels.mask(1), labels.mask(1)) > dice(single.labels.mask(1), labels.mask(1)) + 0.02


def test_a_label_that_only_one_atlas_has_must_win_its_vote():
    image, labels = scene(noise=1)
    extra = np.array(labels.array)
    extra[5:8, 28:32, 8:12] = 7
    with_extra = LabelMap(extra, GRID, {7: "Extra"})
    atlas = scene(noise=2)[0]
    still = By(0, 0, 0)
    outvoted = segment_by_atlas(image, [(atlas, labels), (atlas, labels), (atlas, with_extra)], registrations=[still] * 3)
    assert outvoted.labels.numbers() == [1, 2]
    assert outvoted.labels.names[7] == "Extra"
    believed = segment_by_atlas(image, [(atlas, labels), (atlas, with_extra), (atlas, with_extra)], registrations=[still] * 3)
    assert believed.labels.numbers() == [1, 2, 7]


def test_brightness_of_the_atlas_does_not_matter():
    image, _ = scene(noise=1)
    atlas, labels = scene(noise=2)
    inverted = Volume(-3 * atlas.array + 100, GRID)
    done = segment_by_atlas(image, [(inverted, labels)], registrations=[By(0, 0, 0)])
    plain = segment_by_atlas(image, [(atlas, labels)], registrations=[By(0, 0, 0)])
    assert done.similarities[0] == pytest.approx(plain.similarities[0], abs=0.01)


def test_bad_atlases_are_refused():
    image, labels = scene()
    with pytest.raises(InputError) as refused:
        segment_by_atlas(image, [])
    assert refused.value.code == "atlas.none"
    other = LabelMap(labels.array[:-1], GRID.cropped_to((0, 0, 0), (39, 36, 20)))
    with pytest.raises(GeometryError) as wrong:
        segment_by_atlas(image, [(image, other)])
    assert wrong.value.code == "atlas.grid"
