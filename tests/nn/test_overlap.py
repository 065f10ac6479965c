"""Overlap terms: absent classes, soft labels, signs, gradients."""

import math

import pytest
import torch
from torch.nn import functional

from jrscli.nn.adversarial import fooling_loss, halfway, judge_loss
from jrscli.nn.overlap import (
    binary_cross_entropy,
    centroid_distance,
    confidence_weighted_cross_entropy,
    cross_entropy,
    merged_undrawn,
    rare_weights,
    rectified_cross_entropy,
    region_consistency,
    soft_dice,
    weighted_inner_product,
)
from jrscli.nn.warp import warp


def blocks(shape=(6, 6, 6)):
    """Labels 0, 1, 2 in slabs, one-hot."""
    numbers = torch.zeros(1, *shape, dtype=torch.long)
    numbers[:, 2:4], numbers[:, 4:] = 1, 2
    return functional.one_hot(numbers, 3).movedim(-1, 1).float()


def test_dice_of_equal_maps_and_of_disjoint_ones():
    y = blocks()
    assert float(soft_dice(y, y)) == pytest.approx(0, abs=1e-5)
    assert float(soft_dice(y, y.flip(1), background=False)) == pytest.approx(0.5, abs=1e-4)  # class 1 stays
    assert float(soft_dice(y, y, squared=True)) == pytest.approx(0, abs=1e-5)


def test_a_class_absent_in_both_costs_nothing():
    y = blocks()
    y = torch.cat([y, torch.zeros_like(y[:, :1])], dim=1)
    assert float(soft_dice(y, y)) == pytest.approx(0, abs=1e-5)


def test_a_class_that_was_never_drawn_has_no_weight_and_no_gradient():
    y = blocks()
    p = torch.full_like(y, 1 / 3, requires_grad=True)
    soft_dice(p, y, present=torch.tensor([[True, False]])).backward()
    assert float(p.grad[:, 2].abs().max()) == 0
    assert float(p.grad[:, 1].abs().min()) > 0


def test_what_was_never_drawn_may_lie_in_the_background_or_not():
    y = blocks()
    sure = 30 * y  # class 2 is found, though in this row it counts as not drawn: nothing to learn
    present = torch.tensor([[True, False]])
    undrawn = torch.cat([y[:, :1] + y[:, 2:], y[:, 1:2], torch.zeros_like(y[:, 2:])], dim=1)
    for labels in (y, undrawn):
        logits, target = merged_undrawn(sure, labels, present)
        assert float(cross_entropy(logits, target)) == pytest.approx(0, abs=1e-6)
        assert torch.equal(target, undrawn)
    assert float(cross_entropy(sure, undrawn)) > 5
    weak = torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    cross_entropy(*merged_undrawn(weak, y, present)).backward()
    assert bool(torch.isfinite(weak.grad).all())
    p = weak.detach().softmax(1)
    by_hand = -(undrawn[:, 0] * (p[:, 0] + p[:, 2]).log() + y[:, 1] * p[:, 1].log()).mean()
    assert float(cross_entropy(*merged_undrawn(weak, y, present)).detach()) == pytest.approx(float(by_hand), rel=1e-5)
    assert merged_undrawn(weak, y, torch.ones(1, 2, dtype=torch.bool))[0] is weak


def test_half_overlap_by_hand():
    p, q = torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4)
    p[:, :, :2], q[:, :, 1:3] = 1, 1
    assert float(soft_dice(p, q)) == pytest.approx(0.5, abs=1e-5)


def test_warped_labels_have_a_gradient_in_the_field():
    """Labels warped by nearest neighbour would have none (methods of others do that)."""
    y = blocks((8, 8, 8))
    field = torch.full((1, 3, 8, 8, 8), 0.3, requires_grad=True)
    soft_dice(warp(y, field), y).backward()
    assert float(field.grad.norm()) > 0


def test_cross_entropy_takes_logits_once_and_soft_labels():
    logits = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    y = blocks((4, 4, 4)).expand(2, -1, -1, -1, -1)
    assert float(cross_entropy(logits, y)) == pytest.approx(float(functional.cross_entropy(logits, y.argmax(1))), rel=1e-5)
    soft = torch.full_like(logits, 1 / 3)
    assert float(cross_entropy(torch.zeros_like(logits), soft)) == pytest.approx(math.log(3), rel=1e-5)
    same = cross_entropy(logits, y, torch.tensor([2.0, 2.0, 2.0]))  # weights are normalised
    assert float(same) == pytest.approx(float(cross_entropy(logits, y)), rel=1e-5)


def test_rare_classes_weigh_more_but_not_without_end():
    numbers = torch.zeros(1, 10, 10, dtype=torch.long)
    numbers[0, 0, :5], numbers[0, 1:3] = 1, 2
    y = functional.one_hot(numbers, 4).movedim(-1, 1).float()
    assert rare_weights(y).tolist() == [1.0, 10.0, pytest.approx(75 / 20), 1.0]


def test_binary_entropy_of_an_undecided_network():
    assert float(binary_cross_entropy(torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4))) == pytest.approx(math.log(2))


def test_the_weighted_inner_product_is_least_where_labels_agree():
    y = blocks()
    assert float(weighted_inner_product(y, y)) == pytest.approx(-(3 * float(y.mean()) + float((1 - y).mean())))
    assert float(weighted_inner_product(1 - y, y)) == 0


def test_confidence_weighs_and_gets_no_gradient():
    logits, y = torch.randn(1, 3, 6, 6, 6), blocks()
    confidence = torch.ones(1, 1, 6, 6, 6, requires_grad=True)
    loss = confidence_weighted_cross_entropy(logits.requires_grad_(), y, confidence)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(cross_entropy(logits.detach(), y)), rel=1e-5)
    assert confidence.grad is None


def test_region_consistency_punishes_mismatch():
    y = blocks()
    assert float(region_consistency(y, y)) == 0
    assert float(region_consistency(y, y.flip(1))) > 0


def test_a_teacher_that_agrees_leaves_the_entropy_as_it_is():
    logits, y = torch.randn(1, 3, 6, 6, 6), blocks()
    agreed = rectified_cross_entropy(logits, y, logits.softmax(1))
    assert float(agreed) == pytest.approx(float(cross_entropy(logits, y)), rel=1e-4)
    # an undecided network under a sure teacher: κ = ln 3, so a third of the entropy counts, and κ itself
    undecided = rectified_cross_entropy(torch.zeros_like(logits), y, y)
    assert float(undecided) == pytest.approx(math.log(3) / 3 + math.log(3), rel=1e-4)


def test_centroids_one_voxel_apart():
    p = torch.zeros(1, 2, 8, 8, 8)
    p[:, 0, 2:4, 2:4, 2:4] = 1
    q = p.roll(1, dims=3).requires_grad_()
    loss = centroid_distance(p, q)
    assert float(loss.detach()) == pytest.approx(1, abs=1e-4)  # the second class is in neither
    loss.backward()
    assert bool(torch.isfinite(q.grad).all())


def test_a_judge_that_cannot_tell_pays_log_two_twice():
    undecided = torch.zeros(1, 1, 4, 4)
    assert float(judge_loss(undecided, undecided)) == pytest.approx(2 * math.log(2))
    assert float(judge_loss(undecided + 9, undecided - 9)) < 0.01
    assert float(fooling_loss(undecided + 9)) < 0.01 < float(fooling_loss(undecided - 9))
    assert float(halfway(undecided)) == 0.5
