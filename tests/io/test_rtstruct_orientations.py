"""Mask -> RTSTRUCT -> mask in every orientation: 48 ways to lay out a grid, and any oblique one."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from scipy.ndimage import gaussian_filter

from jrscli.io.rtstruct import read_rtstruct
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.io.series_header import SeriesHeader
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import contour_volume_mm3, rasterize
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.contours import structures_of_labels

SHAPE = (36, 30, 12)
SPACING = np.array([1.1, 1.3, 2.5])
WAYS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def rotation(angles_deg):
    a, b, c = np.radians(angles_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def series_grid(turn):
    """A right-handed grid, as a DICOM series has it."""
    affine = np.eye(4)
    affine[:3, :3] = turn * SPACING
    affine[:3, 3] = (-123.456789, 61.803398, -314.159265)
    return Geometry(SHAPE, affine)


def header(grid):
    uids = tuple(f"1.2.3.{k + 1}" for k in range(grid.shape[2]))
    return SeriesHeader("CT", "1.2", "1.2.3", "1.2.4", "1.2.840.10008.5.1.4.1.1.2", uids, Dataset(), "P-0")


def laid_out(grid, array, order, signs):
    """The same voxels with the axes in another order and direction, as label files have them."""
    turned = np.transpose(array, order)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, list(order)]
    for axis, sign in enumerate(signs):
        if sign < 0:
            turned = np.flip(turned, axis)
            affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
            affine[:3, axis] *= -1
    return LabelMap(np.ascontiguousarray(turned), Geometry(turned.shape, affine))


def organs(seed):
    """A large lump with holes and islands, and a smaller one that touches the edge of the grid."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), (4, 4, 1.5))
    array = np.zeros(SHAPE, np.uint32)
    array[noise > np.quantile(noise, 0.6)] = 1
    array[:9, 5:20, 2:8] = 2
    return array


def there_and_back(labels, grid, path):
    """Each label with its mask as it comes back on the grid of the label file, and the volume of its contours."""
    structures = structures_of_labels(labels, grid)
    write_rtstruct(structures, header(grid), grid, path)
    found = read_rtstruct(path, header(grid), grid)
    return {roi.number: (rasterize(roi, labels.geometry), contour_volume_mm3(roi, grid)) for roi in found.rois}


def check(labels, grid, path):
    for number, (mask, drawn_mm3) in there_and_back(labels, grid, path).items():
        true = labels.mask(number)
        volume_mm3 = true.sum() * grid.voxel_volume_mm3
        assert volume_mm3 > 1000
        assert 2 * (mask & true).sum() / (mask.sum() + true.sum()) >= 0.995
        assert abs(mask.sum() / true.sum() - 1) < 0.01
        # never half a voxel less: outlines run midway between centres, and cut corners only
        assert 0.9 < drawn_mm3 / volume_mm3 < 1.02


@pytest.mark.parametrize("turn", [(0, 0, 0), (25, -14, 8)], ids=["upright", "oblique"])
@pytest.mark.parametrize(("order", "signs"), WAYS)
def test_forty_eight_layouts_of_a_label_file(tmp_path: Path, order, signs, turn):
    grid = series_grid(rotation(turn))
    check(laid_out(grid, organs(3), order, signs), grid, tmp_path / "rs.dcm")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    way=st.sampled_from(WAYS),
)
def test_any_oblique_series(tmp_path: Path, seed, angles, way):
    grid = series_grid(rotation(angles))
    check(laid_out(grid, organs(seed), *way), grid, tmp_path / "rs.dcm")
