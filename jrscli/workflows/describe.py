"""What a transform does, in figures. Pure: no files, no printing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jrscli.metrics.deformation import neg_jac
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform

LOOK_AT = 96
"""A field is looked at on at most this many voxels along each axis."""


@dataclass(frozen=True)
class TransformFacts:
    """Figures of a transform, over its field's grid (the whole chain, the linear part included) where it has one.

    matrix, rotation_deg, scales: of the linear part; None where there is none. Displacements in mm.
    folding_percent: voxels whose Jacobian determinant is not positive.
    """

    linear: bool
    matrix: tuple[tuple[float, ...], ...] | None
    rotation_deg: float | None
    scales: tuple[float, float, float] | None
    grid: Geometry | None = None
    displacement_mean_mm: float | None = None
    displacement_max_mm: float | None = None
    jacobian_min: float | None = None
    jacobian_max: float | None = None
    folding_percent: float | None = None

    @property
    def sentence(self) -> str:
        """What the transform does, in one sentence."""
        parts = []
        if self.scales is not None and self.rotation_deg is not None and self.matrix is not None:
            kind = "rigid" if max(abs(scale - 1) for scale in self.scales) < 1e-3 else "affine"
            parts.append(f"{kind}: rotates by {self.rotation_deg:.2f}°")
            if kind == "affine":
                parts[0] += f", scales by {' × '.join(f'{scale:.3f}' for scale in self.scales)}"
        if self.displacement_mean_mm is not None:
            parts.append(
                f"moves points by {self.displacement_mean_mm:.2f} mm on average, {self.displacement_max_mm:.2f} mm at most"
            )
        if self.folding_percent is not None:
            folds = f"folds at {self.folding_percent:.3g} % of the voxels" if self.folding_percent else "folds nowhere"
            parts.append(f"Jacobian {self.jacobian_min:.2f} to {self.jacobian_max:.2f}, {folds}")
        return "; ".join(parts)


def describe_transform(transform: Transform, grid: Geometry | None = None) -> TransformFacts:
    """Figures of a transform on ``grid`` (fixed space), by default that of its first field."""
    fields = [part for part in transform.parts if isinstance(part, DisplacementField)]
    linear = AffineTransform.identity()
    for part in transform.parts:
        if isinstance(part, AffineTransform):
            linear = linear.then(part)
    has_linear = len(fields) < len(transform.parts)
    grid = grid or (fields[0].geometry if fields else None)
    facts = TransformFacts(
        not fields,
        tuple(tuple(float(value) for value in row) for row in linear.matrix) if has_linear else None,
        linear.rotation_deg() if has_linear else None,
        _scales(linear) if has_linear else None,
        grid,
    )
    if grid is None:
        return facts
    field = transform.displacement(_looked_at(grid))
    length = np.linalg.norm(field.array, axis=-1)
    jacobian = field.jacobian()
    folds = neg_jac(jacobian)[0].value
    return TransformFacts(
        facts.linear,
        facts.matrix,
        facts.rotation_deg,
        facts.scales,
        grid,
        float(length.mean()),
        float(length.max()),
        float(jacobian.min()),
        float(jacobian.max()),
        float((jacobian <= 0).mean() * 100) if folds is None else folds,
    )


def _scales(affine: AffineTransform) -> tuple[float, float, float]:
    x, y, z = np.linalg.svd(affine.matrix[:3, :3], compute_uv=False)
    return float(x), float(y), float(z)


def _looked_at(grid: Geometry) -> Geometry:
    """``grid``, coarser where it has more voxels than it takes to describe a field."""
    spacing = [s * max(1.0, n / LOOK_AT) for s, n in zip(grid.spacing_mm, grid.shape, strict=True)]
    return grid.with_spacing((spacing[0], spacing[1], spacing[2]))
