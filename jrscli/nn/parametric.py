"""Dense fields of few parameters: affine maps and cubic B-splines, by products with small fixed arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer that gives 0, and so a field of nothing, until it has learned."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def rotation(angles: Float[Tensor, "b n"]) -> Float[Tensor, "b d d"]:
    """About the first, then the second, then the third axis; in two dimensions one angle."""
    cos, sin = torch.cos(angles), torch.sin(angles)
    zero, one = torch.zeros_like(cos[:, 0]), torch.ones_like(cos[:, 0])

    def rows(*values: Tensor) -> Tensor:
        side = math.isqrt(len(values))
        return torch.stack(values, dim=1).unflatten(1, (side, side))

    if angles.shape[1] == 1:
        return rows(cos[:, 0], -sin[:, 0], sin[:, 0], cos[:, 0])
    first = rows(one, zero, zero, zero, cos[:, 0], -sin[:, 0], zero, sin[:, 0], cos[:, 0])
    second = rows(cos[:, 1], zero, sin[:, 1], zero, one, zero, -sin[:, 1], zero, cos[:, 1])
    third = rows(cos[:, 2], -sin[:, 2], zero, sin[:, 2], cos[:, 2], zero, zero, zero, one)
    return third @ second @ first


class AffineField(nn.Module):
    """Linear maps about the middle of a grid, in a unit of length that is the same along all axes: a rotation is one in space.

    The unit is the largest half-extent of the grid in mm.
    """

    def __init__(self, size: Sequence[int], spacing_mm: Sequence[float]) -> None:
        super().__init__()
        unit_mm = max((n - 1) / 2 * s for n, s in zip(size, spacing_mm, strict=True))
        self.voxels = [unit_mm / s for s in spacing_mm]
        for axis, (n, unit) in enumerate(zip(size, self.voxels, strict=True)):
            place = (torch.arange(n) - (n - 1) / 2) / unit
            self.register_buffer(f"place{axis}", place.view(-1, *(1,) * (len(size) - 1 - axis)), persistent=False)

    def forward(self, matrix: Float[Tensor, "b d d"], shift: Float[Tensor, "b d"]) -> Float[Tensor, "b d *grid"]:
        """u in voxels, ``x + u(x)`` being where ``x ↦ matrix x + shift`` takes x."""
        dims = len(self.voxels)
        change = matrix - torch.eye(dims, device=matrix.device)
        wide = (slice(None), *(None,) * dims)
        parts = []
        for c, unit in enumerate(self.voxels):
            moved = shift[:, c][wide]
            for axis in range(dims):
                moved = moved + change[:, c, axis][wide] * self.get_buffer(f"place{axis}")
            parts.append(unit * moved)
        return torch.stack(parts, dim=1)


class SplineField(nn.Module):
    """Cubic B-splines on control points every ``stride`` voxels, ``ceil(n / stride) + 2`` along each axis, centred on the grid.

    The same as a transposed convolution of that stride with the spline, axis by axis.
    Source: Rueckert et al., IEEE TMI 18(8), 1999, doi:10.1109/42.796284.
    """

    def __init__(self, size: Sequence[int], stride: int) -> None:
        super().__init__()
        self.grid = [math.ceil(n / stride) + 2 for n in size]
        for axis, (n, count) in enumerate(zip(size, self.grid, strict=True)):
            first = -(((count - 1) * stride + 1 - n) // 2)
            away = torch.arange(n)[:, None] - (first + stride * torch.arange(count)[None])
            self.register_buffer(f"basis{axis}", _cubic(away / stride), persistent=False)

    def forward(self, points: Float[Tensor, "b d *coarse"]) -> Float[Tensor, "b d *grid"]:
        """The field, in the unit of the points; each pass does the first axis that is left and puts it last."""
        for axis in range(len(self.grid)):
            points = points.movedim(2, -1) @ self.get_buffer(f"basis{axis}").T
        return points


def _cubic(t: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """The cubic B-spline with knots at −2 … 2."""
    t = t.abs()
    return torch.where(t < 1, 2 / 3 - t**2 + t**3 / 2, (2 - t).clamp_min(0) ** 3 / 6)
