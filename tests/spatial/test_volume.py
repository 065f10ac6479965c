"""Volume and LabelMap: what they take, what they refuse, and that they stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.errors import GeometryError, InputError
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume

GRID = Geometry((2, 3, 1), np.eye(4))


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "float32", "float64"])
def test_a_volume_keeps_its_type_and_values(dtype):
    array = np.arange(6, dtype=dtype).reshape(GRID.shape)
    volume = Volume(array, GRID)
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array, array)


def test_volumes_and_labels_are_read_only():
    for made in (Volume(np.zeros(GRID.shape), GRID), LabelMap(np.zeros(GRID.shape, np.uint32), GRID)):
        with pytest.raises(ValueError, match="read-only"):
            made.array[0, 0, 0] = 1


def test_the_callers_array_stays_writeable():
    array = np.zeros(GRID.shape)
    Volume(array, GRID)
    array[0, 0, 0] = 1


def test_names_cannot_be_changed_from_outside():
    names = {1: "Bladder"}
    labels = LabelMap(np.zeros(GRID.shape, np.uint32), GRID, names)
    names[1] = "Rectum"
    assert labels.name(1) == "Bladder"
    with pytest.raises(TypeError):
        labels.names[1] = "Rectum"


@pytest.mark.parametrize(
    ("array", "error", "code"),
    [
        (np.zeros((2, 3)), InputError, "image.dims"),
        (np.zeros((2, 3, 1, 4)), InputError, "image.dims"),
        (np.zeros((3, 2, 1)), GeometryError, "geometry.shape"),
        (np.zeros(GRID.shape, complex), InputError, "image.values"),
        (np.zeros(GRID.shape, bool), InputError, "image.values"),
        (np.full(GRID.shape, np.nan), InputError, "image.values"),
        (np.full(GRID.shape, np.inf), InputError, "image.values"),
    ],
)
def test_what_is_no_image_is_refused(array, error, code):
    with pytest.raises(error) as caught:
        Volume(array, GRID)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((2, 3)), "labels.dims"),
        (np.zeros(GRID.shape, np.float32), "labels.values"),
        (np.full(GRID.shape, -1), "labels.values"),
        (np.full(GRID.shape, 2**32), "labels.values"),
    ],
)
def test_what_are_no_labels_is_refused(array, code):
    with pytest.raises(InputError) as caught:
        LabelMap(array, GRID)
    assert caught.value.code == code


@given(number=st.integers(1, 2**32 - 1))
def test_every_label_number_survives(number):
    array = np.zeros(GRID.shape, np.int64)
    array[1, 2, 0] = number
    labels = LabelMap(array, GRID)
    assert labels.numbers() == [number]
    assert labels.mask(number).sum() == 1
    assert labels.name(number) == str(number)


def test_a_mask_is_a_label_map_of_ones():
    labels = LabelMap(np.ones(GRID.shape, bool), GRID)
    assert labels.numbers() == [1]
