"""Connected parts: what is dropped and what stays."""

import numpy as np
import pytest

from jrscli.spatial.components import cleaned, large_parts


def test_a_far_blob_goes_and_two_large_parts_stay():
    mask = np.zeros((40, 20), bool)
    mask[2:12, 2:12] = mask[20:30, 2:10] = True
    kept = mask.copy()
    mask[35:37, 15:18] = True
    assert np.array_equal(large_parts(mask, 0.1), kept)
    assert np.array_equal(large_parts(mask, 0.05), mask)


@pytest.mark.parametrize("shape", [(9, 9), (5, 5, 5)])
def test_parts_that_touch_at_a_corner_are_one(shape):
    mask = np.zeros(shape, bool)
    mask[(slice(0, 3),) * len(shape)] = True
    mask[(3,) * len(shape)] = True
    assert np.array_equal(large_parts(mask, 0.5), mask)


def test_each_label_is_measured_by_its_own_largest_part():
    labels = np.zeros((30, 30), np.int64)
    labels[:10, :10] = 1
    labels[20:22, 20:22] = 2
    labels[28, 28] = 2
    labels[12, 12] = 1
    found = cleaned(labels, 0.2)
    assert found[28, 28] == 2
    assert found[12, 12] == 0
    assert (found[:10, :10] == 1).all()
    assert cleaned(labels, 0.0) is labels


def test_slices_are_looked_at_one_by_one():
    labels = np.zeros((20, 20, 2), np.int64)
    labels[:10, :10, 0] = 1
    labels[15:17, 15:17, 1] = 1
    assert cleaned(labels, 0.5)[15, 15, 1] == 0
    assert cleaned(labels, 0.5, slices=True)[15, 15, 1] == 1
