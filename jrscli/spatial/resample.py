"""Resampling: the one place that interpolates images."""

from __future__ import annotations

from typing import Literal

import numpy as np
import SimpleITK as sitk

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.itk import array_from_image, image_from_array, image_from_volume, resample_image
from jrscli.spatial.transform import Transform, to_itk
from jrscli.spatial.volume import LabelMap, Volume

Interpolation = Literal["linear", "nearest", "bspline"]
_ITK_INTERPOLATION = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor, "bspline": sitk.sitkBSpline}


def resample(
    volume: Volume,
    geometry: Geometry,
    transform: Transform | None = None,
    *,
    interpolation: Interpolation = "linear",
    outside: float | None = None,
) -> Volume:
    """``volume`` on ``geometry``: ``out(x) = volume(transform(x))``, float32 unless the interpolation is nearest.

    outside: the value beyond the image, by default its minimum.
    """
    fill = float(volume.array.min()) if outside is None else float(outside)
    image = image_from_volume(volume)
    if interpolation != "nearest":
        image = sitk.Cast(image, sitk.sitkFloat32)
    chain = sitk.Transform(3, sitk.sitkIdentity) if transform is None else to_itk(transform)
    moved = resample_image(image, geometry, chain, _ITK_INTERPOLATION[interpolation], fill)
    return Volume(array_from_image(moved), geometry)


def resample_labels(labels: LabelMap, geometry: Geometry, transform: Transform | None = None) -> LabelMap:
    """Labels on ``geometry`` by nearest neighbour, in whole numbers throughout; 0 outside."""
    chain = sitk.Transform(3, sitk.sitkIdentity) if transform is None else to_itk(transform)
    image = image_from_array(labels.array, labels.geometry)
    moved = resample_image(image, geometry, chain, sitk.sitkNearestNeighbor, 0.0)
    return LabelMap(array_from_image(moved), geometry, labels.names)


def resample_smoothed(volume: Volume, geometry: Geometry) -> Volume:
    """``volume`` on a coarser grid over the same field, smoothed first so that fine detail does not alias.

    Along each axis that gets coarser by a ratio r the Gaussian has a sigma of half √(r² − 1) fine voxels: fine and coarse
    voxels are then blurred alike.
    """
    image = sitk.Cast(image_from_volume(volume), sitk.sitkFloat32)
    ratio = np.array(geometry.spacing_mm) / np.array(volume.geometry.spacing_mm)
    for axis in range(3):
        if ratio[axis] > 1.2 and volume.geometry.shape[axis] >= 4:
            sigma_mm = 0.5 * np.sqrt(ratio[axis] ** 2 - 1) * volume.geometry.spacing_mm[axis]
            image = sitk.RecursiveGaussian(image, sigma=float(sigma_mm), direction=axis)
    fill = float(volume.array.min())
    moved = resample_image(image, geometry, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear, fill)
    return Volume(array_from_image(moved), geometry)
