"""Quick convolutions give what slow ones give."""

import copy

import pytest
import torch
from torch import Tensor, nn

from jrscli.nn.unet import voxelmorph_unet
from jrscli.training.cpu import quicken


def answers(network: nn.Module, image: Tensor) -> list[Tensor]:
    """The features and the gradients of all weights."""
    features = network(image)
    network.zero_grad()
    features.square().mean().backward()
    return [features.detach(), *(weight.grad.clone() for weight in network.parameters() if weight.grad is not None)]


@pytest.mark.parametrize("batch", [1, 2])
def test_a_quick_network_answers_as_a_slow_one(batch: int) -> None:
    torch.manual_seed(0)
    slow = voxelmorph_unet(1, dims=3)
    quick = quicken(copy.deepcopy(slow), 3)
    image = torch.rand(batch, 1, 16, 32, 16)
    for a, b in zip(answers(slow, image), answers(quick, image), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_one_image_repeated_stays_two() -> None:
    image = torch.rand(1, 1, 16, 16, 16).expand(2, -1, -1, -1, -1)
    assert quicken(voxelmorph_unet(1, dims=3), 3)(image).shape[0] == 2


def test_a_copied_network_is_quick_by_itself() -> None:
    """A teacher is a copy of its student: its hooks must not remember what the student saw."""
    torch.manual_seed(0)
    student = quicken(nn.Sequential(nn.Conv3d(1, 2, 3, padding=1)), 3)
    teacher = copy.deepcopy(student)
    seen: list[int] = []
    student[0].register_forward_pre_hook(lambda _layer, _inputs: seen.append(teacher(torch.rand(2, 1, 8, 8, 8)).shape[0]))
    assert student(torch.rand(1, 1, 8, 8, 8)).shape[0] == 1
    assert seen == [2]
