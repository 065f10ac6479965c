"""Slices that are no stack, on an upright grid: a value that is linear in space stays what it is, wherever a voxel lies."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jrscli.errors import InputError
from jrscli.io.dicom_series import read_series
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

SLOPE = np.array([9.0, -7.0, 5.0])
"""How the value changes along x, y and z, per mm."""


def linear(points: np.ndarray) -> np.ndarray:
    return 8000 + points @ SLOPE


@pytest.fixture(scope="module")
def read_irregular(dicom_slices: Callable, save_slices: Callable) -> Callable:
    """Reads images of the linear value at the places given: along the normal, and off the line along rows and columns (mm)."""

    def read(geometry: Geometry, heights: np.ndarray, drift: np.ndarray, **options: bool) -> tuple:
        images = dicom_slices(
            Volume(np.zeros((*geometry.shape[:2], len(heights)), np.uint16), geometry_of(geometry, len(heights)))
        )
        axes, spacing = geometry.axes, geometry.spacing_mm
        i, j = np.meshgrid(*(np.arange(n) for n in geometry.shape[:2]), indexing="ij")
        for one, height, (across, down) in zip(images, heights, drift, strict=True):
            position = geometry.origin_mm + axes @ np.array([across, down, height])
            one.ImagePositionPatient = [f"{x:.6f}" for x in position]
            points = position + i[..., None] * axes[:, 0] * spacing[0] + j[..., None] * axes[:, 1] * spacing[1]
            one.PixelData = np.rint(linear(points)).astype("<u2").T.tobytes()
        with tempfile.TemporaryDirectory() as folder:
            return read_series(save_slices(images, Path(folder)), **options)

    return read


def geometry_of(geometry: Geometry, count: int) -> Geometry:
    return Geometry((*geometry.shape[:2], count), geometry.affine)


def right_handed(geometry: Geometry) -> Geometry:
    affine = geometry.affine.copy()
    affine[:3, 2] *= np.sign(np.linalg.det(affine[:3, :3]))
    affine[:3, 3] /= 10  # near the origin, so that the value stays within 16 bits
    return Geometry((12, 10, 2), affine)


def check(volume: Volume, least: float) -> None:
    """All but the background is the linear value, and there is little background."""
    index = np.moveaxis(np.indices(volume.geometry.shape), 0, -1).reshape(-1, 3)
    expected = linear(volume.geometry.index_to_world(index)).reshape(volume.geometry.shape)
    inside = volume.array != 0
    assert inside.mean() > least
    # half a unit was rounded away on the way in, half a unit on the way out, and positions have six decimals
    np.testing.assert_allclose(volume.array[inside], expected[inside], atol=1.3)


@pytest.fixture(scope="module")
def grids(any_geometry: st.SearchStrategy[Geometry]) -> st.SearchStrategy[Geometry]:
    """Grids whose voxels are not too unlike along their axes, for 12 × 10 pixels."""
    fit = any_geometry.filter(lambda g: max(g.spacing_mm) < 4 and min(g.spacing_mm) > 0.3)
    return fit.map(right_handed)


def test_tilt(read_irregular: Callable, grids: st.SearchStrategy[Geometry]) -> None:
    @settings(max_examples=15)
    @given(grids, st.floats(5, 30), st.integers(0, 1), st.sampled_from([-1, 1]), st.integers(3, 9))
    def holds(geometry: Geometry, angle: float, direction: int, sign: int, count: int) -> None:
        step = geometry.spacing_mm[2]
        heights, drift = np.arange(count) * step, np.zeros((count, 2))
        drift[:, direction] = sign * heights * np.tan(np.radians(angle))
        if abs(drift).max() <= max(0.05, 0.1 * min(geometry.spacing_mm)) * 1.01:
            return
        with pytest.raises(InputError, match="gantry tilt") as refused:
            read_irregular(geometry, heights, drift)
        assert refused.value.code == "series.tilt"
        assert float(refused.value.message.split()[2].rstrip("°:")) == pytest.approx(angle, abs=0.1)
        volume, header, notices = read_irregular(geometry, heights, drift, resample_irregular=True)
        assert [n.code for n in notices if n.code != "series.few"] == ["series.tilt"]
        assert volume.geometry.shape[2] == count == len(header.sop_instance_uids)
        assert volume.geometry.spacing_mm == pytest.approx(geometry.spacing_mm, abs=1e-4)
        # nothing is cut off: each image keeps all but the one row and column that interpolation may take
        assert ((volume.array != 0).sum(axis=(0, 1)) >= 11 * 9).all()
        check(volume, 0.0)

    holds()


def test_missing_slices(read_irregular: Callable, grids: st.SearchStrategy[Geometry]) -> None:
    @settings(max_examples=15)
    @given(grids, st.integers(5, 12), st.data())
    def holds(geometry: Geometry, count: int, data: st.DataObject) -> None:
        gone = data.draw(st.sets(st.integers(1, count - 2), min_size=1, max_size=2))
        kept = [k for k in range(count) if k not in gone]
        if np.bincount(np.diff(kept)).argmax() != 1 or np.median(np.diff(kept)) != 1:
            return
        heights = np.array(kept) * geometry.spacing_mm[2]
        with pytest.raises(InputError, match=f"{len(gone)} slice") as refused:
            read_irregular(geometry, heights, np.zeros((len(kept), 2)))
        assert refused.value.code == "series.missing"
        volume, header, notices = read_irregular(geometry, heights, np.zeros((len(kept), 2)), resample_irregular=True)
        assert notices[0].code == "series.missing"
        assert volume.geometry.matches(geometry_of(geometry, count), 1e-3)
        assert len(header.sop_instance_uids) == count
        assert len(set(header.sop_instance_uids)) == len(kept)
        check(volume, 0.999)

    holds()


def test_uneven_slices(read_irregular: Callable, grids: st.SearchStrategy[Geometry]) -> None:
    @settings(max_examples=15)
    @given(grids, st.lists(st.floats(0.6, 1.4), min_size=1, max_size=3))
    def holds(geometry: Geometry, factors: list[float]) -> None:
        steps = np.array([1, 1, *factors, 1, 1, 1]) * geometry.spacing_mm[2]
        if abs(steps - steps[0]).max() <= 0.02 + 0.02 * steps[0]:
            return
        heights = np.concatenate([[0], np.cumsum(steps)])
        with pytest.raises(InputError) as refused:
            read_irregular(geometry, heights, np.zeros((len(heights), 2)))
        assert refused.value.code == "series.uneven"
        volume, _, notices = read_irregular(geometry, heights, np.zeros((len(heights), 2)), resample_irregular=True)
        assert notices[0].code == "series.uneven"
        assert volume.geometry.spacing_mm == pytest.approx(geometry.spacing_mm, abs=1e-4)
        inner = Volume(volume.array[:, :, :-1], geometry_of(volume.geometry, volume.geometry.shape[2] - 1))
        check(inner, 0.999)

    holds()


GRID = Geometry((12, 10, 2), np.diag((1.5, 1.0, 2.0, 1.0)))


def test_a_wide_gap_is_never_interpolated(read_irregular: Callable) -> None:
    heights = np.array([0, 2, 4, 12, 14, 16.0])
    with pytest.raises(InputError, match="gap of 8") as refused:
        read_irregular(GRID, heights, np.zeros((6, 2)), resample_irregular=True)
    assert refused.value.code == "series.missing"


def test_a_regular_stack_is_left_alone(read_irregular: Callable) -> None:
    heights = np.arange(6) * 2.0
    volume, _, notices = read_irregular(GRID, heights, np.zeros((6, 2)), resample_irregular=True)
    assert not notices
    check(volume, 0.999)


def test_each_slice_names_the_image_nearest_to_it(read_irregular: Callable) -> None:
    header = read_irregular(GRID, np.array([0, 2, 4, 8.0]), np.zeros((4, 2)), resample_irregular=True)[1]
    uids = header.sop_instance_uids
    assert len(uids) == 5
    assert uids[3] in (uids[2], uids[4])
    assert len({uids[0], uids[1], uids[2], uids[4]}) == 4
