"""Signed distance maps."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float32
from scipy.ndimage import distance_transform_edt

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.itk import array_from_image, image_from_array


def signed_distance(mask: Bool[np.ndarray, "i j k"], geometry: Geometry) -> Float32[np.ndarray, "i j k"]:
    """Distance to the border of the mask in mm, positive inside, zero midway between an inside and an outside voxel centre.

    Distances run between voxel centres of the two kinds, less half the smallest spacing, so that inside and outside mirror one
    another across the border along every axis: a contour at level 0 does not shrink by half a voxel. The edge of the grid is no
    border of the mask. An empty mask is minus the diagonal of the grid everywhere, a full one plus.

    Source: Maurer, Qi, Raghavan, IEEE PAMI 25(2), 2003, doi:10.1109/TPAMI.2003.1177156.
    """
    mask = np.asarray(mask, dtype=bool)
    if not mask.any() or mask.all():
        diagonal = float(np.linalg.norm(np.array(geometry.shape) * geometry.spacing_mm))
        return np.full(geometry.shape, diagonal if mask.any() else -diagonal, np.float32)
    half = np.float32(min(geometry.spacing_mm) / 2)
    distance = _distance_to(~mask, geometry)
    distance -= half
    outside = _distance_to(mask, geometry)
    np.subtract(half, outside, out=distance, where=~mask)
    return distance


def _distance_to(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Distance from each voxel outside the mask to the nearest voxel centre in it, mm (inside: not positive)."""
    image = image_from_array(mask, geometry)
    far = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return array_from_image(far)


def plane_distance(mask: Bool[np.ndarray, "u v"], spacing_mm: tuple[float, float]) -> Float32[np.ndarray, "u v"]:
    """`signed_distance` in a plane: mm, positive inside, zero midway between an inside and an outside pixel centre.

    An empty mask is minus the diagonal everywhere, a full one plus.
    """
    mask = np.asarray(mask, dtype=bool)
    diagonal = np.float32(np.hypot(mask.shape[0] * spacing_mm[0], mask.shape[1] * spacing_mm[1]))
    if not mask.any() or mask.all():
        return np.full(mask.shape, diagonal if mask.any() else -diagonal, np.float32)
    half = min(spacing_mm) / 2
    inside = distance_transform_edt(mask, sampling=spacing_mm)
    outside = distance_transform_edt(~mask, sampling=spacing_mm)
    return np.where(mask, inside - half, half - outside).astype(np.float32)
