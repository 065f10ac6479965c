"""Reading ITK's transform files (.h5, .tfm, .mat) without ITK, whose readers a damaged file can bring down."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyfive
import SimpleITK as sitk
from jaxtyping import Float

from jrscli.errors import GeometryError, InputError, JrsError
from jrscli.io.caps import check_claim, check_text
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Part, Transform, from_itk

MAX_CONTROL_POINTS = 500_000
"""Of a B-spline, which is sampled at 512 points for each."""
_LINEAR = {
    "AffineTransform": sitk.AffineTransform,
    "MatrixOffsetTransformBase": sitk.AffineTransform,
    "FixedCenterOfRotationAffineTransform": sitk.AffineTransform,
    "TranslationTransform": sitk.TranslationTransform,
    "ScaleTransform": sitk.ScaleTransform,
    "Euler3DTransform": sitk.Euler3DTransform,
    "VersorTransform": sitk.VersorTransform,
    "VersorRigid3DTransform": sitk.VersorRigid3DTransform,
    "Similarity3DTransform": sitk.Similarity3DTransform,
    "ScaleVersor3DTransform": sitk.ScaleVersor3DTransform,
    "ScaleSkewVersor3DTransform": sitk.ScaleSkewVersor3DTransform,
    "ComposeScaleSkewVersor3DTransform": sitk.ComposeScaleSkewVersor3DTransform,
}


@dataclass(frozen=True)
class Block:
    """One transform as ITK stores it: its kind (``AffineTransform_double_3_3``) and two lists of numbers."""

    kind: str
    parameters: Float[np.ndarray, "n"]
    fixed: Float[np.ndarray, "m"]


def read_itk_transform(path: Path) -> Transform:
    """The chain of an ITK transform file; a point goes through the last one of a composite first, as in ITK.

    Raises InputError `xfm.unreadable`, `input.too_big`; GeometryError `transform.kind`.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if start.startswith(b"\x89HDF"):
            blocks = list(_hdf5(path))
        elif start.lstrip().startswith(b"#Insight"):
            blocks = list(_text(path))
        else:
            blocks = list(_matlab(path))
        parts: list[Part] = []
        for block in reversed(blocks):
            parts.extend(_parts(block))
    except JrsError:
        raise
    except Exception as error:
        # a damaged file fails in as many ways as it has bytes
        raise InputError(
            f"{path.name} cannot be read: it is cut off, damaged, or no ITK transform",
            code="xfm.unreadable",
            hint="give the .h5 file that jrs register wrote",
        ) from error
    if not blocks:
        raise InputError(f"{path.name} holds no transform", code="xfm.unreadable", hint="give the file that jrs register wrote")
    return Transform(tuple(parts)) if parts else Transform.identity()


def _hdf5(path: Path) -> Iterator[Block]:
    with pyfive.File(path) as file:
        group = file["TransformGroup"]
        for name in sorted(group, key=int):
            item = group[name]
            kind = np.asarray(item["TransformType"][()]).ravel()[0]
            numbers = []
            for words in ("Parameters", "FixedParameters"):
                # ITK before 5 misspelt the second
                name = next((n for n in (f"Transform{words}", f"Tranform{words}") if n in item), "")
                numbers.append(_values(item[name], path) if name else np.empty(0))
            yield Block(kind.decode("ascii") if isinstance(kind, bytes) else str(kind), *numbers)


def _values(dataset: pyfive.Dataset, path: Path) -> np.ndarray:
    check_claim(
        int(np.prod([float(n) for n in dataset.shape])) * 8, path, packed=dataset.chunks is not None, code="xfm.unreadable"
    )
    return np.array(dataset[()], dtype=np.float64).ravel()


def _text(path: Path) -> Iterator[Block]:
    check_text(path)
    kind, numbers = "", {"Parameters": np.empty(0), "FixedParameters": np.empty(0)}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "Transform":
            if kind:
                yield Block(kind, numbers["Parameters"], numbers["FixedParameters"])
            kind, numbers = value.strip(), dict.fromkeys(numbers, np.empty(0))
        elif key.strip() in numbers:
            numbers[key.strip()] = np.array([float(word) for word in value.split()])
    if kind:
        yield Block(kind, numbers["Parameters"], numbers["FixedParameters"])


