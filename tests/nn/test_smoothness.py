"""Smoothness terms: zero where they should be, and equal to sums made by hand."""

import math

import pytest
import torch

from jrscli.nn.smoothness import bending, diffusion_mean, huber_in_plane, huber_in_time, velocity_divergence


def grid(*shape):
    return torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in shape], indexing="ij"))[None]


@pytest.mark.parametrize("shape", [(6, 7), (5, 6, 7)])
def test_an_affine_field_does_not_bend(shape):
    x = grid(*shape)
    matrix = torch.randn(len(shape), len(shape), generator=torch.Generator().manual_seed(0))
    field = torch.einsum("ab,nb...->na...", matrix, x) + 3
    assert float(bending(field)) == pytest.approx(0, abs=1e-8)
    assert float(diffusion_mean(field)) == pytest.approx(float((matrix**2).sum()) / len(shape) ** 2, rel=1e-4)


def test_bending_of_a_square_and_of_a_saddle():
    x = grid(6, 6, 6)
    field = torch.zeros_like(x)
    field[:, 0] = x[:, 0] ** 2  # D_ii = 2
    assert float(bending(field)) == pytest.approx(4)
    field[:, 0] = x[:, 0] * x[:, 1]  # D_ij = 1, counted twice
    assert float(bending(field)) == pytest.approx(2)


def test_the_weight_of_normalised_coordinates():
    """20,000 · bending(2u/(n−1)) is 20,000 · (2/(n−1))² · bending(u): the paper's λ in voxels."""
    n = 16
    field = torch.randn(1, 3, n, n, n, generator=torch.Generator().manual_seed(0))
    scale = 2 / (n - 1)
    assert float(20_000 * bending(scale * field)) == pytest.approx(float(20_000 * scale**2 * bending(field)), rel=1e-5)
    # knee: 160 voxels
    assert pytest.approx(3.2, abs=0.05) == 20_000 * (2 / 159) ** 2


def test_velocity_divergence_is_least_where_its_formula_says():
    """With a smooth mean, λ deg e^s − s is least at s = −log(λ deg)."""
    mean = torch.zeros(1, 3, 8, 8, 8)
    degree = 6 - sum((x == 0).float() + (x == 7).float() for x in grid(8, 8, 8)[0])
    best = -(10 * degree).log().expand(1, 3, 8, 8, 8)
    least = velocity_divergence(mean, best, 10.0)
    assert float(least) == pytest.approx(1.5 * float((1 - best).mean()), rel=1e-5)
    assert float(velocity_divergence(mean, best + 0.1, 10.0)) > float(least)
    assert float(velocity_divergence(mean, best - 0.1, 10.0)) > float(least)


def test_huber_of_a_still_field_is_the_root_of_its_floor():
    still = torch.ones(1, 2, 5, 5)
    assert float(huber_in_plane(still)) == pytest.approx(0.1)
    assert float(huber_in_time(torch.ones(1, 4, 2, 5, 5))) == pytest.approx(0.1)
    x = grid(5, 5)
    assert float(huber_in_plane(x)) == pytest.approx(math.sqrt(2.01), rel=1e-5)
