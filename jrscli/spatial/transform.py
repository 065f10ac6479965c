"""Transform: affines and fields applied one after the other, fixed mm -> moving mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float

from jrscli.errors import GeometryError
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.itk import array_from_image, geometry_from_image, image_from_array, set_geometry

Part = AffineTransform | DisplacementField


@dataclass(frozen=True)
class Transform:
    """A chain of parts; a point goes through ``parts[0]`` first.

    As the answer of a registration it maps fixed points to moving points (pull), so it is what resamples the moving image.
    """

    parts: tuple[Part, ...]

    @staticmethod
    def identity() -> Transform:
        """The chain that leaves every point where it is."""
        return Transform((AffineTransform.identity(),))

    @property
    def is_linear(self) -> bool:
        """Whether every part is an affine map."""
        return all(isinstance(part, AffineTransform) for part in self.parts)

    def as_affine(self) -> AffineTransform:
        """The one affine map of a linear chain.

        Raises GeometryError `transform.not_linear`.
        """
        total = AffineTransform.identity()
        for part in self.parts:
            if not isinstance(part, AffineTransform):
                raise GeometryError(
                    "the transform is deformable, not one matrix",
                    code="transform.not_linear",
                    hint="write it as a field or as an ITK composite",
                )
            total = total.then(part)
        return total

    def map_points(self, points_mm: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Where points go, LPS mm."""
        points = np.asarray(points_mm, dtype=np.float64)
        for part in self.parts:
            points = part.map_points(points)
        return points

    def then(self, after: Transform) -> Transform:
        """This transform first, ``after`` second."""
        return Transform((*self.parts, *after.parts))

    def inverse(self) -> Transform:
        """The way back: matrices exactly, fields by fixed-point iteration (see `DisplacementField.inverse`)."""
        parts: list[Part] = [part.inverse() for part in reversed(self.parts)]
        return Transform(tuple(parts))

    def displacement(self, geometry: Geometry) -> DisplacementField:
        """The whole chain as one field (float32) on ``geometry``."""
        field = sitk.TransformToDisplacementField(
            to_itk(self),
            sitk.sitkVectorFloat32,
            geometry.shape,
            geometry.origin_mm.tolist(),
            geometry.spacing_mm,
            geometry.axes.ravel().tolist(),
        )
        return DisplacementField(array_from_image(field), geometry)


def to_itk(transform: Transform) -> sitk.Transform:
    """The ITK composite; ITK applies the transform added last first, so the parts are added in reverse."""
    composite = sitk.CompositeTransform(3)
    for part in reversed(transform.parts):
        if isinstance(part, AffineTransform):
            affine = sitk.AffineTransform(3)
            affine.SetMatrix(part.matrix[:3, :3].ravel().tolist())
            affine.SetTranslation(part.matrix[:3, 3].tolist())
            composite.AddTransform(affine)
        else:
            image = image_from_array(part.array.astype(np.float64), part.geometry)
            composite.AddTransform(sitk.DisplacementFieldTransform(image))
    return composite


def from_itk(transform: sitk.Transform) -> Transform:
    """The chain of an ITK linear, displacement-field, B-spline or composite transform of three dimensions.

    Raises GeometryError `transform.kind` for other kinds.
    """
    transform = transform.Downcast()
    if transform.GetDimension() != 3:
        raise GeometryError("the transform is not three-dimensional", code="transform.kind", hint="give a 3-D transform")
    if isinstance(transform, sitk.CompositeTransform):
        count = transform.GetNumberOfTransforms()
        parts: list[Part] = []
        for n in reversed(range(count)):
            parts.extend(from_itk(transform.GetNthTransform(n)).parts)
        return Transform(tuple(parts)) if parts else Transform.identity()
    if isinstance(transform, sitk.DisplacementFieldTransform):
        image = transform.GetDisplacementField()
        return Transform((DisplacementField(array_from_image(image).astype(np.float32), geometry_from_image(image)),))
    if transform.IsLinear():
        return Transform((_affine_of(transform),))
    if isinstance(transform, sitk.BSplineTransform):
        return Transform((_field_of_spline(transform),))
    raise GeometryError(
        f"transforms of the kind {transform.GetName()} are not supported",
        code="transform.kind",
        hint="convert it to an affine, a displacement field or a composite of them",
    )


def _affine_of(transform: sitk.Transform) -> AffineTransform:
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(tuple(row))) - origin for row in np.eye(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(columns, axis=1)
    matrix[:3, 3] = origin
    return AffineTransform(matrix)


def _field_of_spline(transform: sitk.BSplineTransform) -> DisplacementField:
    """A B-spline sampled at eight points per control-point distance (linear interpolation errs by less than 1 %)."""
    size = np.array(transform.GetTransformDomainMeshSize()) * 8 + 1
    extent = np.array(transform.GetTransformDomainPhysicalDimensions())
    affine = np.eye(4)
    axes = np.array(transform.GetTransformDomainDirection()).reshape(3, 3)
    affine[:3, :3] = axes * (extent / (size - 1))
    affine[:3, 3] = transform.GetTransformDomainOrigin()
    geometry = Geometry((int(size[0]), int(size[1]), int(size[2])), affine)
    image = sitk.TransformToDisplacementField(
        transform,
        sitk.sitkVectorFloat32,
        geometry.shape,
        geometry.origin_mm.tolist(),
        geometry.spacing_mm,
        geometry.axes.ravel().tolist(),
    )
    set_geometry(image, geometry)
    return DisplacementField(array_from_image(image), geometry)
