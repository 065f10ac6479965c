"""Hybrid CNN: what it promises beyond the contract of every recipe."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from jrscli.errors import UsageError
from jrscli.methods.hybridcnn import Config, HybridCnn
from jrscli.nn.regions import one_hot
from jrscli.nn.smoothness import diffusion_mean

SMALL = (4, 4, 8, 8)


def method(**changes):
    torch.manual_seed(0)
    return HybridCnn(Config(**{"widths": SMALL, **changes}))


def test_it_has_the_weights_of_the_paper():
    assert sum(w.numel() for w in HybridCnn(Config()).parameters()) == pytest.approx(5.9e6, rel=0.005)
    assert sum(w.numel() for w in HybridCnn(Config(depth=2)).parameters()) == pytest.approx(11.8e6, rel=0.005)


def test_consistency_reaches_both_networks(batch):
    of = method()
    of.loss(batch())["consistency"].backward()
    for name, network in of.networks.items():
        assert sum(float(w.grad.norm()) for w in network.parameters() if w.grad is not None) > 0, name


def test_segmentation_reaches_the_segmenter_alone(batch):
    of = method()
    of.loss(batch())["segmentation"].backward()
    assert all(weight.grad is None for weight in of.networks["register"].parameters())
    assert not set(map(id, of.networks["register"].parameters())) & set(map(id, of.networks["segment"].parameters()))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_labels_that_agree_cost_least(share):
    """−(3 f + 1 − f), for a label that fills the part f of the image."""
    numbers = torch.zeros(1, 8, 8, 8, dtype=torch.long)
    numbers[0, : int(8 * share)] = 1
    y = one_hot(numbers, 2).float()
    of = method(classes=2)
    assert float(of.compared(y, y)) == pytest.approx(-(3 * share + 1 - share))
    assert float(of.compared(1 - y, y)) == pytest.approx(0)
    assert float(method(classes=2, loss="dice").compared(y, y)) == pytest.approx(0, abs=1e-6)


def test_classes_are_averaged_and_the_background_does_not_count():
    y = one_hot(torch.randint(0, 3, (1, 6, 6, 6), generator=torch.Generator().manual_seed(0)), 3).float()
    shares = y.mean((0, 2, 3, 4))[1:]
    assert float(method().compared(y, y)) == pytest.approx(float(-(3 * shares + 1 - shares).mean()))


@pytest.mark.parametrize(("weight", "still"), [(1e6, True), (0.0, False)])
def test_without_end_the_smoothness_leaves_a_field_that_is_the_same_everywhere(batch, weight, still):
    of = method(smoothness=weight)
    head = of.networks["register"].register.field
    torch.nn.init.normal_(head.weight, std=0.05)
    pair = batch()
    optimiser = torch.optim.Adam(of.networks["register"].parameters(), lr=2e-2)

    def roughness():
        with torch.no_grad():
            return float(diffusion_mean(of.networks["register"](*pair.pair())))

    first = roughness()
    for _ in range(40):
        loss = sum(of.loss(pair).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (roughness() < 0.02 * first) is still


def test_the_segmentation_does_not_know_the_other_visit():
    graphs = {graph.name: graph for graph in method().graphs()}
    assert graphs["segment"].inputs == ("image",)


def test_the_segmenter_may_see_more_contrasts_than_the_registration(batch):
    of = method(channels=3, looks_at=1).eval()
    torch.nn.init.normal_(of.networks["register"].register.field.weight, std=0.1)
    pair = batch()
    three = dataclasses.replace(pair, fixed=pair.fixed.repeat(1, 3, 1, 1, 1), moving=pair.moving.repeat(1, 3, 1, 1, 1))
    changed = dataclasses.replace(three, moving=torch.cat([pair.moving, torch.rand(1, 2, 16, 16, 16)], dim=1))
    segment = of.networks["segment"]
    with torch.no_grad():
        assert torch.equal(of.pull(*three.pair()), of.pull(*changed.pair()))
        assert not torch.equal(segment(three.moving), segment(changed.moving))
        assert float(of.loss(three)["similarity"]) == pytest.approx(float(of.loss(changed)["similarity"]))


def test_missing_labels_are_not_read(batch):
    assert set(method().loss(batch(knows_fixed=False))) == {"similarity", "smoothness", "segmentation"}
    found = method().loss(batch(knows_fixed=False, knows_moving=False))
    assert set(found) == {"similarity", "smoothness"}
    assert all(bool(torch.isfinite(value)) for value in found.values())


def test_another_loss_is_refused():
    with pytest.raises(UsageError, match="focal"):
        HybridCnn(Config(loss="focal"))