def _matlab(path: Path) -> Iterator[Block]:
    """MATLAB version 4: a variable named after the kind holds the parameters, the variable "fixed" follows."""
    data, found = path.read_bytes(), []
    at = 0
    while at < len(data):
        order = "<" if int.from_bytes(data[at : at + 4], "little") < 5000 else ">"
        kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", data, at)
        precision = {0: "f8", 1: "f4"}[kind % 100 // 10]
        if imaginary or min(rows, columns, length) < 0:
            raise ValueError("not a matrix of real numbers")
        name = data[at + 20 : at + 20 + length].split(b"\0")[0].decode("ascii")
        at += 20 + length
        found.append((name, np.frombuffer(data, f"{order}{precision}", rows * columns, at).astype(np.float64)))
        at += rows * columns * int(precision[1])
    for (name, parameters), (fixed_name, fixed) in zip(found[::2], found[1::2], strict=True):
        if fixed_name != "fixed":
            raise ValueError("the centre is missing")
        yield Block(name, parameters, fixed)


def _parts(block: Block) -> tuple[Part, ...]:
    match = re.fullmatch(r"(\w+?)_(?:double|float)_(\d)_(\d)", block.kind)
    name = match[1] if match else block.kind
    if not match or match[2] != "3" or match[3] != "3":
        if match:
            raise GeometryError("the transform is not three-dimensional", code="transform.kind", hint="give a 3-D transform")
        raise ValueError(f"not a transform: {name[:40]!r}")
    if name in ("CompositeTransform", "IdentityTransform"):
        return ()
    if name.endswith("DisplacementFieldTransform"):
        return (_field(block),)
    if name == "BSplineTransform":
        return _spline(block)
    if name == "CenteredAffineTransform":
        matrix, centre, shift = block.parameters[:9].reshape(3, 3), block.parameters[9:12], block.parameters[12:15]
        return (AffineTransform.about(matrix, centre, shift),)
    if name not in _LINEAR:
        raise GeometryError(
            f"transforms of the kind {name[:60]} are not supported",
            code="transform.kind",
            hint="convert it to an affine, a displacement field or a composite of them",
        )
    kind = _LINEAR[name]
    any_dimension = kind in (sitk.AffineTransform, sitk.TranslationTransform, sitk.ScaleTransform)
    return _through_itk(kind(3) if any_dimension else kind(), block)


def _field(block: Block) -> DisplacementField:
    """Size, origin, spacing and direction, then the vectors, first axis fastest."""
    geometry = _grid(block.fixed)
    i, j, k = geometry.shape
    return DisplacementField(block.parameters.reshape(k, j, i, 3).transpose(2, 1, 0, 3).astype(np.float32), geometry)


def _grid(fixed: np.ndarray) -> Geometry:
    size, origin, spacing, direction = fixed[:3], fixed[3:6], fixed[6:9], fixed[9:18].reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * spacing, origin
    return Geometry((int(size[0]), int(size[1]), int(size[2])), affine)


def _spline(block: Block) -> tuple[Part, ...]:
    points = int(np.prod(_grid(block.fixed).shape))
    if points > MAX_CONTROL_POINTS:
        raise InputError(
            f"a B-spline of {points} control points", code="input.too_big", hint=f"at most {MAX_CONTROL_POINTS} control points"
        )
    return _through_itk(sitk.BSplineTransform(3), block)


def _through_itk(transform: sitk.Transform, block: Block) -> tuple[Part, ...]:
    if not (np.isfinite(block.parameters).all() and np.isfinite(block.fixed).all()):
        raise ValueError("numbers that are not finite")
    if block.fixed.size:
        transform.SetFixedParameters(block.fixed.tolist())
    if block.parameters.size != transform.GetNumberOfParameters():
        raise ValueError(f"{block.parameters.size} parameters where {transform.GetNumberOfParameters()} belong")
    transform.SetParameters(block.parameters.tolist())
    return from_itk(transform).parts
