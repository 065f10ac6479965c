"""The pair of ANTs: the field first, then the matrix, and a grid of its own where a chain is longer."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.errors import GeometryError
from jrscli.io.ants import AFFINE, write_ants
from jrscli.io.transforms import read_transform
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.transform import Transform

TURN = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])


def field_on(geometry):
    values = np.random.default_rng(0).normal(0, 2, (*geometry.shape, 3))
    return DisplacementField(values.astype(np.float32), geometry)


def affine_on(geometry):
    return AffineTransform.about(TURN, geometry.centre_mm, np.array([7.0, -3, 5]))


def inside(geometry):
    return geometry.index_to_world(np.random.default_rng(1).uniform(0.5, np.array(geometry.shape) - 1.5, (40, 3)))


def by_itk(points, folder):
    """What ITK makes of the pair in the order of antsApplyTransforms -t 1Warp -t 0GenericAffine: field first."""
    image = sitk.ReadImage(str(folder / "x1Warp.nii.gz"), sitk.sitkVectorFloat64)
    affine = sitk.ReadTransform(str(folder / f"x{AFFINE}"))
    field = sitk.DisplacementFieldTransform(image)
    return np.array([affine.TransformPoint(field.TransformPoint(point)) for point in points.tolist()])


def test_a_field_and_a_matrix_become_the_pair(geometry, tmp_path):
    transform = Transform((field_on(geometry), affine_on(geometry)))
    written = write_ants(transform, tmp_path / f"x{AFFINE}")
    assert [path.name for path in written] == ["x0GenericAffine.mat", "x1Warp.nii.gz"]
    points = inside(geometry)
    np.testing.assert_allclose(by_itk(points, tmp_path), transform.map_points(points), atol=2e-3)
    warp, affine = (read_transform(tmp_path / name) for name in ("x1Warp.nii.gz", "x0GenericAffine.mat"))
    np.testing.assert_allclose(warp.then(affine).map_points(points), transform.map_points(points), atol=2e-3)


def test_other_chains_need_a_grid(oblique, tmp_path):
    shift = AffineTransform.about(np.eye(3), np.zeros(3), np.array([0.5, -0.3, 0.4]))
    transform = Transform((shift, field_on(oblique)))
    with pytest.raises(GeometryError) as caught:
        write_ants(transform, tmp_path / f"x{AFFINE}")
    assert caught.value.code == "transform.not_field"
    write_ants(transform, tmp_path / f"x{AFFINE}", oblique)
    nodes = oblique.index_to_world(np.argwhere(np.ones(oblique.shape))[200:400])
    np.testing.assert_allclose(by_itk(nodes, tmp_path), transform.map_points(nodes), atol=2e-3)


def test_a_linear_transform_is_the_matrix_alone(oblique, tmp_path):
    assert write_ants(Transform((affine_on(oblique),)), tmp_path / f"x{AFFINE}") == (tmp_path / f"x{AFFINE}",)
    assert not (tmp_path / "x1Warp.nii.gz").exists()
