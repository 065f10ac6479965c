"""The cross-stitch recipe: two networks that borrow as much as α says, and losses with a slope."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from jrscli.errors import UsageError
from jrscli.methods import crossstitch
from jrscli.methods.crossstitch import Config, CrossStitch, CrossStitchMethod, averaged
from jrscli.nn.overlap import soft_dice

CONFIG = Config(classes=3, widths=(4, 6, 8))


def method(**changes):
    torch.manual_seed(0)
    return CrossStitchMethod(replace(CONFIG, **changes)).eval()


def set_alpha(made, matrix):
    for stitch in made.networks["joint"].stitches:
        with torch.no_grad():
            stitch.alpha.copy_(torch.tensor(matrix).view(2, 2, 1, 1, 1, 1).expand_as(stitch.alpha))


def outputs(made, given):
    with torch.no_grad():
        return made.networks["joint"](given.fixed, given.moving, given.moving_labels)


def test_nothing_borrowed_is_two_separate_networks(batch):
    """α = I: the same as without cross-stitches, and neither path feels the other's weights."""
    given, stitched, apart = batch(), method(), method(mixing="separate")
    set_alpha(stitched, [[1.0, 0.0], [0.0, 1.0]])
    apart.load_state_dict(stitched.state_dict(), strict=False)
    one, other = outputs(stitched, given), outputs(apart, given)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    with torch.no_grad():
        for weight in stitched.networks["joint"].segment.parameters():
            weight.add_(0.1)
    changed = outputs(stitched, given)
    assert torch.equal(changed[0], one[0])
    assert not torch.allclose(changed[1], one[1])


def test_swapped_weights_swap_the_features():
    torch.manual_seed(1)
    stitch = CrossStitch(5, 3)
    assert float(stitch.alpha.detach().min()) >= 0
    assert float(stitch.alpha.detach().max()) <= 1
    with torch.no_grad():
        stitch.alpha.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).view(2, 2, 1, 1, 1, 1).expand_as(stitch.alpha))
    s, r = torch.rand(2, 1, 5, 4, 4, 4)
    swapped = stitch(s, r)
    assert torch.equal(swapped[0], r)
    assert torch.equal(swapped[1], s)


def test_each_channel_has_weights_of_its_own():
    stitch = CrossStitch(2, 3)
    with torch.no_grad():
        stitch.alpha.zero_()
        stitch.alpha[0, 0, 0] = 1.0  # the first channel keeps its own, the second takes the other's
        stitch.alpha[0, 1, 1] = 1.0
    s, r = torch.rand(2, 1, 2, 4, 4, 4)
    assert torch.equal(stitch(s, r)[0], torch.cat([s[:, :1], r[:, 1:]], 1))


def test_the_overlap_of_carried_labels_has_a_slope(batch):
    """Labels warped by the nearest voxel would have none."""
    given = batch()
    field = torch.full((1, 3, 16, 16, 16), 0.3, requires_grad=True)
    carried = crossstitch.warp(given.moving_labels, field)
    soft_dice(carried, given.fixed_labels, background=False).backward()
    assert float(field.grad.abs().max()) > 0
    made = method().train()
    made.loss(given)["propagation"].backward()
    assert all(float(head.weight.grad.abs().max()) > 0 for head in made.networks["joint"].register.heads)


def test_every_pair_counts_in_both_orders(batch):
    given, made = batch(), method()
    f, m, of_f, of_m = made.both_orders(given)
    assert len(f) == 2 * len(given.fixed)
    assert torch.equal(f[1], given.moving[0])
    assert torch.equal(m[1], given.fixed[0])
    assert torch.equal(of_f, torch.cat([given.fixed_labels, given.moving_labels]))
    assert torch.equal(of_m, torch.cat([given.moving_labels, given.fixed_labels]))
    with pytest.raises(ValueError, match="labelled-pairs"):
        made.loss(batch(knows_moving=False))


def test_a_label_that_was_not_drawn_costs_nothing(batch):
    given, made = batch(), method()
    other = given.fixed_labels.clone()
    other[:, 0] += other[:, 2]
    other[:, 2] = 0
    missing = replace(given, fixed_labels=other, classes_present=torch.tensor([[True, False]]))
    claimed = replace(missing, classes_present=torch.tensor([[True, True]]))
    assert float(made.loss(missing)["segmentation"].detach()) < float(made.loss(claimed)["segmentation"].detach()) - 0.05


def test_cross_entropy_beside_dice_teaches_only_the_segmenting_path(batch):
    """And an organ that nobody drew may lie in what is called background."""
    given, made = batch(), method(entropy=1.0, mixing="separate").train()
    terms = made.loss(given)
    assert set(terms) - set(method().loss(given)) == {"entropy"}
    terms["entropy"].backward()
    joint = made.networks["joint"]
    assert all(float(head.weight.grad.abs().max()) > 0 for head in joint.segment.heads)
    assert all(weight.grad is None for weight in joint.register.parameters())
    with torch.no_grad():
        for head in joint.segment.heads:  # sure that all is the second organ
            head.weight.zero_()
            head.bias.copy_(torch.tensor([0.0, 0.0, 20.0]))
        drawn = replace(given, classes_present=torch.tensor([[True, True]]))
        empty = replace(given, fixed_labels=torch.zeros_like(given.fixed_labels).index_fill(1, torch.tensor([0]), 1.0))
        empty = replace(empty, moving_labels=empty.fixed_labels)
        wrong = made.loss(replace(empty, classes_present=drawn.classes_present))["entropy"]
        unknown = made.loss(replace(empty, classes_present=torch.tensor([[True, False]])))["entropy"]
    assert float(wrong) > 10
    assert float(unknown) < 0.1


def test_it_has_the_size_of_the_paper():
    """The paper: 0.78 million weights."""
    weights = sum(weight.numel() for weight in CrossStitchMethod(Config(classes=5)).parameters())
    assert 0.75e6 < weights < 0.80e6


@pytest.mark.parametrize("dims", [2, 3])
def test_it_has_heads_at_three_resolutions_and_gives_the_finest(dims):
    made = method(dims=dims, segmentation_inputs="all")
    shape = (16, 24, 16)[:dims]
    images = torch.rand(2, 1, 1, *shape)
    labels = torch.rand(1, 3, *shape)
    fields, logits = made.networks["joint"].scales(*images, labels)
    assert [field.shape[2:] for field in fields] == [tuple(n // k for n in shape) for k in (4, 2, 1)]
    assert [one.shape[1] for one in logits] == [3, 3, 3]
    field, found = made.networks["joint"](*images, labels)
    assert torch.equal(field, fields[-1])
    assert torch.equal(found, logits[-1])
    assert made.on_pair(*images) is None  # without the moving labels nothing runs
    seen = made.on_pair(*images, {"moving": labels})
    assert seen.displacement.shape == (1, dims, *shape)
    assert seen.fixed_logits.shape == (1, 3, *shape)


def test_coarser_images_are_means():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(averaged(x, 2)[0, 0], torch.tensor([[2.5, 4.5], [10.5, 12.5]]))
    assert torch.equal(averaged(x, 4).flatten(), torch.tensor([7.5]))
    assert isinstance(method().networks["joint"].register.first[0][0], nn.Conv3d)


def test_an_unknown_choice_is_named():
    with pytest.raises(UsageError, match="mixing cannot be half"):
        method(mixing="half")
