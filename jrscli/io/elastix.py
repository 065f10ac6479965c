"""The parameter files of elastix (TransformParameters.0.txt): linear transforms, fixed mm -> moving mm as ours are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from jrscli.errors import GeometryError, InputError, JrsError, WriteError
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform, from_itk

MAX_BYTES = 1_000_000
MAX_CHAIN = 8
_LINE = re.compile(r"^\s*\(\s*(\w+)\s+(.*?)\s*\)")
_NONE = "NoInitialTransform"


def is_elastix(path: Path) -> bool:
    """Whether a file is a parameter file of elastix, by its first bytes."""
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"(Transform ")


def read_elastix(path: Path) -> Transform:
    """The linear transform of a parameter file, with the ones that it starts from, in the same folder.

    Raises InputError `xfm.unreadable`, GeometryError `transform.kind`.
    """
    try:
        return _read(path, MAX_CHAIN)
    except JrsError:
        raise
    except Exception as error:
        # text by hand fails in as many ways as it has letters
        raise InputError(
            f"{path.name} cannot be read: it is cut off, damaged, or no parameter file of elastix",
            code="xfm.unreadable",
            hint="give the TransformParameters file that elastix wrote",
        ) from error


def write_elastix(affine: AffineTransform, grid: Geometry, path: Path) -> None:
    """Write a parameter file that transformix takes.

    grid: that of the fixed image, which transformix resamples onto.

    Raises WriteError `output.unwritable`.
    """
    matrix = affine.matrix
    lines = {
        "Transform": '"AffineTransform"',
        "NumberOfParameters": "12",
        "TransformParameters": _numbers(np.concatenate([matrix[:3, :3].ravel(), matrix[:3, 3]])),
        "InitialTransformParametersFileName": f'"{_NONE}"',
        "HowToCombineTransforms": '"Compose"',
        "FixedImageDimension": "3",
        "MovingImageDimension": "3",
        "FixedInternalImagePixelType": '"float"',
        "MovingInternalImagePixelType": '"float"',
        "Size": " ".join(map(str, grid.shape)),
        "Index": "0 0 0",
        "Spacing": _numbers(np.array(grid.spacing_mm)),
        "Origin": _numbers(grid.origin_mm),
        # elastix lists directions column by column
        "Direction": _numbers(grid.axes.T.ravel()),
        "UseDirectionCosines": '"true"',
        "CenterOfRotationPoint": "0 0 0",
        "ResampleInterpolator": '"FinalBSplineInterpolator"',
        "FinalBSplineInterpolationOrder": "1",
        "Resampler": '"DefaultResampler"',
        "DefaultPixelValue": "0",
        "ResultImageFormat": '"nii.gz"',
        "ResultImagePixelType": '"float"',
        "CompressResultImage": '"false"',
    }
    try:
        path.write_text("\n".join(f"({key} {value})" for key, value in lines.items()) + "\n", encoding="utf-8")
    except OSError as error:
        raise WriteError(
            f"{path.name} cannot be written", code="output.unwritable", hint="check the free space and the permissions"
        ) from error


def _numbers(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in values)


def _read(path: Path, left: int) -> Transform:
    if path.stat().st_size > MAX_BYTES or left == 0:
        raise ValueError("too long")
    found = {match[1]: match[2] for match in map(_LINE.match, path.read_text(encoding="utf-8").splitlines()) if match}
    kind = found["Transform"].strip('"')
    values = [float(word) for word in found["TransformParameters"].split()]
    centre = [float(word) for word in found.get("CenterOfRotationPoint", "0 0 0").split()]
    own = from_itk(_linear(kind, values, centre, found))
    initial = found.get("InitialTransformParametersFileName", found.get("InitialTransformParameterFileName", _NONE)).strip('"')
    if initial == _NONE:
        return own
    if found.get("HowToCombineTransforms", '"Compose"').strip('"') != "Compose":
        raise _kind_error("that add their displacements")
    # the name alone, never the path: a file says nothing about where others may be read
    return _read(path.parent / Path(initial.replace("\\", "/")).name, left - 1).then(own)


def _linear(kind: str, values: list[float], centre: list[float], found: dict[str, str]) -> sitk.Transform:
    if found.get("FixedImageDimension", "3") != "3":
        raise GeometryError("the transform is not three-dimensional", code="transform.kind", hint="give a 3-D transform")
    transform: sitk.Transform
    if kind == "TranslationTransform":
        return sitk.TranslationTransform(3, values)
    if kind == "EulerTransform":
        transform = sitk.Euler3DTransform()
        transform.SetComputeZYX(found.get("ComputeZYX", '"false"').strip('"') == "true")
    elif kind == "SimilarityTransform":
        transform = sitk.Similarity3DTransform()
    elif kind == "AffineTransform":
        transform = sitk.AffineTransform(3)
    else:
        raise _kind_error(f"of the kind {kind[:60]}")
    transform.SetCenter(centre)
    transform.SetParameters(values)
    return transform


def _kind_error(what: str) -> GeometryError:
    return GeometryError(
        f"transforms of elastix {what} are not read",
        code="transform.kind",
        hint="make a field of it (transformix -def all -tp FILE) and give deformationField",
    )
