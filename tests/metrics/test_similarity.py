"""Image similarity: SimpleITK, closed forms."""

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.metrics.similarity import similarity


def images(seed=0):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(12, 10, 8))
    return first, first + 0.5 * rng.normal(size=first.shape)


def test_ncc_agrees_with_simpleitk():
    first, second = images()
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    theirs = method.MetricEvaluate(*(sitk.GetImageFromArray(image) for image in (first, second)))
    assert similarity(first, second)[0].value ** 2 == pytest.approx(-theirs, rel=1e-6)


def test_image_against_itself():
    first, _ = images()
    ncc, nmi, difference = similarity(first, first)
    assert ncc.value == pytest.approx(1.0)
    assert nmi.value == pytest.approx(2.0)
    assert difference.value == 0.0


def test_nmi_of_unrelated_images_is_lower_and_does_not_care_for_contrast():
    first, second = images()
    related, inverted = similarity(first, second)[1].value, similarity(first, -3 * second + 7)[1].value
    unrelated = similarity(first, np.random.default_rng(9).normal(size=first.shape))[1].value
    assert related == pytest.approx(inverted, rel=0.02)
    assert unrelated < related


def test_constant_image_has_no_correlation():
    first, _ = images()
    assert similarity(first, np.ones_like(first))[0].status == "not_assessed"


def test_only_the_mask_counts():
    first, _ = images()
    second, mask = first.copy(), np.zeros(first.shape, bool)
    mask[2:6] = True
    second[~mask] += 100
    assert similarity(first, second, mask)[2].value == 0.0
