"""The network's grid and its grey values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.runtime.card import Grid, Input, Window
from jrscli.runtime.prepare import grey_limits, mass_centre, network_grid, prepared, prepared_labels
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume

KEEP = Input(window=Window(values=(0.0, 1000.0)), range=(0.0, 1.0))


@pytest.mark.parametrize("letters", ["RAS", "LPS", "SLA", None])
def test_the_grid_covers_the_image_with_its_voxels(geometry, blob, letters):
    """Flipped, swapped and padded, but nothing is interpolated: every grey value is still there."""
    volume = blob(geometry)
    target = network_grid(geometry, Grid(orientation=letters, multiple=(8, 8, 8)))
    array = prepared(volume, target, KEEP)[0]
    assert array.shape == target.shape
    assert all(n % 8 == 0 for n in target.shape)
    assert np.allclose(np.sort(array[array > 0]), np.sort((volume.array / 1000)[volume.array > 0].ravel()))


def test_orientation_points_the_axes_where_the_letters_say(geometry):
    axes = network_grid(geometry, Grid(orientation="RAS", multiple=(1, 1, 1))).axes
    assert (np.diag(axes) * (-1, -1, 1) > 0.5).all()


@given(data=st.data())
def test_padding_and_cropping_are_centred(any_geometry, data):
    geometry = data.draw(any_geometry)
    size = data.draw(st.tuples(*[st.integers(1, 12)] * 3))
    target = network_grid(geometry, Grid(orientation=None, size=size))
    lower = geometry.world_to_index(target.origin_mm[None])[0]
    expected = [-((m - n) // 2) if m >= n else (n - m) // 2 for n, m in zip(geometry.shape, size, strict=True)]
    assert target.shape == size
    assert np.allclose(lower, expected, atol=1e-5)


def test_a_shift_of_voxels_equals_resampling(geometry, blob):
    """The quick way (cutting) and the long way (interpolating) agree, beyond the border too."""
    volume = blob(geometry)
    target = network_grid(geometry, Grid(orientation="SRP", size=(5, 19, 12)))
    assert np.abs(prepared(volume, target, KEEP)[0] - resample(volume, target, outside=0.0).array / 1000).max() < 1e-5


def test_another_spacing_keeps_the_middle(geometry, blob):
    target = network_grid(geometry, Grid(spacing_mm=(2.0, 2.0, 2.0), multiple=(4, 4, 4)))
    assert np.allclose(target.spacing_mm, 2.0)
    assert np.abs((target.centre_mm - geometry.centre_mm) @ target.axes).max() <= 1.0 + 1e-9
    array = prepared(blob(geometry), target, KEEP)
    assert 0.3 < array.max() <= 1


def test_size_with_multiple_is_the_least_grid():
    small, large = (Geometry(shape, np.eye(4)) for shape in ((30, 50, 40), (30, 70, 40)))
    grid = Grid(orientation=None, size=(48, 64, 48), multiple=(16, 16, 16))
    assert network_grid(small, grid).shape == (48, 64, 48)
    assert network_grid(large, grid).shape == (48, 80, 48)
    assert network_grid(small, grid, shape=(49, 1, 1)).shape == (64, 64, 48)


def test_the_mass_comes_to_the_middle_but_the_image_stays_inside():
    array = np.zeros((20, 20, 20), np.float32)
    array[4, 10, 15] = 1
    volume = Volume(array, Geometry((20, 20, 20), np.eye(4)))
    cut = network_grid(volume.geometry, Grid(orientation="LPS", size=(5, 5, 5)), mass_mm=mass_centre(volume))
    assert prepared(volume, cut, Input())[0, 2, 2, 2] == 1
    wide = network_grid(volume.geometry, Grid(orientation="LPS", size=(24, 24, 24)), mass_mm=mass_centre(volume))
    assert wide.contains(volume.geometry.corners_mm).all()


def test_beyond_the_image_is_the_lowest_value(blob, oblique):
    target = network_grid(oblique, Grid(size=(32, 32, 32)))
    array = prepared(blob(oblique), target, Input(window=Window(values=(-100.0, 100.0)), range=(-1.0, 1.0)))
    assert array.min() == -1
    assert array[0, 0, 0, 0] == -1
    assert array.max() == 1


def test_percentiles_are_of_the_whole_image():
    volume = Volume(np.arange(1000, dtype=np.float32).reshape(10, 10, 10), Geometry((10, 10, 10), np.eye(4)))
    assert grey_limits(volume, Input(window=Window(percentiles=(1, 99)))) == pytest.approx((9.99, 989.01))


def test_a_z_score_leaves_out_the_zeros():
    array = np.zeros((4, 4, 4), np.float32)
    array[:2] = np.arange(32).reshape(2, 4, 4) + 100
    volume = Volume(array, Geometry((4, 4, 4), np.eye(4)))
    found = prepared(volume, volume.geometry, Input(window=Window(zscore=True)))[0, :2]
    assert found.mean() == pytest.approx(0, abs=1e-5)
    assert found.std() == pytest.approx(1, abs=1e-5)


def test_a_flat_image_does_not_divide_by_zero():
    volume = Volume(np.full((3, 3, 3), 7.0, np.float32), Geometry((3, 3, 3), np.eye(4)))
    assert np.isfinite(prepared(volume, volume.geometry, Input(window=Window(percentiles=(1, 99))))).all()


def test_a_transform_brings_another_space_onto_the_grid(blob, oblique):
    """The moving image through a shift is what the shifted image is."""
    volume = blob(oblique)
    shift = AffineTransform.about(np.eye(3), np.zeros(3), np.array([2.5, -1.0, 3.0]))
    target = network_grid(oblique, Grid(multiple=(4, 4, 4)))
    moved = prepared(volume, target, KEEP, Transform((shift,)))[0]
    assert np.abs(moved - resample(volume, target, Transform((shift,)), outside=0.0).array / 1000).max() < 1e-5


def test_labels_fill_one_map_each_and_the_rest_is_background(oblique):
    array = np.zeros(oblique.shape, np.uint32)
    array[2:6], array[6:9], array[9:] = 1, 2, 9  # 9 is no label of the model
    labels = LabelMap(array, oblique)
    target = network_grid(oblique, Grid(orientation=None, multiple=(1, 1, 1)))
    maps = prepared_labels(labels, target, 3, ("background", "a", "b"))
    assert np.array_equal(maps.argmax(axis=0), np.where(array == 9, 0, array))
    assert np.allclose(maps.sum(axis=0), 1)
    assert np.array_equal(prepared_labels(labels, target, 2, ("background", "a", "b")), maps[1:])


def test_a_field_in_network_voxels_comes_back_as_millimetres(geometry, blob):
    """One voxel along axis 0 of the network's grid is one voxel along that axis in the patient, however the grid lies."""
    target = network_grid(geometry, Grid(multiple=(4, 4, 4)))
    voxels = np.zeros((*target.shape, 3), np.float32)
    voxels[..., 0] = 1
    field = DisplacementField.from_voxels(voxels, target)
    volume = blob(geometry)
    network_side = prepared(volume, target, KEEP)[0]
    moved = prepared(volume, target, KEEP, Transform((field,)))[0]
    assert np.allclose(moved[:-1], network_side[1:], atol=1e-4)
