"""The answer of a registration, and the numbers that say how it behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jrscli.errors import Notice
from jrscli.runtime.probabilities import Probabilities
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

CONSISTENCY_POINTS = 50_000


@dataclass(frozen=True)
class Step:
    """One step that ran: its name, its seconds, what it found."""

    name: str
    seconds: float
    facts: Mapping[str, float | str | int]


@dataclass(frozen=True)
class Registration:
    """The answer of a registration.

    transform: fixed mm -> moving mm (pull), what resamples the moving image; its parts are (field, affine).
    inverse: moving mm -> fixed mm.
    linear: the linear part alone. init: the start that won. failed: why the linear stage is not to be trusted, or None.
    folding_percent: share of the field's voxels inside the fixed image with a determinant ≤ 0.
    jacobian_min, jacobian_max: the range of the determinant there.
    inverse_consistency_*_mm: how far points of the fixed image end from where they were after both transforms.
    model: the name and version of the model that made it; None for the pair optimiser alone.
    guided_by: what steered it beside the images, as words; "" for nothing. notices: what was odd.
    seen: where the model's graph found labels in the fixed image while it registered, if it does.
    """

    transform: Transform
    inverse: Transform
    linear: AffineTransform
    init: str
    failed: str | None
    folding_percent: float
    jacobian_min: float
    jacobian_max: float
    inverse_consistency_p95_mm: float
    inverse_consistency_max_mm: float
    steps: tuple[Step, ...]
    model: str | None = None
    guided_by: str = ""
    notices: tuple[Notice, ...] = ()
    seen: Probabilities | None = None

    def warp(self, moving: Volume, fixed: Geometry) -> Volume:
        """The moving image on the fixed grid (linear interpolation; its own minimum outside)."""
        return resample(moving, fixed, self.transform)


def registration_of(
    transform: Transform,
    inverse: Transform,
    fixed: Geometry,
    *,
    init: str,
    failed: str | None,
    steps: tuple[Step, ...],
    seed: int,
    model: str | None = None,
    guided_by: str = "",
    notices: tuple[Notice, ...] = (),
) -> Registration:
    """The answer with its numbers: folding, range of the determinant, inverse consistency over the fixed image."""
    linear = transform.parts[-1]
    assert isinstance(linear, AffineTransform)
    folding, lowest, highest = _determinants(transform, fixed)
    p95, largest = _consistency(transform, inverse, fixed, seed)
    return Registration(
        transform=transform,
        inverse=inverse,
        linear=linear,
        init=init,
        failed=failed,
        folding_percent=folding,
        jacobian_min=lowest,
        jacobian_max=highest,
        inverse_consistency_p95_mm=p95,
        inverse_consistency_max_mm=largest,
        steps=steps,
        model=model,
        guided_by=guided_by,
        notices=notices,
    )


def _determinants(transform: Transform, fixed: Geometry) -> tuple[float, float, float]:
    """Folding in %, smallest and largest determinant over the part of the field's grid that lies inside the fixed image."""
    affine = transform.parts[-1]
    scale = float(np.linalg.det(affine.matrix[:3, :3])) if isinstance(affine, AffineTransform) else 1.0
    field = transform.parts[0]
    if isinstance(field, AffineTransform):
        return 0.0, scale, scale
    corners = field.geometry.world_to_index(fixed.corners_mm)
    lower = np.maximum(np.round(corners.min(0)).astype(int), 0)
    upper = np.minimum(np.round(corners.max(0)).astype(int) + 1, field.geometry.shape)
    # one voxel more on each side, for the differences, but not all of the margin in which a network's field fades
    first, last = np.maximum(lower - 1, 0), np.minimum(upper + 1, field.geometry.shape)
    wide = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    inside = tuple(slice(a, b) for a, b in zip(lower - first, upper - first, strict=True))
    grid = field.geometry.cropped_to((first[0], first[1], first[2]), (last[0], last[1], last[2]))
    values = DisplacementField(field.array[wide], grid).jacobian()[inside] * scale
    return 100 * float((values <= 0).mean()), float(values.min()), float(values.max())


def _consistency(transform: Transform, inverse: Transform, fixed: Geometry, seed: int) -> tuple[float, float]:
    """95th percentile and largest distance (mm) from random points of the fixed image to where both transforms bring them."""
    if transform.is_linear:
        return 0.0, 0.0
    rng = np.random.default_rng(seed)
    points: Float[np.ndarray, "n 3"] = fixed.index_to_world(rng.random((CONSISTENCY_POINTS, 3)) * (np.array(fixed.shape) - 1))
    distance = np.linalg.norm(inverse.map_points(transform.map_points(points)) - points, axis=1)
    return float(np.percentile(distance, 95)), float(distance.max())
