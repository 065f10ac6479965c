"""Transform: the order of a chain, the way to ITK and back."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from jrscli.errors import GeometryError
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform, from_itk, to_itk


def _turn(angle: float, shift: tuple[float, float, float]) -> AffineTransform:
    euler = sitk.Euler3DTransform((-30.0, 10.0, 150.0), angle, -angle / 2, angle / 3, shift)
    return AffineTransform.about(np.array(euler.GetMatrix()).reshape(3, 3), np.array(euler.GetCenter()), np.array(shift))


@pytest.fixture(scope="module")
def field(oblique: Geometry) -> DisplacementField:
    noise = np.random.default_rng(6).normal(size=(*oblique.shape, 3))
    return DisplacementField(12 * gaussian_filter(noise, (1.5, 1.5, 1.5, 0)), oblique)


@pytest.fixture(scope="module")
def points(oblique: Geometry) -> np.ndarray:
    return oblique.index_to_world(np.random.default_rng(7).uniform(1, 8, (50, 3)))


def test_a_point_goes_through_the_first_part_first(field, points):
    turn = _turn(0.2, (1.0, -2.0, 0.5))
    assert np.allclose(Transform((turn, field)).map_points(points), field.map_points(turn.map_points(points)))
    assert np.allclose(Transform((field, turn)).map_points(points), turn.map_points(field.map_points(points)))
    assert np.abs(Transform((turn, field)).map_points(points) - Transform((field, turn)).map_points(points)).max() > 0.1


def test_the_itk_composite_sends_points_to_the_same_places(field, points):
    chain = Transform((_turn(0.1, (2.0, 0.0, 1.0)), field, _turn(-0.15, (0.0, 3.0, 0.0))))
    itk = to_itk(chain)
    assert np.allclose(chain.map_points(points), [itk.TransformPoint(p) for p in points.tolist()], atol=1e-6)


def test_from_itk_undoes_to_itk(field, points):
    chain = Transform((field, _turn(0.1, (2.0, 0.0, 1.0))))
    back = from_itk(to_itk(chain))
    assert [type(part) for part in back.parts] == [DisplacementField, AffineTransform]
    assert back.parts[0].geometry.matches(field.geometry)
    assert np.allclose(back.map_points(points), chain.map_points(points), atol=1e-4)


def test_then_puts_the_other_transform_behind(field, points):
    first, second = Transform((field,)), Transform((_turn(0.2, (0.0, 0.0, 5.0)),))
    assert np.allclose(first.then(second).map_points(points), second.map_points(first.map_points(points)))


def test_a_composite_in_a_composite_keeps_its_order(points):
    inner = sitk.CompositeTransform(
        [sitk.TranslationTransform(3, (5.0, 0.0, 0.0)), sitk.Euler3DTransform((0, 0, 0), 0, 0, 0.5)]
    )
    outer = sitk.CompositeTransform([sitk.ScaleTransform(3, (2.0, 1.0, 1.0)), inner])
    assert np.allclose(from_itk(outer).map_points(points), [outer.TransformPoint(p) for p in points.tolist()], atol=1e-6)


@pytest.mark.parametrize(
    "itk",
    [
        sitk.Transform(3, sitk.sitkIdentity),
        sitk.TranslationTransform(3, (1.0, -2.0, 3.0)),
        sitk.Euler3DTransform((5.0, 6.0, 7.0), 0.1, 0.2, -0.3, (1.0, 2.0, 3.0)),
        sitk.VersorRigid3DTransform((0.0, 0.0, 1.0), 0.4, (1.0, 2.0, 3.0)),
        sitk.Similarity3DTransform(1.2, (1.0, 0.0, 0.0), 0.3, (0.0, 1.0, 2.0), (9.0, 8.0, 7.0)),
        sitk.CompositeTransform(3),
    ],
    ids=lambda itk: itk.GetName(),
)
def test_every_linear_kind_of_itk_is_read(itk, points):
    read = from_itk(itk)
    assert read.is_linear
    assert np.allclose(read.as_affine().map_points(points), [itk.TransformPoint(p) for p in points.tolist()], atol=1e-9)


def test_a_b_spline_is_read_as_a_field(oblique):
    # an image larger than the points, so that none lies where the spline ends
    domain = sitk.Image([n + 8 for n in oblique.shape], sitk.sitkUInt8)
    domain.SetSpacing(oblique.spacing_mm)
    domain.SetOrigin(oblique.index_to_world(np.array([[-4.0, -4.0, -4.0]]))[0].tolist())
    domain.SetDirection(oblique.axes.ravel().tolist())
    spline = sitk.BSplineTransformInitializer(domain, [3, 3, 3])
    spline.SetParameters(np.random.default_rng(8).uniform(-15, 15, len(spline.GetParameters())).tolist())
    read = from_itk(spline)
    points = oblique.index_to_world(np.random.default_rng(9).uniform(0, 9, (100, 3)))
    expected = np.array([spline.TransformPoint(p) for p in points.tolist()])
    assert np.abs(read.map_points(points) - expected).max() < 0.1
    assert np.abs(expected - points).max() > 3.0


def test_a_whole_chain_as_one_field(field, points):
    chain = Transform((_turn(0.1, (2.0, 0.0, 1.0)), field))
    one = chain.displacement(field.geometry)
    nodes = field.geometry.index_to_world(np.indices(field.geometry.shape).reshape(3, -1).T)
    assert np.abs(one.map_points(nodes) - chain.map_points(nodes)).max() < 1e-4


def test_a_linear_chain_is_one_matrix(points):
    chain = Transform((_turn(0.2, (1.0, 0.0, 0.0)), _turn(-0.1, (0.0, 2.0, 0.0))))
    assert chain.is_linear
    assert np.allclose(chain.as_affine().map_points(points), chain.map_points(points))


def test_a_chain_with_a_field_is_not_one_matrix(field):
    chain = Transform((field,))
    assert not chain.is_linear
    with pytest.raises(GeometryError) as caught:
        chain.as_affine()
    assert caught.value.code == "transform.not_linear"


def test_other_kinds_are_refused():
    with pytest.raises(GeometryError) as caught:
        from_itk(sitk.Euler2DTransform())
    assert caught.value.code == "transform.kind"


def test_the_identity_moves_nothing(points):
    assert np.array_equal(Transform.identity().map_points(points), points)
