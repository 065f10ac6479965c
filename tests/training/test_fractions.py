"""Simulated daily images and second contrasts; labels that were never drawn; patches."""

from __future__ import annotations

import pytest
import torch

from jrscli.nn.warp import warp
from jrscli.runtime.plain import PlainError
from jrscli.training.cases import read_data
from jrscli.training.patches import middle_of
from jrscli.training.prepared import Cases, volumes_cc
from jrscli.training.sampling import Sampler
from jrscli.training.settings import Settings
from jrscli.training.simulated.fractions import Contrast, Fraction, random_motion, recoloured, simulated_pair
from jrscli.training.validate import Examples, determinant, hard_dice, validate, validation_pairs

CPU = torch.device("cpu")
STILL = Fraction(shift_mm=0, rotate_degrees=0, peak_mm=(0, 0), noise=(0, 0), shading=0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sampler(study, **options):
    data, cases = read_data(study, changes=options.pop("changes", None))
    return Sampler(Cases(data, cases, "train"), **{"seed": 0, "device": CPU, **options})


def test_the_motion_is_as_large_as_asked_in_mm_and_folds_nothing():
    image = torch.zeros(1, 40, 48, 24)
    spacing = (2.0, 2.0, 4.0)
    mm = torch.tensor(spacing).view(1, 3, 1, 1, 1)
    bend = Fraction(shift_mm=0, rotate_degrees=0, peak_mm=(8, 8))
    bent = random_motion(image, spacing, bend, seeded())
    assert float((bent * mm).norm(dim=1).max()) == pytest.approx(8, rel=0.15)
    assert float(determinant(bent).min()) > 0.2
    shifted = random_motion(image, spacing, Fraction(shift_mm=3, rotate_degrees=0, peak_mm=(0, 0)), seeded()) * mm
    assert float(shifted.std(dim=(2, 3, 4)).max()) < 1e-4
    assert 0.1 < float(shifted.abs().max()) <= 3
    turned = random_motion(image, spacing, Fraction(shift_mm=0, rotate_degrees=2, peak_mm=(0, 0)), seeded())
    assert float((determinant(turned) - 1).abs().max()) < 1e-3  # a rotation in mm, whatever the voxels
    assert float(turned.abs().max()) > 0.2


def test_the_fixed_image_is_the_moving_one_moved(study):
    data, cases = read_data(study)
    image, labels = (x[0] for x in Examples(Cases(data, cases, "train"), CPU).pair(0, 1)[:2])
    quiet = Fraction(noise=(0, 0), shading=0)
    row = simulated_pair(image, labels, (1, 1, 1), quiet, None, seeded(3))
    assert torch.allclose(row.fixed, warp(image[None], row.motion[None])[0], atol=1e-6)
    assert torch.allclose(row.fixed_labels, warp(labels[None], row.motion[None])[0], atol=1e-6)
    assert torch.equal(row.moving, image)
    noisy = simulated_pair(image, labels, (1, 1, 1), Fraction(), None, seeded(3))
    assert torch.equal(noisy.motion, row.motion)
    apart = (noisy.fixed - row.fixed).abs()
    assert 0.005 < float(apart.mean()) < 0.1
    assert float(apart[(row.fixed <= 0) | (row.fixed >= 1)].sum()) == 0  # what the window cut off stays so


def test_no_rising_curve_gives_the_second_contrast():
    plain = Contrast(gain=0, noise=0)
    ramp = torch.linspace(0, 1, 9).view(1, 9, 1, 1)
    found = recoloured(ramp, plain, seeded()).flatten()
    assert found[::2].tolist() == pytest.approx(plain.curve)
    steps = found.diff()
    assert float(steps.max()) > 0.1
    assert float(steps.min()) < -0.1
    with pytest.raises(PlainError, match="two values"):
        Contrast(curve=(0.5,))


@pytest.mark.parametrize("pairs", ["fractions", "modalities"])
def test_pairs_of_one_patient_are_drawn_and_their_motion_is_known(study, pairs):
    drawn = sampler(study, changes={"pairs": pairs}, fraction=Fraction(noise=(0, 0), shading=0))
    one = drawn.draw("labelled-pairs", 0, 0, 0, 0)
    assert torch.allclose(one.fixed_labels, warp(one.moving_labels, one.true_displacement), atol=1e-5)
    alike = torch.allclose(one.fixed, warp(one.moving, one.true_displacement), atol=1e-5)
    assert alike == (pairs == "fractions")
    assert torch.equal(one.fixed, drawn.draw("labelled-pairs", 0, 0, 0, 0).fixed)
    hidden = sampler(study, changes={"pairs": pairs, "labelled": 0}).draw("pairs", 0, 0, 0, 0)
    assert not bool(hidden.has_moving_labels.any() | hidden.has_fixed_labels.any())
    assert bool(hidden.fixed_labels.isnan().all())


def test_validation_knows_the_error_in_mm(study):
    """A method that moves nothing is wrong by the length of the motion."""
    from jrscli.methods.deepatlas import Config, DeepAtlas

    data, cases = read_data(study, changes={"pairs": "fractions"})
    validation = Cases(data, cases, "validation")
    pairs = validation_pairs(validation, 5)
    assert pairs == [(0, 0), (1, 1)]
    method = DeepAtlas(Config())
    torch.nn.init.zeros_(method.networks["register"].field.weight)
    examples = Examples(validation, CPU)
    found = validate(method, examples, pairs)
    lengths = []
    for a, b in pairs:
        one = examples.pair(a, b)
        lengths.append(float(one.motion.norm(dim=1)[one.fixed_labels.argmax(1) > 0].mean()))
    assert found["error_mm"] == pytest.approx(sum(lengths) / 2)
    assert found["error_mm"] > 0.5
    still = Examples(validation, CPU, fraction=STILL)
    assert validate(method, still, pairs)["registration"] == 1


def test_some_pairs_may_be_of_two_patients(study):
    drawn = sampler(study, changes={"pairs": "fractions"}, patients_chance=0.4, fraction=STILL)
    apart = 0
    for n in range(30):
        one = drawn.draw("pairs", 0, n, 0, 0)
        same = torch.allclose(one.fixed_labels, one.moving_labels, atol=1e-4)
        assert same == (one.true_displacement is not None)
        apart += not same
    assert 4 < apart < 22
    never = sampler(study, changes={"pairs": "fractions"})
    assert all(never.draw("pairs", 0, n, 0, 0).true_displacement is not None for n in range(8))
    with pytest.raises(PlainError, match="patients_chance"):
        Settings(patients_chance=1.5)


def test_images_come_in_the_range_of_the_data_list(study):
    changes = {"range": [-1.0, 1.0]}
    plain, wide = (sampler(study, changes=one).draw("pairs", 0, 0, 0, 0) for one in ({}, changes))
    assert torch.allclose(wide.fixed, 2 * plain.fixed - 1, atol=1e-6)
    assert torch.allclose(wide.moving, 2 * plain.moving - 1, atol=1e-6)
    simulated = sampler(study, changes={**changes, "pairs": "fractions"}).draw("pairs", 0, 0, 0, 0)
    assert -1 <= float(simulated.fixed.min()) < -0.5


def test_each_window_is_a_channel(study):
    changes = {"windows": [{"values": [0, 100]}, {"values": [0, 40]}, {"values": [40, 80]}]}
    one = sampler(study, changes=changes).draw("pairs", 0, 0, 0, 0)
    assert one.fixed.shape[1] == 3
    outer, low, _ = one.fixed[0]
    inside = (low > 0) & (low < 1)
    assert torch.allclose(outer[inside] * 100, low[inside] * 40, atol=1e-4)


def test_a_label_that_was_not_drawn_is_left_alone(study):
    """Distrusted for one patient: background there, not among its classes, and in no statistics."""
    changes = {"distrusted": {"left": ["0"]}}
    data, cases = read_data(study, changes=changes)
    training = Cases(data, cases, "train")
    assert training[0].drawn == (False, True)
    assert training[1].drawn == (True, True)
    drawn = sampler(study, changes=changes)
    seen = set()
    for n in range(30):
        one = drawn.draw("pairs", 0, n, 0, 0)
        empty = [not bool(labels[:, 1].any()) for labels in (one.fixed_labels, one.moving_labels)]
        seen.add(any(empty))
        assert one.classes_present.tolist() == [[not any(empty), True]]
    assert seen == {True, False}
    lone = Cases(data, [case for case in cases if case.patient == "0"], "train")
    assert set(volumes_cc(lone)) == {"right"}
    a, b = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 2])
    assert hard_dice(a, b, 3) == 0.5
    assert hard_dice(a, b, 3, torch.tensor([False, True])) == 1


