"""Draws: repeatable, of two patients, honest about missing labels; augmentation moves image and labels alike."""

import pytest
import torch
from torch.nn import functional

from jrscli.errors import UsageError
from jrscli.training.augment import Augmentation, augment
from jrscli.training.cases import read_data
from jrscli.training.prepared import Cases
from jrscli.training.sampling import Sampler

CPU = torch.device("cpu")


def sampler(study, **options):
    data, cases = read_data(study, changes=options.pop("changes", None))
    return Sampler(Cases(data, cases, "train"), **{"seed": 0, "device": CPU, **options})


def same(one, other):
    return all(torch.equal(a, b) for a, b in ((one.fixed, other.fixed), (one.moving, other.moving)))


def test_a_step_draws_the_same_whatever_was_drawn_before(study):
    fresh, used = (sampler(study, augmentation=Augmentation()) for _ in range(2))
    for n in range(3):
        used.draw("pairs", 0, n, 0, 0)
    assert same(fresh.draw("pairs", 1, 5, 0, 2), used.draw("pairs", 1, 5, 0, 2))
    assert not same(fresh.draw("pairs", 1, 5, 0, 2), used.draw("pairs", 1, 5, 0, 3))
    assert not same(fresh.draw("pairs", 0, 0, 0, 0), sampler(study, seed=1).draw("pairs", 0, 0, 0, 0))
    assert not same(fresh.draw("pairs", 0, 0, 0, 0), sampler(study, rank=1).draw("pairs", 0, 0, 0, 0))


def test_pairs_are_of_two_patients(study):
    drawn = sampler(study)
    pairs = [drawn.draw("pairs", 0, n, 0, 0) for n in range(20)]
    assert not any(torch.equal(batch.fixed, batch.moving) for batch in pairs)


def test_few_labels_are_drawn_often_and_none_are_made_up(study):
    drawn = sampler(study, changes={"labelled": 1})
    batches = [drawn.draw("pairs", 0, n, 0, 0) for n in range(60)]
    mixed = [bool(batch.has_fixed_labels[0]) != bool(batch.has_moving_labels[0]) for batch in batches]
    assert sum(mixed) / 60 > 0.5  # by chance alone it would be 0.4
    for batch in batches:
        assert bool(torch.isnan(batch.fixed_labels).all()) is not bool(batch.has_fixed_labels[0])


@pytest.mark.parametrize("batch", [1, 3])
def test_pairs_whose_moving_case_is_labelled(study, batch):
    """The fixed one is not, where there are such cases."""
    drawn = sampler(study, changes={"labelled": 2}, batch=batch)
    batches = [drawn.draw("labelled-moving", 0, n, 0, 0) for n in range(20)]
    assert all(bool(one.has_moving_labels.all()) and not bool(one.has_fixed_labels.any()) for one in batches)
    everyone = sampler(study)
    for n in range(20):
        one = everyone.draw("labelled-moving", 0, n, 0, 0)
        assert bool(one.has_fixed_labels.all())
        assert not torch.equal(one.fixed, one.moving)


def test_pairs_of_labelled_cases(study):
    drawn = sampler(study, changes={"labelled": 2})
    for n in range(20):
        one = drawn.draw("labelled-pairs", 0, n, 0, 0)
        assert bool(one.has_moving_labels.all() and one.has_fixed_labels.all())
        assert not torch.equal(one.fixed, one.moving)


@pytest.mark.parametrize(("kind", "labelled"), [("labelled-pairs", 1), ("labelled-moving", 0)])
def test_too_few_labels_for_such_pairs(study, kind, labelled):
    with pytest.raises(UsageError) as caught:
        sampler(study, changes={"labelled": labelled}).draw(kind, 0, 0, 0, 0)
    assert caught.value.code == "data.labels"


def test_labelled_batches_have_labels(study):
    drawn = sampler(study, changes={"labelled": 1}, batch=2)
    batch = drawn.draw("labelled", 0, 0, 0, 0)
    assert batch.moving is None
    assert bool(batch.has_fixed_labels.all())
    assert torch.allclose(batch.fixed_labels.sum(1), torch.ones(2, 32, 32, 32))
    with pytest.raises(ValueError, match="'moving'"):
        batch.pair()


