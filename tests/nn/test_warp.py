"""Warping, composing and integrating fields in voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from jrscli.nn.warp import compose, identity_like, resize_field, sample, warp

SHAPE = (9, 7, 11)


def smooth_field(size: float, seed: int = 0) -> torch.Tensor:
    coarse = torch.randn(1, 3, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    return size * torch.nn.functional.interpolate(coarse, SHAPE, mode="trilinear", align_corners=True)


def test_whole_voxel_shift_reads_the_neighbour_of_the_right_axis() -> None:
    image = torch.randn(1, 1, *SHAPE)
    field = torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1, 1).expand(1, 3, *SHAPE)
    moved = warp(image, field)
    np.testing.assert_allclose(moved[0, 0, :-1, 2:, :-3], image[0, 0, 1:, :-2, 3:], atol=1e-5)


def test_sampling_agrees_with_scipy() -> None:
    image = torch.randn(1, 1, *SHAPE)
    index = torch.rand(1, 3, 4, 5, 6) * (torch.tensor(SHAPE) - 1).view(1, 3, 1, 1, 1)
    expected = map_coordinates(image[0, 0].numpy(), index[0].numpy().reshape(3, -1), order=1).reshape(4, 5, 6)
    np.testing.assert_allclose(sample(image, index)[0, 0], expected, atol=1e-5)


def test_an_axis_of_one_voxel_is_constant() -> None:
    image = torch.randn(1, 1, 6, 5, 1)
    field = torch.full((1, 3, 6, 5, 1), 0.0)
    field[:, 2] = 4.0
    np.testing.assert_allclose(warp(image, field), image, atol=1e-6)


def test_composition_is_one_field_after_the_other() -> None:
    first, second = smooth_field(0.4, 1), smooth_field(0.4, 2)
    point = torch.tensor([4.0, 3.0, 5.0]).view(1, 3, 1, 1, 1)
    there = point + sample(first, point)
    both = there + sample(second, there)
    np.testing.assert_allclose(point + sample(compose(first, second), point), both, atol=1e-5)


def test_resized_field_keeps_the_points_it_maps() -> None:
    fine = (17, 13, 21)
    field = smooth_field(1.0)
    resized = resize_field(field, fine)
    # the same corners: voxel 2n of the fine grid is voxel n of the coarse one, and lengths double
    np.testing.assert_allclose(resized[:, :, ::2, ::2, ::2], 2 * field, atol=1e-4)


def test_warping_has_a_gradient_in_the_field() -> None:
    field = smooth_field(0.3).requires_grad_()
    warp(torch.randn(1, 2, *SHAPE), field).square().sum().backward()
    assert field.grad is not None
    assert float(field.grad.norm()) > 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_identity_counts_voxels_along_each_axis(axis: int) -> None:
    identity = identity_like(torch.zeros(1, 3, *SHAPE))
    np.testing.assert_array_equal(identity[0, axis].moveaxis(axis, 0)[:, 0, 0], np.arange(SHAPE[axis]))
