"""The template of a training: the case most like the others, shipped as the scanner gave it."""

import numpy as np
import pytest
import torch

from jrscli.errors import UsageError
from jrscli.io import read_image
from jrscli.training.cases import read_data
from jrscli.training.extents import extents
from jrscli.training.prepared import Cases
from jrscli.training.sampling import Sampler
from jrscli.training.template import choose_template, disagreement, shipped, similarity


@pytest.fixture
def training(study):
    data, cases = read_data(study)
    return Cases(data, cases, "train")


def test_a_similarity_is_found():
    """A blob that was moved and is smaller: where each voxel of one reads from in the other."""
    index = torch.stack(torch.meshgrid(*(torch.arange(16.0) for _ in range(3)), indexing="ij"))

    def blob(middle, radius):
        return torch.exp(-((index - torch.tensor(middle).view(3, 1, 1, 1)) ** 2).sum(0) / radius**2)[None, None]

    fixed, moving = blob([8.0, 8.0, 8.0], 4.0), blob([6.0, 9.0, 8.0], 3.2)
    found = similarity(moving, fixed)
    assert found[0, :, 8, 8, 8].tolist() == pytest.approx([6, 9, 8], abs=0.5)
    size = float((found[0, 0, 12, 8, 8] - found[0, 0, 4, 8, 8]) / 8)
    assert size == pytest.approx(0.8, abs=0.1)


def test_the_case_most_like_the_others_is_chosen(training):
    best = choose_template(training)
    others = {n: float(disagreement(training, n, [m for m in range(5) if m != n]).mean()) for n in range(5)}
    assert best == min(others, key=others.get)
    assert max(others.values()) > min(others.values())
    assert choose_template(training, "3") == 3
    with pytest.raises(UsageError, match="is no training case"):
        choose_template(training, "7")


def test_a_case_with_a_label_missing_cannot_be_it(study):
    data, cases = read_data(study, changes={"distrusted": {"left": ["0", "1", "2", "3"]}})
    assert choose_template(Cases(data, cases, "train")) == 4


def test_it_is_shipped_as_the_scanner_gave_it(training):
    found = shipped(training, 2)
    source = read_image(training.cases[2].image).volume
    assert found.image.shape == (32, 32, 32)
    assert sorted(np.unique(np.round(source.array, 3)))[-1] == pytest.approx(float(found.image.max()), abs=1e-3)
    assert np.array_equal(found.labels, training[2].labels)


def test_the_template_is_drawn_as_it_is_and_never_as_the_fixed_image(training):
    from jrscli.training.augment import Augmentation

    sampler = Sampler(training, seed=0, device=torch.device("cpu"), template=3, augmentation=Augmentation(chance=1.0))
    plain = torch.from_numpy(training[3].image)[None]
    for n in range(8):
        one = sampler.draw("template", 0, n, 0, 0)
        assert torch.equal(one.moving, plain)
        assert bool(one.has_fixed_labels.all() & one.has_moving_labels.all())
        assert not any(torch.equal(one.fixed_labels.argmax(1), one.moving_labels.argmax(1)) for _ in range(1))


def test_boxes_are_those_of_labels_that_count(study):
    data, cases = read_data(study)
    every = extents(Cases(data, cases, "train"))
    assert every.shape == (2, 6)
    assert 4 < float(every[0, 0]) < 8  # radii of 4 voxels, more or less
    changed, cases = read_data(study, changes={"distrusted": {"left": ["0", "1", "2", "3", "4"]}})
    fewer = extents(Cases(changed, cases, "train"))
    assert fewer[0].tolist() == [32] * 6
    assert torch.equal(fewer[1], every[1])
