"""Transform files: round trips, and agreement with ITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.errors import GeometryError, InputError, UsageError
from jrscli.io.sidecar import Sidecar, read_sidecar
from jrscli.io.transforms import is_field, read_field, read_transform, write_field, write_transform
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform

LINEAR = np.array([[0.9, -0.3, 0.05], [0.28, 0.95, -0.1], [0.0, 0.12, 1.05]])


def _affine() -> AffineTransform:
    return AffineTransform.about(LINEAR, np.array([10.0, -20, 30]), np.array([7.0, -3, 5]))


def _field(geometry: Geometry) -> DisplacementField:
    rng = np.random.default_rng(3)
    return DisplacementField(rng.normal(0, 2, (*geometry.shape, 3)).astype(np.float32), geometry)


def _inside(geometry: Geometry) -> np.ndarray:
    rng = np.random.default_rng(4)
    return geometry.index_to_world(rng.uniform(0.5, np.array(geometry.shape) - 1.5, (50, 3)))


@pytest.mark.parametrize("name", ["a.h5", "a.tfm"])
def test_a_composite_comes_back(name: str, geometry: Geometry, tmp_path: Path) -> None:
    transform = Transform((_field(geometry), _affine()))
    write_transform(transform, tmp_path / name)
    points = _inside(geometry)
    np.testing.assert_allclose(read_transform(tmp_path / name).map_points(points), transform.map_points(points), atol=1e-4)


def test_itk_reads_the_composite_in_the_same_order(oblique: Geometry, tmp_path: Path) -> None:
    transform = Transform((_field(oblique), _affine()))
    write_transform(transform, tmp_path / "a.h5")
    itk = sitk.ReadTransform(str(tmp_path / "a.h5"))
    points = _inside(oblique)
    there = np.array([itk.TransformPoint(tuple(point)) for point in points])
    np.testing.assert_allclose(there, transform.map_points(points), atol=1e-4)
    # the other order is far away, so the test would notice
    swapped = Transform((_affine(), _field(oblique)))
    assert np.abs(swapped.map_points(points) - there).max() > 0.5


def test_a_matrix_file_holds_linear_transforms_only(oblique: Geometry, tmp_path: Path) -> None:
    write_transform(Transform((_affine(), _affine())), tmp_path / "a.mat")
    np.testing.assert_allclose(
        read_transform(tmp_path / "a.mat").as_affine().matrix, _affine().then(_affine()).matrix, atol=1e-9
    )
    with pytest.raises(GeometryError) as caught:
        write_transform(Transform((_field(oblique),)), tmp_path / "b.mat")
    assert caught.value.code == "transform.not_linear"


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_fields_come_back(name: str, geometry: Geometry, tmp_path: Path) -> None:
    field = _field(geometry)
    write_field(field, tmp_path / name)
    assert is_field(tmp_path / name)
    found = read_field(tmp_path / name)
    np.testing.assert_allclose(found.geometry.corners_mm, geometry.corners_mm, atol=2e-4)
    np.testing.assert_array_equal(found.array, field.array)


def test_a_nifti_field_has_lps_components_and_the_intent_that_itk_writes(oblique: Geometry, tmp_path: Path) -> None:
    import nibabel as nib

    write_field(_field(oblique), tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.shape == (*oblique.shape, 1, 3)
    assert int(image.header["intent_code"]) == 1007
    np.testing.assert_allclose(np.asarray(image.dataobj)[:, :, :, 0], _field(oblique).array, atol=1e-6)


def test_the_sidecar_says_what_moves_where(oblique: Geometry, tmp_path: Path) -> None:
    moving = oblique.with_spacing((2.0, 2.0, 2.0))
    facts = {"inverse_consistency_p95_mm": 0.21}
    written = Sidecar("moving_to_fixed", oblique, moving, fixed_has_frame=True, inverse="b.h5", facts=facts)
    write_transform(Transform((_affine(),)), tmp_path / "a.h5", written)
    found = read_sidecar(tmp_path / "a.h5")
    assert found is not None
    assert (found.direction, found.inverse, dict(found.facts)) == ("moving_to_fixed", "b.h5", facts)
    assert found.target.matches(oblique)
    assert found.source.matches(moving)
    document = found.document()
    assert document["images"] == "moving -> fixed"
    assert document["points"] == "fixed -> moving"
    assert document["fixed"]["geometry_sha256"] == oblique.sha256
    assert document["fixed"]["frame_of_reference"] == "present"


def test_no_sidecar_is_none_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    write_transform(Transform((_affine(),)), tmp_path / "a.h5")
    assert read_sidecar(tmp_path / "a.h5") is None
    (tmp_path / "a.json").write_text('{"images": "left -> right"}')
    with pytest.raises(InputError) as caught:
        read_sidecar(tmp_path / "a.h5")
    assert caught.value.code == "xfm.sidecar"


def test_what_is_no_transform_is_refused(oblique: Geometry, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)
    (tmp_path / "b.h5").write_text("hello")
    for name in ("a.h5", "b.h5"):
        with pytest.raises(InputError) as caught:
            read_transform(tmp_path / name)
        assert caught.value.code == "xfm.unreadable"
    with pytest.raises(UsageError):
        write_field(_field(oblique), tmp_path / "a.png")
    with pytest.raises(UsageError):
        write_transform(Transform.identity(), tmp_path / "a.png")


def test_an_image_is_no_field(oblique: Geometry, tmp_path: Path) -> None:
    from jrscli.io import write_image
    from jrscli.spatial.volume import Volume

    write_image(Volume(np.zeros(oblique.shape, np.int16), oblique), tmp_path / "a.nii.gz")
    assert not is_field(tmp_path / "a.nii.gz")
    with pytest.raises(InputError) as caught:
        read_transform(tmp_path / "a.nii.gz")
    assert caught.value.code == "field.components"


def test_a_field_in_nifti_is_what_itk_reads_from_it(oblique: Geometry, tmp_path: Path) -> None:
    """It is read without ITK, whose NIfTI reader some damaged files bring down."""
    write_field(_field(oblique), tmp_path / "a.nii.gz")
    found, image = read_field(tmp_path / "a.nii.gz"), sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert np.array_equal(found.array, sitk.GetArrayFromImage(image).transpose(2, 1, 0, 3))
    assert np.abs(found.geometry.origin_mm - image.GetOrigin()).max() < 1e-4
    assert np.abs(found.geometry.axes.ravel() - image.GetDirection()).max() < 1e-5
