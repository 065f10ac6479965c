"""DeepRS: what the judge sees and does, what each turn teaches whom."""

import pytest
import torch

from jrscli.methods import deeprs
from jrscli.nn.overlap import cross_entropy
from jrscli.recipe import Batch

SHAPE = (16, 16, 16)


@pytest.fixture
def method():
    torch.manual_seed(0)
    return deeprs.Deeprs(deeprs.Config(width=4))


def in_turn(method, number):
    """The loss of a turn of the joint stage, the networks frozen as the loop does it."""
    turn = method.stages()[-1].turns[number]
    for name, network in method.networks.items():
        network.train(name in turn.trains).requires_grad_(name in turn.trains)
    method.zero_grad()
    return turn.loss


def learning(method):
    """Which networks have got a gradient."""
    return {n for n, net in method.networks.items() if any(w.grad is not None and bool(w.grad.any()) for w in net.parameters())}


def moved(method, voxels=4.0):
    """The registration shifts everything by so many voxels."""
    field = torch.zeros(1, 3, *SHAPE)
    field[:, 0] = voxels
    method.networks["register"].forward = lambda fixed, moving: field


def judged(method, logit):
    method.networks["judge"].forward = lambda both: torch.full_like(both[:, :1], logit)


def test_no_trust_teaches_nothing_and_full_trust_is_plain_entropy(method, batch):
    given = batch(knows_fixed=False)
    loss = in_turn(method, 1)
    judged(method, -200.0)
    nothing = loss(given)["confidence"]
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert learning(method) == set()
    judged(method, 200.0)
    moved(method, 0.0)
    everything = loss(given)["confidence"]
    plain = cross_entropy(method.networks["segment"](given.fixed), given.moving_labels)
    assert float(everything.detach()) == pytest.approx(float(plain.detach()), rel=1e-4)


def test_a_scale_of_nothing_leaves_the_moving_image(method, monkeypatch, batch):
    """In every term of training; halfway it is halfway."""
    moved(method)
    judged(method, 0.0)
    given = batch(knows_fixed=False)
    seen = []
    monkeypatch.setattr(method, "_judged", lambda first, fixed: seen.append(first) or torch.zeros_like(fixed))
    for alpha in (0.0, 0.5):
        monkeypatch.setattr(torch, "rand", lambda *shape, alpha=alpha: torch.full(shape, alpha))
        with torch.no_grad():
            for loss in (method.registration_loss, method.segmentation_loss, method.judge_loss):
                loss(given)
    assert all(torch.allclose(x_w[-1:], given.moving, atol=1e-5) for x_w in seen[:3])
    assert all(torch.allclose(x_w[-1:, :, :-2], given.moving[:, :, 2:], atol=1e-5) for x_w in seen[3:])
    assert len(seen) == 6
    plain = deeprs.Deeprs(deeprs.Config(width=4, sampling=False))
    field = torch.ones(1, 3, *SHAPE)
    assert torch.equal(plain._sampled(field), field)


def test_the_warp_of_no_field_is_the_image_itself(method):
    """On a grid whose coordinates are exact in binary."""
    image = torch.rand(1, 1, 17, 33, 17)
    assert torch.equal(deeprs.warp(image, torch.zeros(1, 3, 17, 33, 17)), image)


def test_the_region_constraint_is_positive_and_moves_the_registration_only(method, batch):
    loss = in_turn(method, 0)
    terms = loss(batch(knows_fixed=False))
    assert set(terms) == {"similarity", "smoothness", "adversarial", "region"}
    assert float(terms["region"].detach()) > 0
    terms["region"].backward()
    assert learning(method) == {"register"}


def test_equal_maps_cost_no_region_constraint(method, batch):
    given = batch(knows_fixed=False)
    moved(method, 0.0)
    same = Batch(given.fixed, given.fixed_labels, given.has_fixed_labels, given.classes_present, given.spacing, given.fixed)
    method.eval()
    assert float(method.registration_loss(same)["region"].detach()) < 1e-8


def test_each_turn_teaches_its_own_network(method, batch):
    names = ("register", "segment", "judge")
    for number, name in enumerate(names):
        sum(in_turn(method, number)(batch(knows_fixed=False)).values()).backward()
        assert learning(method) == {name}
    assert [turn.trains for turn in method.stages()[-1].turns] == [(name,) for name in names]
    assert [turn.optimiser for turn in method.stages()[-1].turns] == ["rmsprop", "adam", "rmsprop"]


def test_the_judge_sees_two_images(method, monkeypatch, batch):
    """The fixed one second; first the warped one, or a blend that is almost the fixed one."""
    seen = []
    judge = method.networks["judge"]
    forward = judge.forward
    monkeypatch.setattr(judge, "forward", lambda both: seen.append(both) or forward(both))
    moved(method, 0.0)
    given = batch(knows_fixed=False)
    for loss in (method.registration_loss, method.segmentation_loss, method.judge_loss):
        loss(given)
    assert [tuple(both.shape[:2]) for both in seen] == [(1, 2), (1, 2), (2, 2)]
    assert all(torch.equal(row[1:], given.fixed[0]) for both in seen for row in both)
    real, fake = seen[2][:, :1]
    assert torch.allclose(real, 0.1 * given.moving[0] + 0.9 * given.fixed[0])
    assert torch.allclose(fake, given.moving[0], atol=1e-5)


def test_the_background_is_one_channel(method):
    image = torch.rand(1, 1, *SHAPE)
    assert method.networks["segment"](image).shape[1] == deeprs.Config().classes == 3
    assert method.networks["judge"](torch.cat([image, image], dim=1)).shape == (1, 1, *SHAPE)


def test_a_judge_that_is_right_and_one_that_is_not_are_told_apart(method, batch):
    given = batch(knows_fixed=False)
    terms = {}
    for word, logit in (("right", 1.0), ("wrong", -1.0)):
        method.networks["judge"].forward = lambda both, logit=logit: torch.stack(
            [torch.full_like(both[0, :1], logit), torch.full_like(both[1, :1], -logit)]
        )
        terms[word] = float(method.judge_loss(given)["judge"])
        assert method.watched()["accuracy"] == (1.0 if word == "right" else 0.0)
    assert terms["right"] < terms["wrong"]


def test_labels_of_the_fixed_image_are_not_read_and_those_of_the_moving_one_are_needed(method, batch):
    assert all(bool(torch.isfinite(value)) for value in method.segmentation_loss(batch(knows_fixed=False)).values())
    assert method.segmentation_loss(batch(knows_fixed=False, knows_moving=False)) is None
    assert [stage.batches for stage in method.stages()] == ["pairs", "labelled-moving"]


def test_the_registration_has_the_size_of_the_paper():
    assert sum(w.numel() for w in deeprs.Deeprs(deeprs.Config()).networks["register"].parameters()) == 300_547
