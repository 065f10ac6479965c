"""The similarity terms have the ranges and blind spots that their formulas promise."""

import pytest
import torch

from jrscli.nn.similarity import global_correlation, local_correlation, mean_absolute, mean_square

SHAPES = [(20, 24), (12, 14, 16)]


def image(shape, seed=0):
    return torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_global_correlation_is_blind_to_gain_and_offset_but_not_to_sign(shape):
    a = image(shape)
    assert float(global_correlation(a, 3 * a + 2)) == pytest.approx(0, abs=1e-4)
    assert float(global_correlation(a, 1 - a)) == pytest.approx(2, abs=1e-4)
    assert float(global_correlation(a, image(shape, 1))) == pytest.approx(1, abs=0.1)


def test_global_correlation_is_taken_per_sample():
    a, b = image((8, 8, 8)), image((8, 8, 8), 1)
    each = [float(global_correlation(a[n : n + 1], b[n : n + 1])) for n in range(2)]
    assert float(global_correlation(a, b)) == pytest.approx(sum(each) / 2, abs=1e-6)


def test_a_constant_image_has_a_finite_slope():
    a = torch.full((1, 1, 6, 6, 6), 0.5, requires_grad=True)
    global_correlation(a, image((6, 6, 6))[:1]).backward()
    assert bool(torch.isfinite(a.grad).all())


@pytest.mark.parametrize("shape", SHAPES)
def test_local_correlation_is_blind_to_inversion(shape):
    # about zero, for beyond the border lie zeros that count
    a, b = image(shape) - 0.5, image(shape, 1) - 0.5
    assert float(local_correlation(a, -2 * a)) == pytest.approx(0, abs=1e-3)
    assert 0.9 < float(local_correlation(a, b)) <= 1


def test_local_correlation_is_its_formula():
    """A box wider than the image holds all of it (and the same zeros beyond) at every voxel."""
    a, b = image((4, 4, 4))[:1], image((4, 4, 4), 1)[:1]
    x, y = (torch.cat([z.flatten(), torch.zeros(9**3 - 4**3)]) for z in (a, b))
    x, y = x - x.mean(), y - y.mean()
    expected = 1 - (x * y).sum() ** 2 / ((x**2).sum() * (y**2).sum())
    assert float(local_correlation(a, b, width=9)) == pytest.approx(float(expected), abs=1e-4)


def test_masked_square_counts_inside_only():
    a, b = torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, 4, 4, 4)
    b[:, :, 0] = 2
    mask = torch.zeros(1, 1, 4, 4, 4)
    mask[:, :, :2] = 1
    assert float(mean_square(a, b)) == 1
    assert float(mean_square(a, b, mask)) == 2
    assert float(mean_square(a, b, torch.zeros_like(mask))) == 0
    assert float(mean_absolute(a, b)) == 0.5
