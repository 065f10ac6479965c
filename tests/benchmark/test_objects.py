"""Registrations, dose and segmentations on real series (JRS_DATA names the folder of the data)."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest

from jrscli.io import read_contours, read_image
from jrscli.io.dose import read_dose, write_dose
from jrscli.io.registration_object import read_registration
from jrscli.io.registration_object_write import write_deformable, write_rigid
from jrscli.io.segmentation_object import read_segmentation, write_segmentation
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.subsample import subsample
from jrscli.spatial.transform import Transform
from jrscli.workflows.contours import masks_of_structures
from jrscli.workflows.warp import warp_dose

pytestmark = pytest.mark.benchmark


def _say(line: str) -> None:
    """One line for the reader of the benchmark."""
    sys.stdout.write(line + "\n")


@pytest.fixture(scope="module")
def dicom() -> Path:
    folder = Path(os.environ.get("JRS_DATA", "no-such-folder")) / "dicom"
    if not folder.is_dir():
        pytest.skip("JRS_DATA names no folder with dicom/")
    return folder


@pytest.fixture(scope="module")
def pelvis(dicom):
    return read_image(dicom / "pelvis-phantom" / "CT")


def test_a_rigid_registration_moves_the_origin_as_it_says(dicom):
    found = read_registration(dicom / "objects" / "reg_rigid.dcm")
    assert found.kind == "rigid"
    pull = found.between()
    np.testing.assert_allclose(pull.inverse().map_points([[0.0, 0, 0]]), [[5, -3, 2]], atol=1e-9)
    np.testing.assert_allclose(pull.map_points([[0.0, 0, 0]]), [[-5, 3, -2]], atol=1e-9)


def test_a_deformable_registration_of_zeros_moves_nothing(dicom):
    found = read_registration(dicom / "objects" / "reg_deform.dcm")
    (field,) = found.between().parts
    assert isinstance(field, DisplacementField)
    assert field.geometry.shape == (10, 12, 8)
    np.testing.assert_allclose(field.geometry.spacing_mm, (20, 20, 5))
    np.testing.assert_allclose(field.geometry.origin_mm, (-180, -370, -674))
    assert not field.array.any()


def test_the_series_of_the_registration_is_its_fixed_one(dicom, pelvis):
    found = read_registration(dicom / "objects" / "reg_rigid.dcm")
    assert pelvis.series is not None
    assert found.frame_of_reference_uid == pelvis.series.frame_of_reference_uid
    np.testing.assert_allclose(found.between(fixed=pelvis.series).map_points([[0.0, 0, 0]]), [[-5, 3, -2]], atol=1e-9)


def test_a_deformable_registration_of_a_large_series(pelvis, tmp_path, assert_valid_dicom):
    """A smooth field of 8 mm on a working grid of 3 mm: the size of the object, its error and the seconds."""
    grid = pelvis.volume.geometry
    work = grid.with_spacing((3.0, 3.0, 3.0))
    nodes = work.index_to_world(np.moveaxis(np.indices(work.shape), 0, -1).reshape(-1, 3)).reshape((*work.shape, 3))
    values = 8 * np.sin(2 * np.pi * nodes / 90).astype(np.float32)
    transform = Transform((DisplacementField(values, work), AffineTransform.identity()))
    start = time.perf_counter()
    found = subsample(transform, grid)
    write_deformable(found.field, pelvis.series, pelvis.series, tmp_path / "d.dcm")
    seconds = time.perf_counter() - start
    size = (tmp_path / "d.dcm").stat().st_size / 1e6
    spacing = " x ".join(f"{s:.2f}" for s in found.field.geometry.spacing_mm)
    _say(f"\n{grid.shape}: grid of {spacing} mm, {size:.0f} MB, error {found.max_error_mm:.3f} mm, {seconds:.1f} s")
    assert found.max_error_mm <= 0.1
    assert_valid_dicom(tmp_path / "d.dcm")


def test_a_shift_of_a_large_series_is_a_small_object(pelvis, tmp_path, assert_valid_dicom):
    shift = AffineTransform.about(np.eye(3), np.zeros(3), np.array([-7.0, 3, -5]))
    found = subsample(Transform((shift,)), pelvis.volume.geometry)
    np.testing.assert_allclose(found.field.geometry.spacing_mm, (3, 3, 4), atol=0.1)
    write_rigid(shift, pelvis.series, pelvis.series, tmp_path / "r.dcm")
    assert_valid_dicom(tmp_path / "r.dcm")


def test_real_doses(dicom, pelvis, tmp_path, assert_valid_dicom):
    for n, file in enumerate(sorted((dicom / "pelvis-phantom" / "RD").iterdir())):
        dose = read_dose(file)
        assert dose.units == "GY"
        assert dose.volume.geometry.shape == (113, 76, 111)
        moved = warp_dose(dose.volume, pelvis.volume.geometry, Transform.identity())
        assert write_dose(moved.volume, dose, pelvis.series, tmp_path / f"{n}.dcm") == ()
        assert_valid_dicom(tmp_path / f"{n}.dcm")
        again = read_dose(tmp_path / f"{n}.dcm").volume
        before, after = (float(v.array.sum() * v.geometry.voxel_volume_mm3) for v in (dose.volume, again))
        _say(f"\nhighest {dose.volume.array.max():.2f} -> {again.array.max():.2f} Gy, sum {100 * (after / before - 1):+.2f} %")
        assert after == pytest.approx(before, rel=0.01)


def test_a_segmentation_of_a_large_series(dicom, pelvis, tmp_path, assert_valid_dicom):
    (file,) = (dicom / "pelvis-phantom" / "RS").iterdir()
    grid: Geometry = pelvis.volume.geometry
    masks = masks_of_structures(read_contours(file, reference=pelvis), grid)
    start = time.perf_counter()
    write_segmentation(masks, pelvis.series, grid, tmp_path / "seg.dcm")
    written = time.perf_counter()
    found, _ = read_segmentation(tmp_path / "seg.dcm")
    read = time.perf_counter()
    size = (tmp_path / "seg.dcm").stat().st_size / 1e6
    _say(f"\n{len(masks.masks)} regions: written in {written - start:.1f} s, read in {read - written:.1f} s, {size:.1f} MB")
    assert_valid_dicom(tmp_path / "seg.dcm")
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    for n, (number, mask) in enumerate(masks.masks.items()):
        assert found.masks[n + 1].sum() == mask.sum()
        volume = seg.get_volume(segment_numbers=[n + 1])
        middle = np.argwhere(volume.array[..., 0]).mean(axis=0) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        np.testing.assert_allclose(middle, grid.index_to_world(np.argwhere(mask).mean(axis=0)[None])[0], atol=1e-3)
        assert seg.get_segment_description(n + 1).segment_label == masks.name(number)
