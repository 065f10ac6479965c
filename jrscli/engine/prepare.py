"""From volumes to what the optimiser sees: grey values between 0 and 1 on grids of a bearable size."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

PERCENTILES = (0.5, 99.5)
SAMPLES = 500_000


def scaled(volume: Volume) -> Volume:
    """The image with its grey values between the 0.5 % and 99.5 % percentile mapped to 0 … 1 and cut off there."""
    stride = max(1, round((volume.array.size / SAMPLES) ** (1 / 3)))
    low, high = np.percentile(volume.array[::stride, ::stride, ::stride], PERCENTILES)
    if high <= low:
        low, high = float(volume.array.min()), float(volume.array.max())
    scaled_array = volume.array.astype(np.float32)
    scaled_array -= np.float32(low)
    scaled_array /= np.float32(max(high - low, 1e-6))
    return Volume(np.clip(scaled_array, 0, 1, out=scaled_array), volume.geometry)


def equalised(volume: Volume) -> Volume:
    """The image with each grey value replaced by its rank, 0 … 1; equal values share the middle of their ranks."""
    stride = max(1, volume.array.size // SAMPLES)
    ordered = np.sort(volume.array.ravel()[::stride])
    below, above = (np.searchsorted(ordered, volume.array, side=side) for side in ("left", "right"))
    rank = (below + above).astype(np.float32)
    rank -= rank.min()
    rank /= max(float(rank.max()), 1e-6)
    return Volume(rank, volume.geometry)


def working_grid(geometry: Geometry, voxels: int) -> Geometry:
    """A grid over the same field with at most about ``voxels`` voxels, coarsened along its finest axes first."""
    extent = (np.array(geometry.shape) - 1) * np.array(geometry.spacing_mm)
    spacing = np.array(geometry.spacing_mm)
    target = float(spacing.min())
    while np.prod(np.ceil(extent / np.maximum(spacing, target) - 1e-6) + 1) > voxels:
        target *= 1.03
    if target == float(spacing.min()):
        return geometry
    x, y, z = np.maximum(spacing, target).tolist()
    return geometry.with_spacing((x, y, z))


def tensor_of(array: np.ndarray, device: torch.device) -> Float[Tensor, "1 1 i j k"]:
    """A volume's array as a float32 tensor of one sample and one channel."""
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))[None, None].to(device)
