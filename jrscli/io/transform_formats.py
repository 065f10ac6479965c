"""Which format of a transform file a name asks for."""

from __future__ import annotations

from pathlib import Path

from jrscli.errors import GeometryError
from jrscli.io.ants import AFFINE, write_ants
from jrscli.io.elastix import write_elastix
from jrscli.io.sidecar import Sidecar
from jrscli.io.transforms import FIELD_ENDINGS, as_field, write_field, write_transform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform

ELASTIX = "TransformParameters"


def write_as_named(transform: Transform, path: Path, grid: Geometry | None = None, sidecar: Sidecar | None = None) -> None:
    """Write a transform in the format of its name: ITK, field image, the pair of ANTs, or elastix.

    NAME0GenericAffine.mat is the pair of ANTs, with NAME1Warp.nii.gz beside it for a deformable transform;
    TransformParameters….txt is elastix; .nii.gz, .nrrd and .mha are fields (ITK, ANTs and plastimatch read them); .h5, .tfm,
    .txt and .mat are ITK's.
    grid: that of the fixed image, which fields and elastix need.

    Raises GeometryError `transform.not_field`, `transform.not_linear`; UsageError `output.format`; WriteError
    `output.unwritable`.
    """
    if path.name.endswith(AFFINE):
        write_ants(transform, path, grid)
    elif path.name.startswith(ELASTIX) and path.suffix.lower() == ".txt":
        affine = transform.as_affine()
        if grid is None:
            raise GeometryError(
                "a parameter file of elastix names the grid of the fixed image",
                code="transform.not_field",
                hint="give the grid: --reference IMAGE",
            )
        write_elastix(affine, grid, path)
    elif path.name.lower().endswith(FIELD_ENDINGS):
        write_field(as_field(transform) if grid is None else transform.displacement(grid), path)
    else:
        write_transform(transform, path, sidecar)
