"""The siamese recipe: symmetry by construction, missing labels left alone."""

from dataclasses import replace

import pytest
import torch

from jrscli.methods import siamese

SHAPE = (16, 16, 16)


@pytest.fixture(scope="module", params=[{}, {"flat": 2}, {"fine": 3}], ids=["cubes", "thick slices", "full resolution"])
def method(request):
    torch.manual_seed(0)
    return siamese.Siamese(siamese.Config(widths=(4, 6, 8), **request.param))


def test_swapped_images_turn_the_velocity_round(method, batch):
    register = method.graph("register").module
    given = batch()
    forth, back = register(given.fixed, given.moving), register(given.moving, given.fixed)
    assert forth.shape[2:] == (8, 8, 8)
    assert float(forth.abs().max().detach()) > 0
    assert torch.allclose(forth, -back, atol=1e-6)


def test_thick_slices_are_not_halved_before_the_others(batch):
    backbone = siamese.Backbone(siamese.Config(widths=(4, 6, 8), flat=2))
    levels = backbone.features.pyramid(backbone.stem(batch().fixed))
    assert [tuple(level.shape[2:]) for level in levels] == [(8, 8, 16), (4, 4, 16), (2, 2, 8)]
    assert backbone.logits(backbone(batch().fixed)[-1]).shape[2:] == SHAPE


def test_full_resolution_sees_single_voxels():
    """Of the image itself, where the features below say nothing: moved by one voxel, its logits move by one."""
    torch.manual_seed(0)
    backbone = siamese.Backbone(siamese.Config(widths=(4, 6, 8), fine=3))
    torch.nn.init.zeros_(backbone.logits.weight)
    image = torch.zeros(1, 1, *SHAPE)
    image[..., 5:9, 5:9, 5:9] = torch.rand(4, 4, 4)
    with torch.no_grad():
        one, other = (backbone.labelled(x, backbone(x)) for x in (image, image.roll(1, 2)))
    assert one.shape == (1, 3, *SHAPE)
    assert float(one.std(dim=(2, 3, 4)).min()) > 0
    inside = (..., slice(3, 13), slice(3, 13), slice(3, 13))  # padding is seen at the borders
    assert torch.allclose(one.roll(1, 2)[inside], other[inside], atol=1e-5)


def test_swapped_images_cost_the_same(method, batch):
    given = batch()
    turned = replace(
        given,
        fixed=given.moving,
        moving=given.fixed,
        fixed_labels=given.moving_labels,
        moving_labels=given.fixed_labels,
        has_fixed_labels=given.has_moving_labels,
        has_moving_labels=given.has_fixed_labels,
    )
    one, other = method.joint_loss(given), method.joint_loss(turned)
    for name, value in one.items():
        assert float(value.detach()) == pytest.approx(float(other[name].detach()), rel=1e-4), name


@pytest.mark.parametrize(
    ("knows_fixed", "knows_moving", "terms"),
    [
        (True, True, {"similarity", "smoothness", "overlap", "entropy", "dice"}),
        (True, False, {"similarity", "smoothness", "entropy", "dice"}),
        (False, False, {"similarity", "smoothness"}),
    ],
)
def test_only_labels_that_exist_are_used(method, knows_fixed, knows_moving, terms, batch):
    found = method.joint_loss(batch(knows_fixed, knows_moving))
    assert set(found) == terms
    assert all(bool(torch.isfinite(value)) for value in found.values())


def test_a_label_that_was_not_drawn_costs_nothing(method, batch):
    """Whatever the label arrays say of it: there or not, the losses are the same."""
    given = replace(batch(), classes_present=torch.tensor([[True, False]]))
    cleared = [torch.cat([y[:, :1] + y[:, 2:], y[:, 1:2], 0 * y[:, 2:]], 1) for y in (given.fixed_labels, given.moving_labels)]
    other = replace(given, fixed_labels=cleared[0], moving_labels=cleared[1])
    one, two = method.joint_loss(given), method.joint_loss(other)
    for name, value in one.items():
        assert float(value.detach()) == pytest.approx(float(two[name].detach()), rel=1e-5), name
    alone = method.segmentation_loss(given)
    assert float(alone["entropy"].detach()) == pytest.approx(float(one["entropy"].detach()), rel=1e-5)
    assert float(alone["dice"].detach()) == pytest.approx(float(one["dice"].detach()), rel=1e-5)


def test_no_labels_no_segmentation_step(method, batch):
    assert method.segmentation_loss(batch(False, False)) is None
