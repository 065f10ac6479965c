"""DDIR: what it promises beyond the contract of every recipe."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from jrscli.methods.ddir import Config, Ddir, within
from jrscli.nn.overlap import soft_dice
from jrscli.nn.regions import hard
from jrscli.nn.warp import integrate, resize_field, warp
from jrscli.training.validate import determinant


def method(**changes):
    torch.manual_seed(0)
    return Ddir(Config(classes=3, **changes)).eval()


def moving_somewhere(of, spread=0.2):
    """The same method with heads that give fields which are seen."""
    for region in of.regions.each:
        torch.nn.init.normal_(region.mean.weight, std=spread)
    return of


def test_it_has_the_weights_of_the_paper():
    assert abs(sum(w.numel() for w in Ddir(Config()).regions.parameters()) / 1.07e6 - 1) < 0.01


def test_one_region_is_a_plain_network_of_one_velocity(batch):
    """Labels that are one class everywhere, and the ablation without regions: the same as VoxelMorph-diff written out."""
    plain = moving_somewhere(method(regions=False))
    pair = batch()
    region = plain.regions.each[0]
    velocity, _ = region(torch.cat([pair.moving, pair.fixed], dim=1))
    wanted = resize_field(integrate(velocity, 7), pair.fixed.shape[2:])
    assert float(wanted.detach().abs().max()) > 0.1
    assert torch.equal(plain.pull(*pair.pair()), wanted)
    parted = Ddir(Config(classes=3, segment_rounds=0)).eval()
    parted.regions.each[0].load_state_dict(region.state_dict())
    everywhere = torch.zeros_like(pair.fixed_labels)
    everywhere[:, 0] = 1
    assert torch.allclose(parted.pull(*pair.pair(), {"fixed": everywhere, "moving": everywhere}), wanted, atol=1e-6)


def test_the_fields_are_pasted_along_the_fixed_labels(batch):
    """At every voxel u is the field of the region that is there in the fixed image, wherever the moving labels lie."""
    parted = moving_somewhere(method(segment_rounds=0))
    pair = batch()
    labels = {"fixed": pair.fixed_labels, "moving": pair.moving_labels}
    found = parted.pull(*pair.pair(), labels)
    images = within(*pair.pair(), pair.fixed_labels, pair.moving_labels)
    for k, region in enumerate(parted.regions.each):
        alone = resize_field(integrate(region(images[:, k])[0], 7), pair.fixed.shape[2:])
        here = (pair.fixed_labels[:, k] == 1)[:, None].expand_as(found)
        assert torch.allclose(found[here], alone[here], atol=1e-6)


def test_each_region_sees_its_own_part_of_both_images_alone(batch):
    parted = moving_somewhere(method(segment_rounds=0))
    pair = batch()
    parts = within(*pair.pair(), pair.fixed_labels, pair.moving_labels)
    assert torch.equal(parts[:, 1, 0], (pair.moving * pair.moving_labels[:, 1:2])[:, 0])
    before, _ = parted.regions.distributions(parts)
    changed = dataclasses.replace(pair, fixed=pair.fixed + pair.fixed_labels[:, 2:])
    after, _ = parted.regions.distributions(within(*changed.pair(), pair.fixed_labels, pair.moving_labels))
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2], after[:, 2])


def test_the_dice_of_warped_labels_has_a_slope_in_the_field(batch):
    pair = batch()
    field = torch.zeros(1, 3, *pair.fixed.shape[2:], requires_grad=True)
    soft_dice(warp(pair.moving_labels, field), pair.fixed_labels, background=False).backward()
    assert float(field.grad.norm()) > 0


@pytest.mark.parametrize("seed", range(4))
def test_a_fresh_network_learns_in_every_layer(batch, seed):
    torch.manual_seed(seed)
    fresh = Ddir(Config(classes=3))
    sum(fresh.registration_loss(batch()).values()).backward()
    sum(fresh.segmentation_loss(batch()).values()).backward()
    assert [name for name, weight in fresh.named_parameters() if not bool(weight.grad.any())] == []


def test_each_field_is_smooth_where_it_counts(batch):
    """Folds are looked for inside of regions: at their borders the pasted field may jump."""
    parted = moving_somewhere(method(segment_rounds=0), 0.02)
    pair = batch()
    parts = within(*pair.pair(), pair.fixed_labels, pair.moving_labels)
    mean, _ = parted.regions.distributions(parts)
    for field in resize_field(integrate(mean.flatten(0, 1), 7), pair.fixed.shape[2:]):
        assert float(determinant(field[None].detach()).min()) > 0


def test_labels_at_both_sides_are_asked_for(batch):
    with pytest.raises(ValueError, match="labels of both images"):
        method().registration_loss(batch(knows_moving=False))
    assert method(segment_rounds=0).pull(*batch().pair()) is None
    assert method().requires == ("fixed_labels", "moving_labels")


def test_its_own_segmenter_gives_the_labels_in_use(batch):
    """Validation sees what a user with images alone will see, even where true labels are at hand."""
    own = moving_somewhere(method())
    pair = batch()
    found = {side: hard(own.networks["segment"](image)) for side, image in zip(("fixed", "moving"), pair.pair(), strict=True)}
    mean, _ = own.regions.distributions(within(*pair.pair(), found["fixed"], found["moving"]))
    true = {"fixed": pair.fixed_labels, "moving": pair.moving_labels}
    assert torch.equal(own.pull(*pair.pair(), true), own.composed(mean, found["fixed"]))
