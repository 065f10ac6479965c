"""ISTN: its losses, its parametric fields, its refinement."""

import pytest
import torch
from torch.nn import functional

from jrscli.errors import UsageError
from jrscli.methods import istn
from jrscli.nn.warp import identity_like
from jrscli.recipe import Batch

SIZE = (32, 36, 32)


def method(**changes):
    torch.manual_seed(0)
    return istn.Istn(istn.Config(**{"size": SIZE, **changes}))


def batch(known=True):
    generator = torch.Generator().manual_seed(3)

    def one():
        numbers = torch.randint(0, 3, (1, *SIZE), generator=generator)
        labels = functional.one_hot(numbers, 3).movedim(-1, 1).float()
        return torch.rand(1, 1, *SIZE, generator=generator), labels

    (fixed, fixed_labels), (moving, moving_labels) = one(), one()
    has, present = torch.tensor([known]), torch.ones(1, 2, dtype=torch.bool)
    return Batch(fixed, fixed_labels, has, present, torch.ones(1, 3), moving, moving_labels, has)


def union(labels):
    return labels[:, 1:].sum(1, keepdim=True)


@pytest.mark.parametrize("changes", [{}, {"affine": True}, {"union": False}, {"loss": "supervised"}])
def test_a_fresh_network_moves_nothing(changes):
    given = batch()
    field = method(**changes).pull(given.fixed, given.moving)
    assert field.shape == (1, 3, *SIZE)
    assert torch.equal(field, torch.zeros_like(field))


@pytest.mark.parametrize(
    ("loss", "terms"),
    [
        ("explicit", {"labels", "moving_map", "fixed_map"}),
        ("implicit", {"labels", "warped_map", "fixed_map"}),
        ("supervised", {"labels"}),
        ("unsupervised", {"images"}),
    ],
)
def test_the_terms_of_each_loss(loss, terms):
    """With ``align`` still at the identity: labels and images as they are."""
    given = batch()
    found = method(loss=loss).loss(given)
    assert set(found) == terms
    still = {"labels": (union(given.moving_labels), union(given.fixed_labels)), "images": (given.moving, given.fixed)}
    for name in terms & set(still):
        one, other = still[name]
        assert float(found[name].detach()) == pytest.approx(float(((one - other) ** 2).mean()), rel=1e-5)


@pytest.mark.parametrize(("loss", "crossed"), [("explicit", False), ("implicit", True)])
def test_explicit_maps_are_pulled_to_their_own_labels_and_implicit_ones_to_the_other_image_s(loss, crossed):
    given, recipe = batch(), method(loss=loss)
    own = {id(given.fixed): union(given.fixed_labels), id(given.moving): union(given.moving_labels)}
    other = {id(given.fixed): union(given.moving_labels), id(given.moving): union(given.fixed_labels)}

    class Seen(torch.nn.Module):
        def __init__(self, maps):
            super().__init__()
            self.maps = maps

        def forward(self, image):
            return self.maps[id(image)]

    def of_maps(maps):
        recipe.networks["transform"] = Seen(maps)
        return sum(float(value.detach()) for name, value in recipe.loss(given).items() if name.endswith("map"))

    assert of_maps(other if crossed else own) == pytest.approx(0, abs=1e-6)
    assert of_maps(own if crossed else other) > 0.1


def test_labels_are_needed_but_for_the_unsupervised_baseline():
    assert method(loss="unsupervised").loss(batch(known=False))
    with pytest.raises(ValueError, match="labels of both"):
        method().loss(batch(known=False))