@pytest.mark.parametrize("shape", [(20, 24), (16, 20, 18)])
def test_image_and_labels_move_alike(shape):
    """An image that is its own label map is still that after it was moved."""
    labels = torch.zeros(shape, dtype=torch.long)
    labels[6:12, 8:14] = 1
    one_hot = functional.one_hot(labels, 2).movedim(-1, 0).float()
    still = Augmentation(gamma=0, gain=0, noise=0, chance=1)
    image, moved = augment(one_hot[1:], one_hot, still, torch.Generator().manual_seed(0))
    assert torch.allclose(image, moved[1:], atol=1e-5)
    assert not torch.allclose(moved, one_hot)
    assert torch.allclose(moved.sum(0), torch.ones(shape), atol=1e-5)


def test_nothing_happens_without_amounts():
    image = torch.rand(1, 8, 8, 8)
    none = Augmentation(0, 0, 0, 0, 5, 0, 0, 0, chance=1)
    found, _ = augment(image, torch.zeros(2, 8, 8, 8), none, torch.Generator().manual_seed(0))
    assert torch.allclose(found, image, atol=1e-5)


def visits(study, **changes):
    """Patients a, b, c with two images each, and one patient with one image."""
    names = ["a", "a", "b", "b", "c", "c", "d"]
    cases = [
        {"patient": name, "image": f"images/case_{n}.nii.gz", "labels": f"labels/case_{n}.nii.gz"}
        for n, name in enumerate(names)
    ]
    return {"images": None, "label_files": None, "cases": cases, "pairs": "visits", **changes}


@pytest.mark.parametrize("kind", ["pairs", "labelled-pairs"])
def test_two_visits_of_one_patient_in_both_orders(study, kind):
    drawn = sampler(study, changes=visits(study))
    every = [drawn.cases[n].image for n in range(7)]
    seen = set()
    for n in range(40):
        batch = drawn.draw(kind, 0, n, 0, 0)
        seen.add(tuple(next(k for k, image in enumerate(every) if (image == one[0].numpy()).all()) for one in batch.pair()))
    assert seen == {(0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4)}


def test_two_visits_are_moved_alike_and_coloured_each_on_its_own(study):
    """What lies between them is left as it was: labels that were equal stay equal."""
    cases = visits(study)["cases"]
    cases[1] = {**cases[0]}
    amounts = Augmentation(chance=1.0)
    drawn = sampler(study, changes=visits(study, cases=cases[:4]), augmentation=amounts)
    batches = [drawn.draw("pairs", 0, n, 0, 0) for n in range(10)]
    first = drawn.cases[0].labels
    same_patient = [b for b in batches if torch.equal(b.fixed_labels, b.moving_labels)]
    assert 0 < len(same_patient) < 10
    for batch in same_patient:
        assert not torch.equal(batch.fixed, batch.moving)
        assert (batch.fixed_labels[0].argmax(0).numpy() != first).any()


def test_a_data_list_of_visits_without_any_is_refused(study):
    with pytest.raises(UsageError) as caught:
        sampler(study, changes={"pairs": "visits"}).draw("pairs", 0, 0, 0, 0)
    assert caught.value.code == "data.labels"


def test_thick_slices_are_moved_within_themselves():
    """Every slice is made of itself alone."""
    image = torch.arange(6.0).view(1, 1, 1, 6).expand(1, 8, 8, 6) / 10
    generator = torch.Generator().manual_seed(1)
    amounts = Augmentation(chance=1.0, gamma=0, gain=0, noise=0, in_plane=True, shift_voxels=5)
    assert torch.allclose(augment(image, image, amounts, generator)[1], image, atol=1e-6)
    generator.manual_seed(1)
    ramp = torch.arange(8.0).view(1, 8, 1, 1).expand(1, 8, 8, 6) / 10
    assert not torch.allclose(augment(ramp, ramp, amounts, generator)[1], ramp, atol=0.05)
