"""Attention between two images."""

import pytest
import torch

from jrscli.nn.attention import CoAttention, Listening


def features(seed=0, shape=(4, 3, 2)):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(2, 8, *shape, generator=generator) for _ in range(2))


@pytest.fixture
def attention():
    torch.manual_seed(0)
    return CoAttention(8, 3).eval()


def test_what_a_voxel_looks_at_adds_up_to_one(attention):
    for weights in attention.weights(*features()):
        assert weights.shape == (2, 24, 24)
        assert torch.allclose(weights.sum(2), torch.ones(2, 24), atol=1e-6)
        assert float(weights.detach().std()) > 1e-3


def test_other_places_in_the_fixed_image_are_other_columns(attention):
    """The moving voxels look at the same features, wherever in the fixed image these lie."""
    of_moving, of_fixed = features()
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    shuffled = of_fixed.flatten(2)[:, :, order].view_as(of_fixed)
    before, _ = attention.weights(of_moving, of_fixed)
    after, _ = attention.weights(of_moving, shuffled)
    assert torch.allclose(after, before[:, :, order], atol=1e-6)
    assert torch.allclose(attention(of_moving, shuffled)[0], attention(of_moving, of_fixed)[0], atol=1e-5)


def test_the_gate_lets_a_message_through_or_not():
    torch.manual_seed(0)
    hear = Listening(8, 3).eval()
    own, message = features()
    gate = hear.gate(message)
    assert 0 < float(gate.detach().min()) < float(gate.detach().max()) < 1
    assert not torch.allclose(hear(own, message), hear(own, 2 * message))
    torch.nn.init.constant_(hear.openness.bias, -200.0)
    assert torch.equal(hear(own, message), hear(own, 2 * message))
    assert torch.equal(hear(own, message), hear(own, torch.zeros_like(message)))


def test_two_images_that_are_alike_in_role_may_change_places():
    torch.manual_seed(0)
    alike = CoAttention(8, 3, alike=True, coarser=1).eval()
    one, other = features()
    forth, back = alike(one, other), alike(other, one)
    assert torch.allclose(forth[0], back[1], atol=1e-6)
    assert torch.allclose(forth[1], back[0], atol=1e-6)


def test_a_coarser_attention_keeps_fewer_weights_and_gives_the_same_grid():
    coarse = CoAttention(8, 3, coarser=2).eval()
    of_moving, of_fixed = features(shape=(4, 4, 2))
    assert coarse.weights(coarse.down(of_moving), coarse.down(of_fixed))[0].shape == (2, 4, 4)
    assert coarse(of_moving, of_fixed)[0].shape == of_moving.shape
