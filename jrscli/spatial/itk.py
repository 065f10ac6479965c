"""The SimpleITK bridge: the one place where arrays are turned round for ITK (its arrays run k, j, i)."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume


def set_geometry(image: sitk.Image, geometry: Geometry) -> None:
    """Give an ITK image the place of ``geometry`` (both are LPS mm)."""
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(geometry.origin_mm.tolist())
    image.SetDirection(geometry.axes.ravel().tolist())


def image_from_array(array: np.ndarray, geometry: Geometry) -> sitk.Image:
    """An ITK image of "i j k" scalars or "i j k c" vectors (a copy)."""
    axes = (2, 1, 0) if array.ndim == 3 else (2, 1, 0, 3)
    data = np.ascontiguousarray(array.transpose(axes))
    if data.dtype == np.bool_:
        data = data.view(np.uint8)
    elif data.dtype == np.float16:
        data = data.astype(np.float32)
    if data.dtype.byteorder == ">":
        data = data.astype(data.dtype.newbyteorder("="))
    image = sitk.GetImageFromArray(data, isVector=array.ndim == 4)
    set_geometry(image, geometry)
    return image


def array_from_image(image: sitk.Image) -> np.ndarray:
    """The "i j k" or "i j k c" array of a 3-D ITK image (a copy, read-only by convention)."""
    array = sitk.GetArrayFromImage(image)
    return array.transpose((2, 1, 0) if array.ndim == 3 else (2, 1, 0, 3))


def geometry_from_image(image: sitk.Image) -> Geometry:
    """The grid of a 3-D ITK image."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    size = image.GetSize()
    return Geometry((size[0], size[1], size[2]), affine)


def image_from_volume(volume: Volume) -> sitk.Image:
    """An ITK image of a Volume."""
    return image_from_array(volume.array, volume.geometry)


def volume_from_image(image: sitk.Image) -> Volume:
    """A Volume of a scalar 3-D ITK image."""
    return Volume(array_from_image(image), geometry_from_image(image))


def resample_image(image: sitk.Image, geometry: Geometry, transform: Any, interpolator: int, outside: float) -> sitk.Image:
    """``image`` pulled through an ITK transform onto ``geometry``, with the pixel type of ``image``."""
    return sitk.Resample(
        image,
        geometry.shape,
        transform,
        interpolator,
        geometry.origin_mm.tolist(),
        geometry.spacing_mm,
        geometry.axes.ravel().tolist(),
        outside,
    )
