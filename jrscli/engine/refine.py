"""Refining a given field on its pair: the deformable stage's own steps, led by where the labels probably are in both images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from jrscli.engine.device import device_named
from jrscli.engine.diffeomorphic import Plan, descend
from jrscli.engine.features import MIND_RADIUS, mind
from jrscli.engine.folding import unfolded
from jrscli.nn.losses import FeatureDistance, LocalCorrelation

GUIDANCE = 1.0
"""Weight of the labels beside the similarity of the images."""
PLAN = Plan(step_voxels=0.6, update_sigma=1.0, smoothness=0.3, radius=2.0, noise=0.05)
"""Chosen on the validation part of the hippocampus set: shorter and smoother steps follow the labels less well."""


class Guided:
    """The similarity of the image channels, and 1 − the soft Dice of the label channels after them; minimised.

    A label that neither image shows counts as nothing.
    """

    def __init__(self, images: LocalCorrelation | FeatureDistance, labels: Float[Tensor, "1 c i j k"], guidance: float) -> None:
        self.images = images
        self.labels = labels
        self.sums = labels.sum((2, 3, 4))
        self.guidance = guidance

    def __call__(self, moved: Float[Tensor, "1 c i j k"]) -> Float[Tensor, ""]:
        """The loss of moved channels, the label channels last."""
        count = self.labels.shape[1]
        image, maps = moved[:, :-count], moved[:, -count:]
        overlap = (maps * self.labels).sum((2, 3, 4))
        both = maps.sum((2, 3, 4)) + self.sums
        dice = (2 * overlap + 1) / (both + 1)
        return self.images(image) + self.guidance * (1 - dice.mean())


def refine(
    field: Float32[ndarray, "3 i j k"],
    fixed: Float32[ndarray, "i j k"],
    moving: Float32[ndarray, "i j k"],
    spacing_mm: Sequence[float],
    *,
    steps: int,
    fixed_probabilities: Float32[ndarray, "c i j k"] | None = None,
    moving_probabilities: Float32[ndarray, "c i j k"] | None = None,
    same_contrast: bool = True,
    guidance: float = GUIDANCE,
    plan: Plan = PLAN,
    device: str = "auto",
    tick: Callable[[], None] = lambda: None,
) -> Float32[ndarray, "3 i j k"]:
    """The pull field (voxels) after ``steps`` steps more; it folds nowhere.

    fixed, moving: grey values on the grid of the field. fixed_probabilities, moving_probabilities: one map per label with the
    background first, on the same grid; both, or the images lead alone.
    """
    place = device_named(device)
    target, source = (_scaled(torch.from_numpy(image.copy())[None, None].to(place)) for image in (fixed, moving))
    start = torch.from_numpy(field.copy())[None].to(place)
    finest = min(s for s, n in zip(spacing_mm, fixed.shape, strict=True) if n > 1)
    coarseness = [s / finest for s in spacing_mm]
    similarity: LocalCorrelation | FeatureDistance
    if same_contrast:
        similarity = LocalCorrelation(target, [round(plan.radius / c) for c in coarseness], plan.noise)
    else:
        similarity = FeatureDistance(mind(target, MIND_RADIUS))
        source = mind(source, MIND_RADIUS)
    loss: Callable[[Tensor], Tensor] = similarity
    if fixed_probabilities is not None and moving_probabilities is not None:
        fixed_maps, moving_maps = (
            torch.from_numpy(maps[1:].copy())[None].to(place) for maps in (fixed_probabilities, moving_probabilities)
        )
        loss = Guided(similarity, fixed_maps, guidance)
        source = torch.cat([source, moving_maps], dim=1)
    found = descend(unfolded(start), source, loss, coarseness, plan, steps, tick)
    refined: Float32[ndarray, "3 i j k"] = unfolded(found)[0].cpu().numpy()
    return refined


def _scaled(image: Float[Tensor, "1 1 i j k"]) -> Float[Tensor, "1 1 i j k"]:
    low, high = image.min(), image.max()
    return (image - low) / (high - low).clamp_min(1e-6)
