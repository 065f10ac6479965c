"""Filters against SciPy, similarity terms against their definitions."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import correlate1d, uniform_filter

from jrscli.nn.filters import box_sum, gaussian, gaussian_weights
from jrscli.nn.losses import FeatureDistance, LocalCorrelation, MutualInformation, diffusion, diffusion_slope

SHAPE = (10, 8, 9)


def noise(seed: int, channels: int = 1) -> torch.Tensor:
    return torch.rand(1, channels, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_box_sum_agrees_with_scipy() -> None:
    image = noise(0)
    expected = uniform_filter(image[0, 0].numpy().astype(np.float64), (3, 5, 7), mode="constant") * 105
    np.testing.assert_allclose(box_sum(image, (1, 2, 3))[0, 0], expected, rtol=1e-4)


def test_gaussian_agrees_with_scipy_along_each_axis() -> None:
    image = noise(1)
    expected = image[0, 0].numpy().astype(np.float64)
    for axis, sigma in enumerate((0.7, 1.0, 0.0)):
        expected = correlate1d(expected, gaussian_weights(sigma), axis=axis, mode="constant")
    np.testing.assert_allclose(gaussian(image, (0.7, 1.0, 0.0))[0, 0], expected, atol=1e-5)


def test_filters_have_the_right_gradient() -> None:
    image = noise(2).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: gaussian(x, (0.6, 0.8, 0.0)), (image[:, :, :4, :4, :4].detach().requires_grad_(),)
    )


def test_local_correlation_ignores_scale_shift_and_sign() -> None:
    image = noise(3)
    correlation = LocalCorrelation(image, (2, 2, 2), noise=1e-4)
    assert float(correlation(image)) < 1e-3
    assert float(correlation(1 - 0.5 * image)) < 1e-3
    assert float(correlation(noise(4))) > 0.9
    assert float(correlation.signed_map(1 - 0.5 * image).mean()) < -0.99


def test_local_correlation_against_its_definition_at_one_voxel() -> None:
    fixed, moved = noise(5), noise(6)
    correlation = LocalCorrelation(fixed, (1, 1, 1), noise=0.1).map(moved)[0, 0, 4, 4, 4]
    f, m = (x[0, 0, 3:6, 3:6, 3:6].double().numpy() for x in (fixed, moved))
    covariance = ((f - f.mean()) * (m - m.mean())).mean()
    np.testing.assert_allclose(correlation, covariance**2 / ((f.var() + 0.01) * (m.var() + 0.01)), rtol=1e-4)


def test_weight_leaves_voxels_out() -> None:
    fixed, moved = noise(7), noise(7)
    moved[:, :, 5:] = noise(8)[:, :, 5:]
    weight = torch.zeros(1, 1, *SHAPE)
    weight[:, :, :3] = 1
    assert float(LocalCorrelation(fixed, (1, 1, 1), 1e-4, weight)(moved)) < 1e-3
    assert float(FeatureDistance(fixed, weight)(moved)) == 0


def test_mutual_information_knows_any_mapping_of_grey_values() -> None:
    fixed = noise(9).flatten()
    information = MutualInformation(fixed)
    weight = torch.ones(3, len(fixed))
    same, turned, other = information(torch.stack([fixed, (fixed - 0.5).abs() * 2, noise(10).flatten()]), weight).tolist()
    assert same > turned > 3 * other


def test_smoothness_terms_of_a_ramp() -> None:
    ramp = torch.zeros(1, 3, *SHAPE)
    ramp[:, 0] = 0.5 * torch.arange(SHAPE[0]).view(-1, 1, 1)
    np.testing.assert_allclose(diffusion(ramp), 0.25 / 3, rtol=1e-5)
    np.testing.assert_allclose(diffusion(ramp, (2.0, 1.0, 1.0)), 0.0625 / 3, rtol=1e-5)


def test_written_out_slope_is_that_of_autograd() -> None:
    field = torch.randn(1, 3, *SHAPE, requires_grad=True)
    (expected,) = torch.autograd.grad(diffusion(field, (1.0, 2.0, 3.0)), field)
    np.testing.assert_allclose(diffusion_slope(field.detach(), (1.0, 2.0, 3.0)), expected, atol=1e-6)
