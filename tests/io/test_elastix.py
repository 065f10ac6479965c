"""Parameter files of elastix, as text and as ITK understands what they say."""

from __future__ import annotations

import re

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.errors import GeometryError, InputError
from jrscli.io.elastix import is_elastix, read_elastix, write_elastix
from jrscli.io.transforms import read_transform
from jrscli.spatial.affine import AffineTransform

POINTS = np.random.default_rng(0).uniform(-100, 100, (20, 3))
EULER = """(Transform "EulerTransform")
(NumberOfParameters 6)
(TransformParameters 0.1 -0.2 0.3 7 -3 5)
(InitialTransformParametersFileName "{initial}")
(HowToCombineTransforms "Compose")
(FixedImageDimension 3)
(CenterOfRotationPoint 10 20 30)
(ComputeZYX "{zyx}")
// a comment
"""


def euler(zyx: bool) -> np.ndarray:
    itk = sitk.Euler3DTransform()
    itk.SetCenter((10, 20, 30))
    itk.SetComputeZYX(zyx)
    itk.SetParameters((0.1, -0.2, 0.3, 7, -3, 5))
    return np.array([itk.TransformPoint(point) for point in POINTS.tolist()])


def test_what_is_written_is_read(oblique, tmp_path):
    affine = AffineTransform(np.array([[0.9, -0.3, 0.05, 7], [0.28, 0.95, -0.1, -3], [0, 0.12, 1.05, 5], [0, 0, 0, 1]]))
    write_elastix(affine, oblique, tmp_path / "a.txt")
    assert is_elastix(tmp_path / "a.txt")
    np.testing.assert_allclose(read_transform(tmp_path / "a.txt").as_affine().matrix, affine.matrix, atol=1e-12)


def test_the_grid_is_listed_as_elastix_does(oblique, tmp_path):
    write_elastix(AffineTransform.identity(), oblique, tmp_path / "a.txt")
    found = dict(re.findall(r"^\((\w+) (.*)\)$", (tmp_path / "a.txt").read_text(), re.MULTILINE))
    direction = np.array(found["Direction"].split(), float).reshape(3, 3)
    np.testing.assert_allclose(direction[0], oblique.axes[:, 0])
    assert tuple(map(int, found["Size"].split())) == oblique.shape


@pytest.mark.parametrize("zyx", [False, True])
def test_rotations_by_angles(zyx, tmp_path):
    (tmp_path / "a.txt").write_text(EULER.format(initial="NoInitialTransform", zyx=str(zyx).lower()))
    np.testing.assert_allclose(read_elastix(tmp_path / "a.txt").map_points(POINTS), euler(zyx), atol=1e-9)


def test_the_start_is_found_beside_and_goes_first(tmp_path):
    (tmp_path / "start.txt").write_text('(Transform "TranslationTransform")\n(TransformParameters 1 2 3)\n')
    (tmp_path / "a.txt").write_text(EULER.format(initial="/elsewhere/../start.txt", zyx="false"))
    start = sitk.TranslationTransform(3, (1, 2, 3))
    itk = sitk.Euler3DTransform()
    itk.SetCenter((10, 20, 30))
    itk.SetParameters((0.1, -0.2, 0.3, 7, -3, 5))
    expected = [itk.TransformPoint(start.TransformPoint(point)) for point in POINTS.tolist()]
    np.testing.assert_allclose(read_elastix(tmp_path / "a.txt").map_points(POINTS), expected, atol=1e-9)


def test_a_chain_without_end_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text(EULER.format(initial="a.txt", zyx="false"))
    with pytest.raises(InputError) as caught:
        read_elastix(tmp_path / "a.txt")
    assert caught.value.code == "xfm.unreadable"


@pytest.mark.parametrize(
    ("text", "error", "code"),
    [
        ('(Transform "BSplineTransform")\n(TransformParameters 0 0)\n', GeometryError, "transform.kind"),
        ('(Transform "AffineTransform")\n(TransformParameters 0 0)\n', InputError, "xfm.unreadable"),
        ('(Transform "AffineTransform")\n', InputError, "xfm.unreadable"),
        (
            '(Transform "TranslationTransform")\n(TransformParameters 1 2)\n(FixedImageDimension 2)',
            GeometryError,
            "transform.kind",
        ),
    ],
)
def test_what_is_not_linear_or_broken_is_refused(text, error, code, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(error) as caught:
        read_elastix(tmp_path / "a.txt")
    assert caught.value.code == code
