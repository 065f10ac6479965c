"""Contouring an image by a model, and telling whether it is an image that the model knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from jrscli.progress import Progress, silent
from jrscli.runtime.choose import unlike
from jrscli.runtime.predict import Predictor
from jrscli.runtime.probabilities import Probabilities
from jrscli.spatial.volume import LabelMap, Volume


@dataclass(frozen=True, eq=False)
class ModelSegmentation:
    """Labels on the grid of the image.

    volumes_cc: of each label, cm³. confidence: the mean probability of each label where it won. outside_percent: the share of
    the image that the model's grid does not reach. unlike: why the image is not of the kind that the model knows, or None.
    agreement: as in the card, the least Dice with a right contour, by label.
    """

    labels: LabelMap
    volumes_cc: Mapping[str, float]
    confidence: Mapping[str, float]
    outside_percent: float
    unlike: str | None
    model: str
    agreement: Mapping[str, float] = field(default_factory=dict)


def segment_by_model(image: Volume, predictor: Predictor, *, progress: Progress = silent) -> ModelSegmentation:
    """The labels that the model sees in the image.

    Raises what `Predictor.segment` raises.
    """
    return segmentation_of(predictor.segment(image, progress=progress), image, predictor)


def segmentation_of(found: Probabilities, image: Volume, predictor: Predictor) -> ModelSegmentation:
    """The same of probabilities that a model gave already: while it registered."""
    labels = found.labels(image.geometry)
    volumes = volumes_cc(labels)
    return ModelSegmentation(
        labels,
        volumes,
        found.confidence(),
        _outside_percent(image, found.geometry.corners_mm),
        unlike(predictor.card, volumes),
        predictor.model.title,
        predictor.card.agreement,
    )


def unlike_images(predictor: Predictor, *images: Volume) -> str | None:
    """Why one of the images is not of the kind that the model knows, told by what its segmenter finds; None if all are."""
    if predictor.segmenting is None or not predictor.card.volumes_cc:
        return None
    for image in images:
        reason = unlike(predictor.card, volumes_cc(predictor.segment(image).labels(image.geometry)))
        if reason:
            return reason
    return None


def volumes_cc(labels: LabelMap) -> dict[str, float]:
    """The volume of each named label, cm³."""
    counts = np.bincount(labels.array.ravel(), minlength=max(labels.names, default=0) + 1)
    return {name: round(float(counts[n]) * labels.geometry.voxel_volume_mm3 / 1000, 4) for n, name in labels.names.items()}


def _outside_percent(image: Volume, corners_mm: np.ndarray) -> float:
    index = image.geometry.world_to_index(corners_mm)
    low, high = (
        np.maximum(index.min(axis=0) - 0.5, -0.5),
        np.minimum(index.max(axis=0) + 0.5, np.array(image.geometry.shape) - 0.5),
    )
    share = float(np.prod(np.clip((high - low) / image.geometry.shape, 0, 1)))
    return round(100 * (1 - share), 3)
