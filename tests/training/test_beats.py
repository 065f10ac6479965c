"""Simulated heart beats, and methods that take slice by slice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jrscli.nn.warp import integrate, resize_field, warp
from jrscli.runtime.plain import PlainError
from jrscli.training import checkpoint
from jrscli.training.augment import Augmentation
from jrscli.training.cases import read_data
from jrscli.training.prepared import Cases
from jrscli.training.run import train
from jrscli.training.sampling import Sampler
from jrscli.training.simulated.beats import Cycle, beat, velocity_between
from jrscli.training.validate import Examples, validate, validation_pairs

CPU = torch.device("cpu")


def spot(radius: float, shape=(32, 32)) -> torch.Tensor:
    """One smooth disc, (1, 1, i, j)."""
    index = torch.stack(torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"))
    return torch.sigmoid(radius - index.norm(dim=0))[None, None]


@pytest.mark.parametrize("frames", [2, 7, 10])
def test_a_beat_goes_all_the_way_and_comes_back(frames):
    cycle = Cycle(frames=frames)
    parts = [cycle.part(t) for t in range(frames + 1)]
    assert parts[0] == pytest.approx(0)
    assert parts[cycle.peak] == pytest.approx(1)
    assert parts[-1] == pytest.approx(0, abs=1e-12)
    assert (np.diff(parts[: cycle.peak + 1]) > 0).all()
    assert (np.diff(parts[cycle.peak :]) < 0).all()
    with pytest.raises(PlainError, match="two frames"):
        Cycle(frames=1)


def test_the_velocity_makes_one_image_of_the_other_and_its_negative_goes_back():
    one, other = spot(9), spot(6)
    velocity = velocity_between(one, other, None, Cycle(steps=80))
    assert not velocity.requires_grad

    def gap(image, target, v):
        return float((warp(image, resize_field(integrate(v, 5), (32, 32))) - target).square().mean())

    assert gap(one, other, velocity) < 0.2 * gap(one, other, 0 * velocity)
    assert gap(other, one, -velocity) < 0.3 * gap(other, one, 0 * velocity)


def test_both_images_stand_in_the_beat_as_they_are_and_the_rest_lies_between():
    one, other = spot(9), spot(6)
    cycle = Cycle(frames=6, steps=60, noise=0.05)
    velocity = velocity_between(one, other, (one, other), cycle)
    made = [beat(one[0], other[0], velocity[0], cycle, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert made[0].shape == (7, 1, 32, 32)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert torch.equal(made[0][0], one[0])
    assert torch.equal(made[0][3], other[0])
    sizes = made[0].sum((1, 2, 3))
    assert (sizes[:4].diff() < 0).all()
    assert (sizes[3:].diff() > 0).all()


def visits(study, dims=3):
    """Three patients with two images each."""
    cases = [
        {"patient": name, "image": f"images/case_{n}.nii.gz", "labels": f"labels/case_{n}.nii.gz", "part": part}
        for n, (name, part) in enumerate(zip("aabbccd", ["train"] * 4 + ["validation"] * 2 + ["train"], strict=True))
    ]
    size = [32, 32, 32] if dims == 3 else [32, 32, 1]
    grid = {"dims": dims, "orientation": None, "spacing_mm": [1, 1, 1], "size": size}
    data, found = read_data(
        study, changes={"images": None, "label_files": None, "cases": cases, "pairs": "visits", "grid": grid}
    )
    return Cases(data, found, "train"), Cases(data, found, "validation")


def same(one, other):
    names = ("fixed", "fixed_labels", "moving", "moving_labels", "sequence")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.mark.parametrize("dims", [2, 3])
def test_sequences_begin_with_the_fixed_image_and_have_the_moving_one_at_their_peak(study, dims):
    training, _ = visits(study, dims)
    cycle = Cycle(frames=4, steps=2)
    fresh, used = (
        Sampler(training, seed=0, batch=2, device=CPU, cycle=cycle, augmentation=Augmentation(in_plane=True)) for _ in range(2)
    )
    used.draw("sequences", 0, 0, 0, 0)
    batch = fresh.draw("sequences", 0, 3, 0, 0)
    assert batch.sequence.shape == (2, 5, 1, *(32,) * dims)
    assert torch.equal(batch.sequence[:, 0], batch.fixed)
    assert torch.equal(batch.sequence[:, batch.moving_frame], batch.moving)
    assert batch.moving_labels.shape == (2, 3, *(32,) * dims)
    assert bool(batch.has_fixed_labels.all())
    assert not torch.equal(batch.fixed, batch.moving)
    assert same(batch, used.draw("sequences", 0, 3, 0, 0))  # whatever was drawn, and fitted, before


def test_the_way_back_is_fitted_once(study):
    training, _ = visits(study)
    sampler = Sampler(training, seed=0, device=CPU, cycle=Cycle(frames=2, steps=2))
    assert torch.equal(sampler._velocity(0, 1), -sampler._velocity(1, 0))
    assert len(sampler._velocities) == 1


def test_a_method_for_slices_gets_the_same_slice_of_both_visits(study):
    training, _ = visits(study, dims=2)
    sampler = Sampler(training, seed=0, batch=2, device=CPU)
    seen = set()
    for n in range(12):
        batch = sampler.draw("pairs", 0, n, 0, 0)
        assert batch.fixed.shape == (2, 1, 32, 32)
        assert batch.spacing.shape == (2, 2)
        for row in range(2):
            places = []
            for image in (batch.fixed[row, 0].numpy(), batch.moving[row, 0].numpy()):
                where = [(c, k) for c in range(4) for k in range(26) if np.array_equal(training[c].image[0, ..., k], image)]
                assert len(where) == 1
                places.append(where[0])
            assert places[0][1] == places[1][1]
            assert {places[0][0], places[1][0]} in ({0, 1}, {2, 3})
            seen.add(places[0][1])
    assert len(seen) > 10


def test_slices_are_scored_as_the_volume_they_make(study):
    """A method for slices that moves nothing: the Dice of the stacks as they lie."""
    from jrscli.methods.cardiacmotion import CardiacMotion, Config

    _, validation = visits(study, dims=2)
    method = CardiacMotion(Config(classes=3, width=0.0625)).eval()
    torch.nn.init.zeros_(method.networks["motion"].seen.weight)
    torch.nn.init.zeros_(method.networks["motion"].seen.bias)
    torch.nn.init.zeros_(method.networks["motion"].before.bias)
    found = validate(method, Examples(validation, CPU), validation_pairs(validation, 9))
    one, other = (validation[n].labels for n in (0, 1))
    dice = [2 * ((one == k) & (other == k)).sum() / ((one == k).sum() + (other == k).sum()) for k in (1, 2)]
    assert found["registration"] == pytest.approx(np.mean(dice), abs=1e-6)
    assert found["folds"] == 0
    assert 0 <= found["segmentation"] < 1


def test_the_second_stage_leaves_the_encoder_as_it_is(study, tmp_path):
    """Weights and the running means of batch norm, bit for bit."""
    config = {"width": 0.0625, "motion_rounds": 1, "segment_rounds": 0, "joint_rounds": 0}
    quick = {"validation_pairs": 1, "cycle": {"frames": 2, "steps": 1}}
    for name, rounds in (("without", 0), ("with", 2)):
        train("cardiacmotion", study, tmp_path / name, config={**config, "segment_rounds": rounds}, training=quick)
    one, other = (checkpoint.load(tmp_path / name)["weights"] for name in ("without", "with"))
    differs = {key.split(".")[1] for key in one if not torch.equal(one[key], other[key])}
    assert differs == {"segment"}
