"""Transform files read without ITK are what ITK reads from them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.errors import InputError, JrsError
from jrscli.io.itk_transform_file import read_itk_transform

POINTS = np.array([[3.0, -7.0, 11.0], [0.5, 20.0, 4.0], [9.0, 9.0, 9.0]])


def _transforms():
    rigid = sitk.Euler3DTransform((4.0, -3.0, 2.0), 0.1, -0.2, 0.3, (1.0, 2.0, 3.0))
    versor = sitk.VersorRigid3DTransform((1, 0.5, 0.2), 0.4, (3, 2, 1), (7, 8, 9))
    similar = sitk.Similarity3DTransform(1.1, (0, 0, 1), 0.3, (1, 1, 1), (5, 6, 7))
    affine = sitk.AffineTransform((1.1, 0.1, 0, 0, 0.9, 0.2, 0.05, 0, 1.2), (5, -4, 3), (10, 20, 30))
    scaled = sitk.ScaleSkewVersor3DTransform((1.1, 0.9, 1.0), (0.1, 0, 0, 0, 0.05, 0), (0, 1, 0), 0.2, (1, 2, 3), (4, 5, 6))
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.normal(0, 2, (5, 6, 7, 3)), isVector=True)
    image.SetSpacing((2.0, 3.0, 4.0))
    image.SetOrigin((-2.0, -8.0, 1.0))
    image.SetDirection(rigid.GetMatrix())
    field = sitk.DisplacementFieldTransform(sitk.Image(image))
    chain = sitk.CompositeTransform([rigid, field, affine])
    return {
        "euler": rigid,
        "versor": versor,
        "similarity": similar,
        "affine": affine,
        "skew": scaled,
        "translation": sitk.TranslationTransform(3, (1, 2, 3)),
        "scale": sitk.ScaleTransform(3, (1, 2, 3)),
        "field": field,
        "chain": chain,
    }


@pytest.mark.parametrize(
    ("name", "ending"),
    [(name, ending) for name in _transforms() for ending in ("h5", "tfm", "mat") if (name, ending) != ("chain", "mat")],
)
def test_points_go_where_itk_sends_them(tmp_path, name, ending):
    transform = _transforms()[name]
    path = tmp_path / f"t.{ending}"
    sitk.WriteTransform(transform, str(path))
    expected = [sitk.ReadTransform(str(path)).TransformPoint(point) for point in POINTS.tolist()]
    # fields are kept as float32
    assert np.abs(read_itk_transform(path).map_points(POINTS) - expected).max() < 1e-5


def test_a_spline(tmp_path):
    spline = sitk.BSplineTransformInitializer(sitk.Image(30, 30, 30, sitk.sitkUInt8), [3, 3, 3])
    spline.SetParameters(np.random.default_rng(0).normal(0, 1, spline.GetNumberOfParameters()).tolist())
    sitk.WriteTransform(spline, str(tmp_path / "s.h5"))
    expected = [spline.TransformPoint(point) for point in POINTS.tolist()]
    assert np.abs(read_itk_transform(tmp_path / "s.h5").map_points(POINTS) - expected).max() < 0.02


@pytest.mark.parametrize(
    ("kind", "parameters", "fixed", "code"),
    [
        ("AffineTransform_double_3_3", "1 2 3", "0 0 0", "xfm.unreadable"),
        ("AffineTransform_double_3_3", "1 0 0 0 1 0 0 0 1 nan 0 0", "0 0 0", "xfm.unreadable"),
        ("BSplineTransform_double_3_3", "1", "999 999 999 0 0 0 1 1 1 1 0 0 0 1 0 0 0 1", "input.too_big"),
        ("AffineTransform_double_2_2", "1 0 0 1 0 0", "0 0", "transform.kind"),
        ("QuaternionRigidTransform_double_3_3", "0", "0", "transform.kind"),
        ("", "", "", "xfm.unreadable"),
    ],
)
def test_what_makes_no_transform_is_refused(tmp_path, kind, parameters, fixed, code):
    path = tmp_path / "t.tfm"
    path.write_text(f"#Insight Transform File V1.0\nTransform: {kind}\nParameters: {parameters}\nFixedParameters: {fixed}\n")
    with pytest.raises(JrsError) as caught:
        read_itk_transform(path)
    assert caught.value.code == code


def test_a_matrix_that_claims_more_than_its_file(tmp_path):
    path = tmp_path / "t.mat"
    path.write_bytes(struct.pack("<5i", 0, 2**30, 2**30, 0, 4) + b"abc\0" + bytes(80))
    with pytest.raises(InputError) as caught:
        read_itk_transform(path)
    assert caught.value.code == "xfm.unreadable"


def test_the_kind_that_ants_writes(tmp_path):
    lines = ("#Insight Transform File V1.0", "#Transform 0", "Transform: MatrixOffsetTransformBase_double_3_3")
    numbers = ("Parameters: 0.96 -0.28 0 0.28 0.96 0 0 0 1 7 -3 5", "FixedParameters: 10 20 30")
    (tmp_path / "a.tfm").write_text("\n".join((*lines, *numbers)))
    moved = read_itk_transform(tmp_path / "a.tfm").map_points([[10.0, 20.0, 30.0]])
    np.testing.assert_allclose(moved, [[17, 17, 35]])
