"""Volume and LabelMap: an array and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Real, UInt32

from jrscli.errors import GeometryError, InputError
from jrscli.spatial.geometry import Geometry


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written through (the caller's own array stays as it was)."""
    view = array.view()
    view.flags.writeable = False
    return view


def check_shape(array: np.ndarray, geometry: Geometry) -> None:
    """Raise GeometryError `geometry.shape` unless the array fills the grid."""
    if array.shape[:3] != geometry.shape:
        raise GeometryError(
            f"array of {array.shape} does not fit a grid of {geometry.shape}",
            code="geometry.shape",
            hint="array axis n belongs to affine column n",
        )


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar image in scanner units (HU for CT).

    others: further contrasts of the same visit, in the same patient space, each on a grid of its own; only models look at them.

    Raises GeometryError if array and grid differ, InputError `image.values` for values that are not finite real numbers.
    """

    array: Real[np.ndarray, "i j k"]
    geometry: Geometry
    others: tuple[Volume, ...] = ()

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != 3:
            raise InputError(
                f"an image with {array.ndim} axes where 3 are needed",
                code="image.dims",
                hint="a 2-D image is a volume one voxel thick; a cine is a list of volumes",
            )
        check_shape(array, self.geometry)
        if array.dtype.kind not in "iuf":
            raise InputError(
                f"pixels of type {array.dtype} are not real numbers",
                code="image.values",
                hint="give a scalar image (one value per voxel)",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(
                "the image holds NaN or infinite values",
                code="image.values",
                hint="replace them first, for example by the background value",
            )
        object.__setattr__(self, "array", read_only(array))


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Integer labels, 0 = background; never float (values above 2²⁴ would break).

    names: label number -> name.
    """

    array: UInt32[np.ndarray, "i j k"]
    geometry: Geometry
    names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != 3:
            raise InputError(
                f"a label map with {array.ndim} axes where 3 are needed", code="labels.dims", hint="give one volume of labels"
            )
        check_shape(array, self.geometry)
        if array.dtype.kind == "b":
            array = array.astype(np.uint32)
        if array.dtype.kind not in "iu":
            raise InputError(
                f"labels of type {array.dtype} are not whole numbers",
                code="labels.values",
                hint="save the label map as integers",
            )
        if array.dtype != np.uint32:
            if array.size and (int(array.min()) < 0 or int(array.max()) > 0xFFFFFFFF):
                raise InputError(
                    f"labels from {array.min()} to {array.max()} where 0 … 2³²−1 are possible",
                    code="labels.values",
                    hint="labels are counted from 0 = background",
                )
            array = array.astype(np.uint32)
        object.__setattr__(self, "array", read_only(array))
        object.__setattr__(self, "names", MappingProxyType({int(k): str(v) for k, v in self.names.items()}))

    def numbers(self) -> list[int]:
        """The labels that occur, without background, in rising order."""
        return [int(n) for n in np.unique(self.array) if n != 0]

    def name(self, number: int) -> str:
        """The name of a label, or its number as text."""
        return self.names.get(number, str(number))

    def mask(self, number: int) -> Bool[np.ndarray, "i j k"]:
        """Where this label is."""
        return self.array == np.uint32(number)
