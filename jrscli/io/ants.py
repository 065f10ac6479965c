"""The pair of files that ANTs writes: NAME0GenericAffine.mat and NAME1Warp.nii.gz; points go through the field first."""

from __future__ import annotations

from pathlib import Path

from jrscli.errors import GeometryError
from jrscli.io.transforms import write_field, write_transform
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform

AFFINE, WARP = "0GenericAffine.mat", "1Warp.nii.gz"


def warp_beside(affine: Path) -> Path:
    """The name of the field that belongs to ``NAME0GenericAffine.mat``."""
    return affine.with_name(affine.name.removesuffix(AFFINE) + WARP)


def write_ants(transform: Transform, path: Path, grid: Geometry | None = None) -> tuple[Path, ...]:
    """The files written: ``path`` (NAME0GenericAffine.mat) and, for a deformable transform, NAME1Warp.nii.gz beside it.

    Use them as ``antsApplyTransforms -t NAME1Warp.nii.gz -t NAME0GenericAffine.mat``.
    grid: where to sample a chain that is no field followed by a matrix.

    Raises GeometryError `transform.not_field` where that grid is missing; UsageError, WriteError as `write_transform`.
    """
    if transform.is_linear:
        write_transform(transform, path)
        return (path,)
    field, affine = _pair(transform, grid)
    write_transform(Transform((affine,)), path)
    write_field(field, warp_beside(path))
    return path, warp_beside(path)


def _pair(transform: Transform, grid: Geometry | None) -> tuple[DisplacementField, AffineTransform]:
    field, *rest = transform.parts
    if isinstance(field, DisplacementField) and Transform(tuple(rest)).is_linear:
        return field, Transform(tuple(rest)).as_affine()
    if grid is None:
        raise GeometryError(
            "the transform is no field with a matrix after it, so the grid to write it on is open",
            code="transform.not_field",
            hint="give the grid: --reference IMAGE",
        )
    return transform.displacement(grid), AffineTransform.identity()
