"""Contouring an image by labelled atlases: each atlas is registered to it, and their labels are fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import uniform_filter

from jrscli.errors import GeometryError, InputError
from jrscli.progress import Progress, silent
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.carry import pull, solid_of_mask
from jrscli.workflows.propagate import Mapping3D

if TYPE_CHECKING:
    from jrscli.workflows.register import Registration

WINDOW_MM = 9.0
"""Side of the cube in which image and atlas are compared."""
SHARPNESS = 4
"""The power of the local similarity: 0 is plain voting."""
SOFT_VOXELS = 1.5
"""Half the width of a soft border: atlases that differ by less meet in the middle, where they differ by more they vote."""
FLOOR = 0.02
"""No atlas is silenced altogether: where all fit badly they vote alike."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels on the grid of the image, the registrations (image = fixed) and each atlas' mean local similarity to it, 0 … 1."""

    labels: LabelMap
    registrations: tuple[Any, ...]
    similarities: tuple[float, ...]


def segment_by_atlas(
    image: Volume,
    atlases: Sequence[tuple[Volume, LabelMap]],
    *,
    registrations: Sequence[Registration | Mapping3D] | None = None,
    progress: Progress = silent,
    **register_options: Any,
) -> Segmentation:
    """The labels of the atlases carried to ``image``; several atlases vote where they fit best.

    Each label comes as a soft map from its signed distance, and its vote counts by the squared local correlation of image
    and warped atlas to the fourth power. With one atlas this is plain propagation.
    registrations: image is fixed, each atlas moving; made here with ``register_options`` if not given.

    Raises InputError `atlas.none`, GeometryError `atlas.grid` if an atlas and its labels have different grids; and what
    `register` raises. Source of the weighting: Artaechevarria et al., IEEE TMI 28(8), 2009, doi:10.1109/TMI.2009.2014372.
    """
    _check(atlases, registrations)
    found: list[Any] = []
    weights: list[Float32[np.ndarray, "i j k"] | None] = []
    similarities: list[float] = []
    for n, (atlas, _) in enumerate(atlases):
        progress("atlas", n, len(atlases))
        if registrations is None:
            from jrscli.workflows.register import register

            registration: Any = register(image, atlas, progress=progress, **register_options)
        else:
            registration = registrations[n]
        found.append(registration)
        similarity = _local_similarity(image, resample(atlas, image.geometry, registration.transform))
        similarities.append(float(similarity.mean()))
        weights.append(np.maximum(similarity, FLOOR) ** SHARPNESS if len(atlases) > 1 else None)
    progress("atlas", len(atlases), len(atlases))
    labels = _fused(image.geometry, [labels for _, labels in atlases], found, weights, progress)
    return Segmentation(labels, tuple(found), tuple(similarities))


def _check(atlases: Sequence[tuple[Volume, LabelMap]], registrations: Sequence[Any] | None) -> None:
    if not atlases:
        raise InputError("no atlas is given", code="atlas.none", hint="give --atlas IMAGE with --atlas-labels LABELS")
    if registrations is not None and len(registrations) != len(atlases):
        raise InputError(
            f"{len(atlases)} atlases and {len(registrations)} registrations",
            code="atlas.count",
            hint="give one registration for each atlas, or none",
        )
    for n, (atlas, labels) in enumerate(atlases):
        if not atlas.geometry.matches(labels.geometry, atol_mm=0.01):
            raise GeometryError(
                f"atlas {n + 1} and its labels lie on different grids",
                code="atlas.grid",
                hint="give the labels in the order of the atlases; each must have the grid of its image",
            )


def _fused(
    geometry: Geometry,
    maps: Sequence[LabelMap],
    registrations: Sequence[Any],
    weights: Sequence[np.ndarray | None],
    progress: Progress,
) -> LabelMap:
    """The label with the most votes in each voxel; background votes where no label of an atlas is.

    One label at a time, so that memory does not grow with their number.
    """
    numbers = sorted({number for labels in maps for number in labels.numbers()})
    best = _votes(None, geometry, maps, registrations, weights)
    all_votes = sum(1.0 if weight is None else weight for weight in weights)
    np.subtract(all_votes, best, out=best)
    out = np.zeros(geometry.shape, np.uint32)
    for done, number in enumerate(numbers):
        progress("fuse", done, len(numbers))
        votes = _votes(number, geometry, maps, registrations, weights)
        wins = votes > best
        out[wins] = number
        best[wins] = votes[wins]
    progress("fuse", len(numbers), len(numbers))
    names: dict[int, str] = {}
    for labels in reversed(maps):
        names.update(labels.names)
    return LabelMap(out, geometry, names)


def _votes(
    number: int | None,
    geometry: Geometry,
    maps: Sequence[LabelMap],
    registrations: Sequence[Any],
    weights: Sequence[np.ndarray | None],
) -> Float32[np.ndarray, "i j k"]:
    """Σ weight · soft label over the atlases; of any label for None. Soft: ½ on the border, 0 and 1 from 1.5 voxels away."""
    width = 2 * SOFT_VOXELS * float(np.mean(geometry.spacing_mm))
    total = np.zeros(geometry.shape, np.float32)
    for labels, registration, weight in zip(maps, registrations, weights, strict=True):
        solid = solid_of_mask(labels.array > 0 if number is None else labels.mask(number), labels.geometry)
        level = None if solid is None else pull(solid, geometry, registration.transform, registration.inverse, finer=False)
        if level is None:
            continue
        low = np.rint(geometry.world_to_index(level.geometry.origin_mm[None])[0]).astype(int)
        part = tuple(slice(o, o + n) for o, n in zip(low, level.geometry.shape, strict=True))
        soft = np.clip(0.5 + level.array / width, 0, 1)
        total[part] += soft if weight is None else soft * weight[part]
    return total


def _local_similarity(image: Volume, warped: Volume) -> Float32[np.ndarray, "i j k"]:
    """Squared correlation in a small cube round each voxel, 0 … 1: bright for dark or a shading does not matter."""
    size = [
        min(2 * round(WINDOW_MM / 2 / s) + 1, n | 1) if n > 1 else 1
        for s, n in zip(image.geometry.spacing_mm, image.geometry.shape, strict=True)
    ]
    a = image.array.astype(np.float32)
    b = warped.array.astype(np.float32)
    a -= a.mean()
    b -= b.mean()

    def mean(x: np.ndarray) -> np.ndarray:
        return np.asarray(uniform_filter(x, size, mode="nearest"))

    mean_a, mean_b = mean(a), mean(b)
    spread_a = np.maximum(mean(a * a) - mean_a**2, 0)
    spread_b = np.maximum(mean(b * b) - mean_b**2, 0)
    # flat places (air, noise) say nothing: there the correlation goes to zero, not to one
    quiet = 1e-3 * float(np.mean(spread_a)) * float(np.mean(spread_b)) + 1e-12
    return np.clip((mean(a * b) - mean_a * mean_b) ** 2 / (spread_a * spread_b + quiet), 0, 1).astype(np.float32)