def test_angles_turn_in_space():
    """A grid that is no cube: the affine head's rotation keeps the lengths of the edges."""
    recipe = method(size=(48, 64, 48), affine=True)
    bias = recipe.networks["align"].field.values.bias
    with torch.no_grad():
        bias[6:9] = torch.tensor([0.6, -0.4, 0.9])  # after three shifts and three scales
        u = recipe.pull(*(torch.rand(1, 1, 48, 64, 48) for _ in range(2)))
    mapped = (identity_like(u) + u)[0]
    corner = mapped[:, 0, 0, 0]
    edges = [mapped[:, -1, 0, 0] - corner, mapped[:, 0, -1, 0] - corner, mapped[:, 0, 0, -1] - corner]
    assert [float(edge.norm()) for edge in edges] == pytest.approx([47, 63, 47], rel=1e-4)
    assert abs(float(edges[0] @ edges[1])) < 0.5
    assert float(u.abs().max()) > 10


def test_refinement_lowers_the_loss_of_the_maps_and_changes_no_network():
    recipe = method()
    torch.nn.init.normal_(recipe.networks["align"].field.points.weight, std=0.02)
    before = {key: value.clone() for key, value in recipe.state_dict().items()}
    given = batch()
    field, course = recipe.refined(given, steps=4)
    assert course == sorted(course, reverse=True)
    assert course[-1] < course[0]
    fixed, moving = (recipe.networks["transform"](image).detach() for image in given.pair())
    assert float(((istn.warp(moving, field) - fixed) ** 2).mean()) == pytest.approx(course[-1], rel=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in recipe.state_dict().items())
    assert all(weight.grad is None for weight in recipe.parameters())


def test_the_networks_have_the_sizes_of_the_paper():
    sizes = {k: sum(w.numel() for w in net.parameters()) for k, net in method(size=(64, 64, 64)).networks.items()}
    assert sizes["transform"] == 13_655
    assert sizes["align"] == 82_056 + 2_048 * 2_187 + 2_187
    wide = method(width=3).networks["transform"]
    assert [wide.coarse[0].in_channels, wide.coarse[0].out_channels, wide.map.in_channels] == [24, 48, 6]
    affine = method(size=(64, 64, 64), affine=True).networks["align"]
    assert sum(w.numel() for w in affine.parameters()) == 82_056 + 2_048 * 32 + 32 + 32 * 12 + 12
    assert method(size=(48, 64, 48)).networks["align"].features.count == 512


def test_maps_may_be_learned_first_by_the_image_transformer_alone():
    first, both = method(map_rounds=3, rounds=2).stages()
    assert [(first.name, first.rounds, first.batches), (both.name, both.rounds)] == [("maps", 3, "labelled"), ("register", 2)]
    assert first.turns[0].trains == ("transform",)
    given = batch()
    terms = method(map_rounds=3).map_loss(given)
    assert torch.equal(terms["fixed_map"], method().loss(given)["fixed_map"])
    assert [stage.name for stage in method(map_rounds=3, loss="unsupervised").stages()] == ["register"]


@pytest.mark.parametrize("seed", range(4))
def test_maps_can_be_learned_from_any_start(seed):
    """Two channels before the output: none of them may be born dead, as most are with ReLU."""
    torch.manual_seed(seed)
    transform = istn.Transform(1, 1, 3)
    seen = transform(torch.rand(1, 1, *SIZE))
    seen.var().backward()
    assert float(seen.detach().std()) > 0
    assert all(float(weight.grad.abs().sum()) > 0 for name, weight in transform.named_parameters() if "bias" not in name)


def test_slices_are_registered_too():
    recipe = istn.Istn(istn.Config(dims=2, size=(40, 48), affine=True))
    x = torch.rand(1, 1, 40, 48)
    torch.nn.init.normal_(recipe.networks["align"].field.values.weight)
    assert recipe.pull(x, x.flip(2)).shape == (1, 2, 40, 48)


@pytest.mark.parametrize(("changes", "code"), [({"loss": "both"}, "settings.value"), ({"size": (24, 40, 40)}, "data.grid")])
def test_what_cannot_be_is_refused(changes, code):
    with pytest.raises(UsageError) as caught:
        method(**changes)
    assert caught.value.code == code
