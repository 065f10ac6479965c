"""Velocities, and warping in two dimensions."""

import pytest
import torch

from jrscli.nn.warp import compose, integrate, resize_field, warp


def bump(shape, size):
    axes = [torch.linspace(-1, 1, n) for n in shape]
    radius = sum(x**2 for x in torch.meshgrid(*axes, indexing="ij"))
    field = torch.zeros(1, len(shape), *shape)
    field[0, 0] = size * torch.exp(-4 * radius)
    field[0, 1] = -0.5 * size * torch.exp(-4 * radius)
    return field


@pytest.mark.parametrize("shape", [(24, 28), (16, 20, 18)])
def test_the_flow_back_undoes_the_flow(shape):
    velocity = bump(shape, 1.5)
    there, back = integrate(velocity), integrate(-velocity)
    assert float(there.abs().max()) > 1
    assert float(compose(there, back).abs().max()) < 0.05


def test_a_constant_velocity_is_its_own_displacement():
    velocity = torch.full((1, 3, 6, 6, 6), 0.7)
    assert torch.allclose(integrate(velocity), velocity, atol=1e-5)


def test_a_whole_shift_in_two_dimensions():
    image = torch.rand(1, 1, 8, 9)
    field = torch.zeros(1, 2, 8, 9)
    field[:, 1] = 2
    assert torch.allclose(warp(image, field)[..., :-2], image[..., 2:], atol=1e-6)


def test_a_field_on_a_finer_plane_moves_as_far():
    field = bump((9, 9), 1.0)
    fine = resize_field(field, (17, 17))
    assert torch.allclose(fine[..., ::2, ::2], 2 * field, atol=1e-5)
