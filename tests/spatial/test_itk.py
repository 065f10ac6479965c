"""The SimpleITK bridge: arrays and grids there and back."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.spatial.itk import array_from_image, geometry_from_image, image_from_array, volume_from_image


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32", "float64", ">i2", ">f4"])
def test_values_come_back_with_their_type(oblique, dtype):
    array = np.arange(np.prod(oblique.shape)).reshape(oblique.shape).astype(dtype)
    back = array_from_image(image_from_array(array, oblique))
    assert back.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(back, array)


def test_a_mask_arrives_as_zeros_and_ones(oblique):
    mask = np.zeros(oblique.shape, bool)
    mask[1, 2, 3] = True
    back = array_from_image(image_from_array(mask, oblique))
    assert back.sum() == 1
    assert back[1, 2, 3] == 1


def test_half_precision_is_widened(oblique):
    assert array_from_image(image_from_array(np.ones(oblique.shape, np.float16), oblique)).dtype == np.float32


def test_views_with_strides_are_copied_right(oblique):
    big = np.random.default_rng(0).normal(size=tuple(2 * n for n in oblique.shape))
    view = big[::2, ::-2, 1::2]
    assert np.array_equal(array_from_image(image_from_array(view, oblique)), view)


def test_vectors_keep_their_components_last(oblique):
    array = np.random.default_rng(1).normal(size=(*oblique.shape, 3))
    image = image_from_array(array, oblique)
    assert image.GetNumberOfComponentsPerPixel() == 3
    assert np.array_equal(array_from_image(image), array)


def test_the_grid_comes_back(geometry):
    image = image_from_array(np.zeros(geometry.shape, np.uint8), geometry)
    assert geometry_from_image(image).matches(geometry, atol_mm=1e-9)


def test_itk_sees_each_voxel_at_its_index_and_place(geometry):
    array = np.random.default_rng(2).normal(size=geometry.shape)
    image = image_from_array(array, geometry)
    assert image[3, 1, 2] == array[3, 1, 2]
    assert np.allclose(image.TransformIndexToPhysicalPoint((3, 1, 2)), geometry.index_to_world(np.array([[3, 1, 2]]))[0])


def test_a_volume_goes_there_and_back(geometry, blob):
    volume = blob(geometry)
    back = volume_from_image(image_from_array(volume.array, volume.geometry))
    assert np.array_equal(back.array, volume.array)
    assert back.geometry.matches(volume.geometry)
