"""Simulated follow-ups: they shrink as much as they say, repeat themselves, and become visits of a data list."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jrscli.errors import InputError
from jrscli.nn.warp import warp
from jrscli.runtime.plain import PlainError
from jrscli.training.cases import read_data
from jrscli.training.prepared import Cases, labelled_source
from jrscli.training.sampling import Sampler
from jrscli.training.simulated.followups import FollowUps, follow_up
from jrscli.training.validate import determinant

from .conftest import phantom, write_list

MM = (1.0, 1.0, 1.0)


def scan(seed=0):
    """Values 0 … 1, and labels."""
    image, labels = phantom(seed)
    return np.clip(image / 100, 0, 1)[None], labels.astype(np.uint8)


def followed(amounts, patient="a", visit=1, spacing_mm=MM):
    image, labels = scan()
    return follow_up(image, labels, spacing_mm, (0.0, 1.0), amounts, patient, visit)


@pytest.mark.parametrize("spacing_mm", [MM, (1.0, 1.0, 2.0)])
@pytest.mark.parametrize("patient", ["a", "b", "c"])
def test_labels_lose_the_share_of_volume_that_was_drawn(patient, spacing_mm):
    found = followed(FollowUps(shrink=0.2, drift_mm=0), patient, spacing_mm=spacing_mm)
    _, labels = scan()
    assert ((found.shrunk >= -0.005) & (found.shrunk <= 0.2)).all()
    for n, lost in enumerate(found.shrunk, start=1):
        moved = warp(torch.from_numpy((labels == n).astype(np.float32))[None, None], torch.from_numpy(found.motion)[None])
        assert float(moved.sum()) / (labels == n).sum() == pytest.approx(1 - lost, abs=0.01)
    assert found.shrunk.max() > 0.01


def test_the_flow_folds_nothing_and_ends_near_the_labels():
    found = followed(FollowUps(shrink=0.2, drift_mm=0, reach_mm=2))
    assert float(determinant(torch.from_numpy(found.motion)[None]).min()) > 0.5
    assert np.abs(found.motion[:, 0, 0, 0]).max() < 0.01
    assert np.abs(found.motion).max() > 0.1


def test_nothing_shrinks_between_scan_and_rescan():
    """Two draws of noise over the same anatomy."""
    amounts = FollowUps(visits=2, shrink=0, drift_mm=0, gain=0, noise=0.05)
    one, two = (followed(amounts, visit=visit) for visit in (1, 2))
    image, labels = scan()
    assert not one.motion.any()
    assert np.array_equal(one.labels, labels)
    assert 0.04 < np.std((one.image - image)[(image > 0.2) & (image < 0.8)]) < 0.06
    assert not np.array_equal(one.image, two.image)


def test_drift_is_the_same_everywhere_and_in_mm():
    found = followed(FollowUps(shrink=0, drift_mm=1), spacing_mm=(1.0, 1.0, 4.0))
    assert np.ptp(found.motion.reshape(3, -1), axis=1).max() < 1e-6
    assert np.abs(found.motion[2]).max() <= 0.25


def test_a_visit_is_the_same_whenever_it_is_made():
    amounts = FollowUps()
    assert np.array_equal(followed(amounts).image, followed(amounts).image)
    for other in (followed(amounts, "b"), followed(amounts, visit=2), followed(FollowUps(seed=1))):
        assert not np.array_equal(followed(amounts).image, other.image)


def test_without_labels_only_place_and_grey_values_change():
    image, _ = scan()
    found = follow_up(image, None, MM, (0.0, 1.0), FollowUps(), "a", 1)
    assert found.labels is None
    assert np.ptp(found.motion.reshape(3, -1), axis=1).max() < 1e-6


def test_values_stay_in_their_range():
    image, labels = scan()
    found = follow_up(2 * image - 1, labels, MM, (-1.0, 1.0), FollowUps(noise=0.2), "a", 1)
    assert found.image.min() == -1
    assert found.image.max() <= 1


def test_they_are_visits_of_a_data_list(study, tmp_path):
    listed = {"root": str(study.parent), "pairs": "visits", "simulate": {"followups": {"visits": 2, "shrink": 0.1}}}
    data, cases = read_data(write_list(tmp_path / "data.yaml", **listed))
    assert [(case.patient, case.made) for case in cases[:4]] == [("0", None), ("0", 1), ("0", 2), ("1", None)]
    training = Cases(data, cases, "train")
    assert training.make_a_pair(0, 2)
    assert not training.make_a_pair(2, 3)
    assert not np.array_equal(training[0].image, training[1].image)
    batch = Sampler(training, seed=0, device=torch.device("cpu")).draw("pairs", 0, 0, 0, 0)
    assert float(torch.corrcoef(torch.stack([batch.fixed.flatten(), batch.moving.flatten()]))[0, 1]) > 0.8
    # what a model is scored on, on the images' own grid: a visit is no copy of its scan
    scan_of, visit_of = (labelled_source(data, cases[n]) for n in (0, 1))
    assert visit_of[0].geometry.matches(scan_of[0].geometry)
    assert 0.5 < float(np.corrcoef(scan_of[0].array.ravel(), visit_of[0].array.ravel())[0, 1]) < 0.999
    assert 0.001 < float((scan_of[1].array != visit_of[1].array).mean()) < 0.1
    with pytest.raises(InputError, match="visits"):
        read_data(write_list(tmp_path / "wrong.yaml", **{**listed, "pairs": "patients"}))


@pytest.mark.parametrize("values", [{"shrink": 0.6}, {"noise": -0.1}, {"visits": 0}])
def test_what_cannot_be_made_is_refused(values):
    with pytest.raises(PlainError):
        FollowUps(**values)
