"""Register two images: by the pair optimiser, or by a model that it refines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from jrscli.errors import InputError, Notice, UsageError
from jrscli.progress import Progress, silent
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.turn import turn
from jrscli.workflows.contours import labels_of_structures
from jrscli.workflows.guides import Drawn, Points, check_sides, guidance_of
from jrscli.workflows.organs import numbered_as
from jrscli.workflows.registration import Registration, Step, registration_of

if TYPE_CHECKING:
    from jrscli.engine.guidance import Guidance
    from jrscli.runtime.predict import Predictor

PRESETS = ("fast", "balanced", "best")
INITS = ("auto", "header", "centers", "moments")
_WITHOUT = "leave these options out, or register without a model: --model none"


def expected_cost(
    fixed: Geometry, moving: Geometry, *, preset: str = "balanced", linear_only: bool = False, threads: int | None = None
) -> tuple[float, float]:
    """Roughly how many seconds and gigabytes `register` will take for images of these grids on a processor."""
    from jrscli.engine.estimate import estimate

    found = estimate(fixed, moving, preset, linear_only=linear_only, threads=threads or os.cpu_count() or 1)
    return found.seconds, found.gigabytes


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
    model: Predictor | None = None,
    refine: int | None = None,
    fixed_labels: Drawn | None = None,
    moving_labels: Drawn | None = None,
    fixed_points_mm: Points | None = None,
    moving_points_mm: Points | None = None,
    guide: bool = True,
    progress: Progress = silent,
) -> Registration:
    """The transform that moves ``moving`` onto ``fixed``, whatever their modalities.

    preset: "fast", "balanced" or "best".
    init: "auto" (several starts, the best wins), "header", "centers", "moments" or a linear map to improve.
    fixed_mask, moving_mask: where each image counts (non-zero); the moving one in the deformable stage only.
    threads: of the computation, by default one per core.
    device: "auto", "cpu", "cuda" or "cuda:N".
    model: registers in place of the pair optimiser, which then only refines its field.
    refine: how many steps; by default those of the model's card.
    fixed_labels, moving_labels: what is drawn on the images. Given for both they steer the registration, and a model that asks
    for labels gets them. fixed_points_mm, moving_points_mm: landmarks in one order, which steer it too.
    guide: False keeps the labels from steering.

    Raises UsageError `usage.preset`, `usage.init`, `usage.device`, `usage.combination`;
    InputError `image.flat`, `image.dims`, `mask.empty`, and those of `guides.guidance_of`; ProviderError `provider.cuda`.
    """
    _check(fixed, moving, preset, init)
    drawn = (fixed_labels, moving_labels) if guide else (None, None)
    guidance, notices = _guidance(fixed, moving, drawn, (fixed_points_mm, moving_points_mm), model)
    if model is not None:
        if linear_only or fixed_mask is not None or moving_mask is not None:
            raise UsageError("a model takes no masks and has no linear stage alone", code="usage.combination", hint=_WITHOUT)
        from jrscli.workflows.register_by_model import register_by_model

        return register_by_model(
            fixed,
            moving,
            model,
            init=init,
            refine=0 if refine is None and preset == "fast" else refine,
            preset=preset,
            fixed_labels=_for_model(model, "fixed_labels", fixed_labels, fixed),
            moving_labels=_for_model(model, "moving_labels", moving_labels, moving),
            guidance=guidance,
            notices=notices,
            seed=seed,
            threads=threads,
            device=device,
            progress=progress,
        )
    from jrscli.engine.device import use_threads
    from jrscli.engine.pair import optimise

    if threads:
        use_threads(threads)
    with turn():
        found = optimise(
            fixed,
            moving,
            preset=preset,
            init=init,
            linear_only=linear_only,
            fixed_weight=_weight(fixed_mask, "fixed"),
            moving_weight=_weight(moving_mask, "moving"),
            guidance=guidance,
            device=device,
            seed=seed,
            progress=progress,
        )
    linear = found.linear.affine
    if found.displacement is None or found.inverse is None:
        transform, inverse = Transform((linear,)), Transform((linear.inverse(),))
    else:
        transform, inverse = Transform((found.displacement, linear)), Transform((linear.inverse(), found.inverse))
    return registration_of(
        transform,
        inverse,
        fixed.geometry,
        init=found.linear.start,
        failed=found.linear.failed,
        steps=tuple(Step(step.name, step.seconds, step.facts) for step in found.steps),
        seed=seed,
        guided_by=guidance.words() if guidance else "",
        notices=notices,
    )


def _guidance(
    fixed: Volume,
    moving: Volume,
    labels: tuple[Drawn | None, Drawn | None],
    points: tuple[Points | None, Points | None],
    model: Predictor | None,
) -> tuple[Guidance | None, tuple[Notice, ...]]:
    """What steers the registration; labels of one side alone are for a model, or to be carried along."""
    check_sides(*points, "points")
    if labels[0] is not None and model is None:
        check_sides(*labels, "labels")
    both = (labels[0], labels[1]) if labels[0] is not None and labels[1] is not None else None
    pairs = (points[0], points[1]) if points[0] is not None and points[1] is not None else None
    if both is None and pairs is None:
        return None, ()
    return guidance_of(fixed.geometry, moving.geometry, labels=both, points_mm=pairs)


def _for_model(model: Predictor, role: str, drawn: Drawn | None, image: Volume) -> LabelMap | None:
    """What is drawn on an image by the numbers of the model's card, where its graph takes labels of this image."""
    if drawn is None:
        return None
    labels = labels_of_structures(drawn, image.geometry)[0] if isinstance(drawn, StructureSet) else drawn
    takes = model.registering is not None and role in model.card.graphs[model.registering].inputs
    return numbered_as(labels, model.card.labels) if takes else labels


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


__all__ = ["INITS", "PRESETS", "Registration", "Step", "register"]
