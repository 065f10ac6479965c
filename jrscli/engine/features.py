"""MIND-SSC: twelve channels that describe the local structure of an image whatever its contrast."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from jrscli.nn.filters import box_sum

MIND_RADIUS = 1

# the pairs of the six face neighbours that are not opposite each other: (first, second) as offsets in voxels
_FACES = [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]
_PAIRS = [(a, b) for n, a in enumerate(_FACES) for b in _FACES[n + 1 :] if sum(x * y for x, y in zip(a, b, strict=True)) == 0]


def _shifted(image: Tensor, offset: tuple[int, int, int]) -> Tensor:
    wide = functional.pad(image, (1, 1, 1, 1, 1, 1), mode="replicate")
    i, j, k = image.shape[2:]
    return wide[:, :, 1 + offset[0] : 1 + offset[0] + i, 1 + offset[1] : 1 + offset[1] + j, 1 + offset[2] : 1 + offset[2] + k]


def mind(image: Float[Tensor, "1 1 i j k"], radius: int) -> Float[Tensor, "1 12 i j k"]:
    """exp(−d / v) of the patch distances d between neighbours, v their local mean; 0 … 1.

    Source: Heinrich et al., MICCAI 2013, doi:10.1007/978-3-642-40811-3_24.
    """
    radii = [min(radius, n - 1) for n in image.shape[2:]]
    count = box_sum(torch.ones_like(image), radii)
    differences = torch.cat([(_shifted(image, a) - _shifted(image, b)) ** 2 for a, b in _PAIRS], dim=1)
    distance = box_sum(differences, radii) / count
    distance = distance - distance.min(dim=1, keepdim=True).values
    variance = distance.mean(dim=1, keepdim=True)
    middle = float(variance.mean())
    variance = variance.clamp(0.001 * middle + 1e-12, 1000 * middle + 1e-9)
    return torch.exp(-distance / variance)
