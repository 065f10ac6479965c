"""Concurrent: what it promises beyond the contract of every recipe."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from jrscli.errors import UsageError
from jrscli.methods.concurrent import Concurrent, Config, accumulated, joined, subtracted
from jrscli.nn.similarity import mean_square
from jrscli.nn.warp import identity_like, warp


def method(**changes):
    torch.manual_seed(0)
    found = Concurrent(Config(**{"classes": 3, "channels": 1, "width": 4, **changes})).eval()
    torch.nn.init.normal_(found.networks["register"].out.weight, std=0.2)
    return found


def test_it_has_the_weights_that_were_counted_from_the_paper():
    count = {merge: sum(w.numel() for w in Concurrent(Config(merge=merge)).parameters()) for merge in ("subtract", "concat")}
    assert count["subtract"] == pytest.approx(3.17e6, rel=0.005)
    assert count["concat"] == pytest.approx(3.39e6, rel=0.005)


@pytest.mark.parametrize("shape", [(9, 7), (6, 5, 8)])
def test_increments_of_one_move_nothing(shape):
    still = accumulated(torch.full((1, len(shape), *shape), 0.5))
    assert float(still.abs().max()) <= 1e-6


def test_an_even_stretch_is_not_shifted_by_a_voxel():
    """Ψ = 0.6: steps of 1.2 voxels, the first of which ends 0.2 beyond the first voxel."""
    field = accumulated(torch.full((1, 1, 5), 0.6))
    assert torch.allclose(field[0, 0], torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0]), atol=1e-6)


def test_positive_increments_never_turn_back():
    """G is strictly increasing along its own axis, whatever Ψ is."""
    psi = torch.rand(2, 3, 8, 9, 10, generator=torch.Generator().manual_seed(1)).clamp_min(1e-3)
    places = identity_like(psi) + accumulated(psi)
    for axis in range(3):
        assert float(places[:, axis].diff(dim=axis + 1).min()) > 0


def test_codes_are_subtracted():
    one, other = torch.rand(2, 1, 4, 5, 5, generator=torch.Generator().manual_seed(2))
    assert not subtracted(one, one).any()
    assert torch.equal(subtracted(one, other), -subtracted(other, one))
    assert joined(one[None], other[None]).shape[1] == 2


def test_codes_meet_at_all_five_levels(batch):
    """The field changes with every level of the difference, the finest and the coarsest too."""
    of, pair = method(), batch()
    codes = [of.networks["encoder"](image) for image in pair.pair()]
    psi = of._joint[0].increments(*codes)
    assert len(codes[0]) == 5
    for level in range(5):
        other = [code + 1.0 if n == level else code for n, code in enumerate(codes[0])]
        assert not torch.allclose(of._joint[0].increments(other, codes[1]), psi), level


def test_an_image_registered_to_itself_stays_even(batch):
    """All codes cancel, so Ψ knows nothing of the image."""
    of, pair = method(), batch()
    codes = of.networks["encoder"](pair.fixed)
    others = of.networks["encoder"](pair.moving)
    assert torch.equal(of._joint[0].increments(codes, codes), of._joint[0].increments(others, others))


def test_what_changes_inside_a_predicted_tumour_costs_nothing(batch):
    """With the predicted masks and the field held as they are."""
    of, pair = method(), batch()
    tumour = torch.zeros_like(pair.fixed)
    tumour[..., 4:10, 4:10, 4:10] = 1
    logits = torch.cat([1 - tumour, tumour, tumour * 0], dim=1)
    field = 0.7 * torch.randn(1, 3, 16, 16, 16, generator=torch.Generator().manual_seed(5))
    mask = of.healthy(logits, logits, field)
    moved = warp(pair.moving, field)
    before = mean_square(moved, pair.fixed, mask)
    assert torch.equal(before, mean_square(moved, pair.fixed + 5 * tumour, mask))
    assert not torch.allclose(before, mean_square(moved, pair.fixed + 5 * (1 - tumour), mask))
    assert torch.equal(mask, warp(1 - tumour, field) * (1 - tumour))  # the moving mask goes with the image
    inside = torch.zeros_like(tumour)
    inside[..., 6:8, 6:8, 6:8] = 1  # so deep that no voxel outside reads from it
    field = torch.zeros_like(field)
    changed = mean_square(warp(pair.moving + 5 * inside, field), pair.fixed, of.healthy(logits, logits, field))
    plain = mean_square(pair.moving, pair.fixed, of.healthy(logits, logits, field))
    assert float(changed) == pytest.approx(float(plain), rel=1e-5)


def test_the_ablation_compares_everywhere(batch):
    """Where all is taken for a tumour the masked loss is nothing, the other one is not."""
    for masked, zero in ((True, True), (False, False)):
        of = method(masked=masked)
        torch.nn.init.zeros_(of.networks["segment"].out.weight)
        of.networks["segment"].out.bias.data = torch.tensor([-1.0, 1.0, 0.0])
        with torch.no_grad():
            assert (float(of.loss(batch())["similarity"]) == 0) is zero


def test_the_segmentation_of_one_image_does_not_depend_on_the_other(batch):
    of, pair = method(), batch()
    _, of_fixed, of_moving = of._joint[0](*pair.pair())
    assert torch.equal(of_fixed, of._joint[0](pair.fixed, pair.fixed * 0)[1])
    assert torch.allclose(of_moving, of._alone[0](pair.moving), atol=1e-5)


def test_missing_labels_are_not_read(batch):
    found = method().loss(batch(knows_moving=False))
    assert set(found) == {"similarity", "evenness", "fixed_entropy"}
    assert all(bool(torch.isfinite(value)) for value in found.values())


def test_both_losses_reach_the_shared_encoder(batch):
    for name in ("similarity", "fixed_entropy", "moving_entropy"):
        of = method()
        of.loss(batch())[name].backward()
        assert float(of.networks["encoder"].levels[0].first[0].weight.grad.norm()) > 0, name


def test_it_takes_several_contrasts(batch):
    of = Concurrent(Config(classes=3, channels=4, width=2))
    pair = batch()
    four = dataclasses.replace(pair, fixed=pair.fixed.repeat(1, 4, 1, 1, 1), moving=pair.moving.repeat(1, 4, 1, 1, 1))
    sum(of.loss(four).values()).backward()
    assert of.pull(*four.pair()).shape == (1, 3, 16, 16, 16)


def test_a_fresh_network_moves_next_to_nothing():
    torch.manual_seed(0)
    image = functional.interpolate(torch.rand(2, 2, 8, 8, 8), size=(48, 48, 48), mode="trilinear")
    fresh = Concurrent(Config()).eval()
    with torch.no_grad():
        assert float(fresh.pull(image[:1], image[1:]).abs().max()) < 0.05


def test_another_way_of_merging_is_refused():
    with pytest.raises(UsageError, match="add"):
        Concurrent(Config(merge="add"))
