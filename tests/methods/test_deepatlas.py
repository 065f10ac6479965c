"""DeepAtlas: the four cases of its segmentation loss, who is trained by what, its schedule."""

from itertools import product

import pytest
import torch

from jrscli.methods import deepatlas

SHAPE = (16, 16, 16)


@pytest.fixture(scope="module")
def method():
    torch.manual_seed(0)
    return deepatlas.DeepAtlas(deepatlas.Config())


def spied(method, monkeypatch, *, of=None):
    """The arguments that the Dice is called with."""
    calls = []

    def dice(p, q, rows):
        calls.append((p, q))
        return (p * q).mean()

    monkeypatch.setattr(method, "_dice", dice)
    return calls


@pytest.mark.parametrize(("knows_fixed", "knows_moving"), list(product([True, False], repeat=2))[:3])
def test_the_cases_of_the_segmentation_loss(method, monkeypatch, knows_fixed, knows_moving, batch):
    """``L_a(W(S*_M, u), S*_F)``, and ``L_sp`` of the moving image where it is labelled, else of the fixed one."""
    method.eval()
    calls = spied(method, monkeypatch)
    given = batch(knows_fixed, knows_moving)
    terms = method.segmentation_loss(given)
    assert set(terms) == {"anatomy", "supervision"}
    (warped, met), (guess, own) = calls
    assert met.requires_grad is not knows_fixed
    assert warped.requires_grad is not knows_moving
    assert torch.equal(own, given.moving_labels if knows_moving else given.fixed_labels)
    assert guess.requires_grad
    if knows_fixed:
        assert torch.equal(met, given.fixed_labels)
    weights = method.config
    values = [float((p * q).mean().detach()) for p, q in calls]
    assert float(terms["anatomy"].detach()) == pytest.approx(weights.anatomy * values[0])
    assert float(terms["supervision"].detach()) == pytest.approx(weights.supervision * values[1])


def test_two_labelled_images_teach_the_segmenter_nothing_about_anatomy(method, batch):
    terms = method.segmentation_loss(batch())
    assert not terms["anatomy"].requires_grad
    assert terms["supervision"].requires_grad


@pytest.mark.parametrize("knows_fixed", [True, False])
def test_the_segmentation_turn_leaves_the_registration_alone(method, knows_fixed, batch):
    method.zero_grad()
    sum(method.segmentation_loss(batch(knows_fixed, not knows_fixed)).values()).backward()
    assert all(weight.grad is None for weight in method.networks["register"].parameters())
    assert any(weight.grad is not None for weight in method.networks["segment"].parameters())


def test_a_pair_without_labels_is_skipped_by_the_segmentation_and_guessed_by_the_registration(method, batch):
    bare = batch(False, False)
    assert method.segmentation_loss(bare) is None
    method.zero_grad()
    terms = method.registration_loss(bare)
    assert set(terms) == {"similarity", "smoothness", "anatomy"}
    sum(terms.values()).backward()
    assert all(weight.grad is None for weight in method.networks["segment"].parameters())
    assert all(bool(torch.isfinite(weight.grad).all()) for weight in method.networks["register"].parameters())


def test_the_overlap_term_reaches_the_registration(method, batch):
    method.zero_grad()
    method.registration_loss(batch())["anatomy"].backward()
    assert float(method.networks["register"].field.weight.grad.norm()) > 0


def test_one_segmentation_step_for_twenty_of_registration(method):
    joint = method.stages()[-1]
    assert [(turn.trains, turn.repeats) for turn in joint.turns] == [(("segment",), 1), (("register",), 20)]


def test_both_networks_have_the_sizes_of_the_paper():
    wide = deepatlas.DeepAtlas(deepatlas.Config(classes=32))
    sizes = {name: sum(w.numel() for w in net.parameters()) for name, net in wide.networks.items()}
    assert 0.25e6 < sizes["register"] < 0.28e6
    assert sizes["segment"] == pytest.approx(0.87e6, rel=0.02)