def test_labels_that_occur_nowhere_may_count_as_undrawn(study):
    names = ["background", "left", "right", "middle"]
    for absent, expected in (("background", True), ("undrawn", False)):
        data, cases = read_data(study, changes={"labels": names, "absent": absent})
        assert Cases(data, cases, "train")[0].drawn == (True, True, expected)


def test_patches_lie_where_labels_are_and_cut_everything_alike(study):
    whole, part = (sampler(study, changes={"pairs": "fractions"}, patch=p) for p in (None, (16, 12, 8)))
    seen = []
    for n in range(12):
        one, all_of_it = part.draw("labelled-pairs", 0, n, 0, 0), whole.draw("labelled-pairs", 0, n, 0, 0)
        assert one.fixed.shape[2:] == one.moving_labels.shape[2:] == one.true_displacement.shape[2:] == (16, 12, 8)
        blocks = all_of_it.fixed[0, 0].unfold(0, 16, 1).unfold(1, 12, 1).unfold(2, 8, 1)
        where = (blocks == one.fixed[0, 0]).flatten(3).all(-1).nonzero()
        assert len(where) == 1
        i, j, k = where[0].tolist()
        assert torch.equal(all_of_it.moving_labels[:, :, i : i + 16, j : j + 12, k : k + 8], one.moving_labels)
        seen.append(bool(one.fixed_labels[:, 1:].any()))
    assert sum(seen) >= 8
    labels = torch.zeros(2, 9, 9, 9)
    labels[0] = 1
    labels[:, 4, 5, 6] = torch.tensor([0.0, 1.0])
    middles = [middle_of(labels, (9, 9, 9), seeded(n)) for n in range(40)]
    assert 10 < middles.count([4, 5, 6]) < 30  # one voxel of 729, yet half of the draws


def test_the_labelled_image_is_of_another_patient_and_of_the_fixed_contrast(study):
    data, cases = read_data(study, changes={"pairs": "modalities", "labelled": 2})
    training = Cases(data, cases, "train")
    drawn = Sampler(training, seed=0, device=CPU)
    known = {n: torch.from_numpy(training[n].image)[None] for n in training.labelled}
    for n in range(12):
        one = drawn.draw("mixed", 0, n, 0, 0)
        assert any(torch.equal(one.labelled_image, image) for image in known.values())
        assert not bool(one.has_fixed_labels.any() | one.has_moving_labels.any())
        assert one.labelled_target.shape == one.fixed_labels.shape
        assert bool(one.labelled_target[:, 1:].any())
