"""NIfTI agrees with SimpleITK on where voxels are, and keeps values and types."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.errors import GeometryError, InputError
from jrscli.io.nifti import read_nifti, write_nifti
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.itk import geometry_from_image
from jrscli.spatial.volume import LabelMap, Volume


def _volume(geometry: Geometry, dtype: type = np.int16) -> Volume:
    count = int(np.prod(geometry.shape))
    return Volume(np.arange(count).reshape(geometry.shape).astype(dtype), geometry)


def test_written_files_lie_where_itk_says(geometry: Geometry, tmp_path: Path) -> None:
    write_nifti(_volume(geometry), tmp_path / "a.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_allclose(geometry_from_image(image).corners_mm, geometry.corners_mm, atol=2e-4)
    assert image.GetPixel(1, 2, 3) == _volume(geometry).array[1, 2, 3]


def test_files_of_itk_are_read_at_their_place(geometry: Geometry, tmp_path: Path) -> None:
    from jrscli.spatial.itk import image_from_volume

    sitk.WriteImage(image_from_volume(_volume(geometry)), str(tmp_path / "a.nii"))
    found, notices = read_nifti(tmp_path / "a.nii")
    assert found.geometry.matches(geometry)
    np.testing.assert_array_equal(found.array, _volume(geometry).array)
    assert notices == ()


def test_round_trip(geometry: Geometry, tmp_path: Path) -> None:
    write_nifti(_volume(geometry, np.float32), tmp_path / "a.nii.gz")
    found, _ = read_nifti(tmp_path / "a.nii.gz")
    assert found.geometry.matches(geometry)
    assert found.array.dtype == np.float32


@pytest.mark.parametrize(("q_code", "s_code"), [(1, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (1, 4), (4, 1)])
def test_the_orientation_that_itk_takes_is_taken(q_code: int, s_code: int, oblique: Geometry, tmp_path: Path) -> None:
    qform = np.diag((-1.0, -1.0, 1.0, 1.0)) @ oblique.affine
    sform = qform.copy()
    sform[:3, 3] += (5, -4, 3)
    image = nib.Nifti1Image(np.zeros(oblique.shape, np.int16), None)
    image.set_qform(qform, q_code)
    image.set_sform(sform, s_code)
    nib.save(image, tmp_path / "a.nii")
    found, notices = read_nifti(tmp_path / "a.nii")
    itk = geometry_from_image(sitk.ReadImage(str(tmp_path / "a.nii")))
    np.testing.assert_allclose(found.geometry.corners_mm, itk.corners_mm, atol=1e-3)
    assert [notice.code for notice in notices] == (["image.forms"] if q_code and s_code else [])


def test_without_an_orientation_axes_are_lps_as_in_itk(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), None)
    image.header["pixdim"][1:4] = (1, 2, 3)
    nib.save(image, tmp_path / "a.nii")
    found, notices = read_nifti(tmp_path / "a.nii")
    assert found.geometry.matches(geometry_from_image(sitk.ReadImage(str(tmp_path / "a.nii"))))
    assert [notice.code for notice in notices] == ["image.no_form"]


def test_metres_become_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag((0.001, 0.002, 0.003, 1.0)))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    found, _ = read_nifti(tmp_path / "a.nii")
    assert found.geometry.spacing_mm == pytest.approx((1, 2, 3))


def test_a_sheared_grid_is_refused(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.5
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), None)
    image.set_sform(affine, 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(GeometryError) as caught:
        read_nifti(tmp_path / "a.nii")
    assert caught.value.code == "geometry.shear"


def test_scaling_is_applied_and_integers_without_it_stay(tmp_path: Path) -> None:
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    plain = nib.Nifti1Image(stored, np.eye(4))
    nib.save(plain, tmp_path / "plain.nii")
    header = nib.load(tmp_path / "plain.nii").header.copy()
    raw = bytearray((tmp_path / "plain.nii").read_bytes())
    raw[112:116], raw[116:120] = np.float32(2.0).tobytes(), np.float32(-1000.0).tobytes()
    (tmp_path / "scaled.nii").write_bytes(raw)
    assert header.get_data_dtype() == np.int16
    assert read_nifti(tmp_path / "plain.nii")[0].array.dtype == np.int16
    np.testing.assert_array_equal(read_nifti(tmp_path / "scaled.nii")[0].array, stored * 2.0 - 1000)


@pytest.mark.parametrize(("highest", "dtype"), [(255, np.uint8), (256, np.uint16), (65536, np.uint32), (2**24 + 1, np.uint32)])
def test_labels_keep_their_numbers_in_the_smallest_type(highest: int, dtype: type, tmp_path: Path) -> None:
    array = np.zeros((3, 3, 3), np.uint32)
    array[1, 1, 1] = highest
    write_nifti(LabelMap(array, Geometry((3, 3, 3), np.eye(4))), tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == dtype
    assert read_nifti(tmp_path / "a.nii.gz")[0].array.max() == highest


def test_an_image_of_one_slice_and_a_single_frame_are_volumes(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 5), np.int16), np.eye(4)), tmp_path / "flat.nii")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 1), np.int16), np.eye(4)), tmp_path / "frame.nii")
    assert read_nifti(tmp_path / "flat.nii")[0].array.shape == (4, 5, 1)
    assert read_nifti(tmp_path / "frame.nii")[0].array.shape == (4, 5, 6)


@pytest.mark.parametrize(("shape", "code"), [((4, 5, 6, 2), "image.4d"), ((4, 5, 6, 1, 3), "image.vector")])
def test_more_than_one_value_per_voxel_is_refused(shape: tuple[int, ...], code: str, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(InputError) as caught:
        read_nifti(tmp_path / "a.nii.gz")
    assert caught.value.code == code


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("packed", [True, False])
def test_cut_files_are_refused(kept: float, packed: bool, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 3000, (20, 20, 20)).astype(np.int16)
    nib.save(nib.Nifti1Image(noise, np.eye(4)), tmp_path / "a.nii")
    data = (tmp_path / "a.nii").read_bytes()
    data = gzip.compress(data) if packed else data
    path = tmp_path / ("b.nii.gz" if packed else "b.nii")
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError) as caught:
        read_nifti(path)
    assert caught.value.code == "image.unreadable"


def test_equal_volumes_make_equal_files(oblique: Geometry, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_nifti(_volume(oblique), tmp_path / name / "x.nii.gz")
    assert (tmp_path / "a" / "x.nii.gz").read_bytes() == (tmp_path / "b" / "x.nii.gz").read_bytes()
