"""Register two images: the pair optimiser, and the numbers that say how its answer behaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jrscli.errors import InputError, UsageError
from jrscli.progress import Progress, silent
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume

PRESETS = ("fast", "balanced", "best")
INITS = ("auto", "header", "centers", "moments")
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

    def warp(self, moving: Volume, fixed: Geometry) -> Volume:
        """The moving image on the fixed grid (linear interpolation; its own minimum outside)."""
        return resample(moving, fixed, self.transform)


def register(
    fixed: Volume,
    moving: Volume,
    *,
    preset: str = "balanced",
    init: str | AffineTransform = "auto",
    linear_only: bool = False,
    fixed_mask: LabelMap | None = None,
    moving_mask: LabelMap | None = None,
    seed: int = 0,
    threads: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Registration:
    """The transform that moves ``moving`` onto ``fixed``, whatever their modalities.

    preset: "fast", "balanced" or "best".
    init: "auto" (several starts, the best wins), "header", "centers", "moments" or a linear map to improve.
    fixed_mask, moving_mask: where each image counts (non-zero); the moving one in the deformable stage only.
    threads: of the computation, by default one per core.
    device: "auto", "cpu", "cuda" or "cuda:N".

    Raises UsageError `usage.preset`, `usage.init`, `usage.device`; InputError `image.flat`, `image.dims`, `mask.empty`;
    ProviderError `provider.cuda`.
    """
    from jrscli.engine.device import use_threads
    from jrscli.engine.pair import optimise

    _check(fixed, moving, preset, init)
    if threads:
        use_threads(threads)
    found = optimise(
        fixed,
        moving,
        preset=preset,
        init=init,
        linear_only=linear_only,
        fixed_weight=_weight(fixed_mask, "fixed"),
        moving_weight=_weight(moving_mask, "moving"),
        device=device,
        seed=seed,
        progress=progress,
    )
    linear = found.linear.affine
    if found.displacement is None or found.inverse is None:
        transform, inverse = Transform((linear,)), Transform((linear.inverse(),))
    else:
        transform, inverse = Transform((found.displacement, linear)), Transform((linear.inverse(), found.inverse))
    folding, lowest, highest = _determinants(transform, fixed.geometry)
    p95, largest = _consistency(transform, inverse, fixed.geometry, seed)
    return Registration(
        transform=transform,
        inverse=inverse,
        linear=linear,
        init=found.linear.start,
        failed=found.linear.failed,
        folding_percent=folding,
        jacobian_min=lowest,
        jacobian_max=highest,
        inverse_consistency_p95_mm=p95,
        inverse_consistency_max_mm=largest,
        steps=tuple(Step(step.name, step.seconds, step.facts) for step in found.steps),
    )


def _check(fixed: Volume, moving: Volume, preset: str, init: str | AffineTransform) -> None:
    if preset not in PRESETS:
        raise UsageError(f"no preset named {preset}", code="usage.preset", hint="one of " + ", ".join(PRESETS))
    if isinstance(init, str) and init not in INITS:
        raise UsageError(
            f"no start named {init}", code="usage.init", hint="one of " + ", ".join(INITS) + ", or a linear transform"
        )
    for role, volume in (("fixed", fixed), ("moving", moving)):
        if volume.array.min() == volume.array.max():
            raise InputError(
                f"the {role} image has one value everywhere", code="image.flat", hint="check that it is the right file"
            )
    thin = [volume.geometry.shape.count(1) for volume in (fixed, moving)]
    if thin[0] != thin[1] or max(thin) > 1:
        raise InputError(
            f"images of shape {fixed.geometry.shape} and {moving.geometry.shape} cannot be registered",
            code="image.dims",
            hint="give two volumes, or two single slices",
        )


def _weight(mask: LabelMap | None, role: str) -> Volume | None:
    if mask is None:
        return None
    if not mask.array.any():
        raise InputError(f"the {role} mask is empty", code="mask.empty", hint="a mask is non-zero where the image counts")
    return Volume((mask.array != 0).astype(np.float32), mask.geometry)


def _determinants(transform: Transform, fixed: Geometry) -> tuple[float, float, float]:
    """Folding in %, smallest and largest determinant over the part of the field's grid that lies inside the fixed image."""
    affine = transform.parts[-1]
    scale = float(np.linalg.det(affine.matrix[:3, :3])) if isinstance(affine, AffineTransform) else 1.0
    field = transform.parts[0]
    if isinstance(field, AffineTransform):
        return 0.0, scale, scale
    lower = np.round(field.geometry.world_to_index(fixed.corners_mm).min(0)).astype(int)
    upper = np.round(field.geometry.world_to_index(fixed.corners_mm).max(0)).astype(int) + 1
    inside = tuple(slice(max(0, a), b) for a, b in zip(lower, upper, strict=True))
    values = field.jacobian()[inside] * scale
    return 100 * float((values <= 0).mean()), float(values.min()), float(values.max())


def _consistency(transform: Transform, inverse: Transform, fixed: Geometry, seed: int) -> tuple[float, float]:
    """95th percentile and largest distance (mm) from random points of the fixed image to where both transforms bring them."""
    if transform.is_linear:
        return 0.0, 0.0
    rng = np.random.default_rng(seed)
    points: Float[np.ndarray, "n 3"] = fixed.index_to_world(rng.random((CONSISTENCY_POINTS, 3)) * (np.array(fixed.shape) - 1))
    distance = np.linalg.norm(inverse.map_points(transform.map_points(points)) - points, axis=1)
    return float(np.percentile(distance, 95)), float(distance.max())
