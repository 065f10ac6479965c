"""Which model fits an image: what a card excludes, and the choice where the user names none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jrscli.errors import ModelError, Notice
from jrscli.roles import INPUTS
from jrscli.runtime.card import DEMONSTRATION, Card
from jrscli.runtime.prepare import natural_shape
from jrscli.runtime.store import Model
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

Task = Literal["register", "segment"]
SMALLEST_SHARE = 0.5
"""An image that fills less of the card's grid than this, along any axis, shows something else."""
LARGEST_CROPPED = 2.0
"""How many times longer than the grid an image may be for a model that sees a crop of it, as it did in training."""
LARGER_THAN_ANY = 1.25
"""The same beside the largest image of the training, where the card tells it."""
MISSED = 0.25
"""The share of its labels that may be of another size in an image that a model knows."""
LEAST_SPREAD = 0.1
"""Grey values that span less of a window than this are in other units."""


@dataclass(frozen=True)
class Choice:
    """The model, or None where none fits, and the reason in words. others: models that would fit too."""

    model: Model | None
    reason: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What is known of an image before it is looked at. modality: of DICOM, else None."""

    geometry: Geometry
    modality: str | None


def choose_model(models: Iterable[Model], task: Task, images: Sequence[Subject], *, non_commercial: bool = False) -> Choice:
    """The model whose card fits the images: by task, modality, field of view, licence; the best scored one of several.

    An image that does not say its modality is taken only by a model that labels images and whose card says what the labels
    measure, since that can be checked in the image (see `unlike`). non_commercial: whether such licences are accepted.
    """
    fitting: list[Model] = []
    reasons: list[str] = []
    for model in models:
        reason = _against(model.card, task, images, non_commercial)
        if reason is None:
            fitting.append(model)
        elif reason:
            reasons.append(f"{model.card.name}: {reason}")
    if not fitting:
        return Choice(None, "; ".join(reasons) or "no model for this task is installed")
    fitting.sort(key=lambda model: (-_score(model.card, task), model.card.name))
    return Choice(fitting[0], _for(fitting[0].card, images), tuple(model.card.name for model in fitting[1:]))


def check_modality(model: Model, images: Sequence[Subject]) -> None:
    """Raise ModelError `value.modality` for a DICOM image that the card excludes."""
    allowed = model.card.modalities
    for image in images:
        if allowed and image.modality is not None and image.modality not in allowed:
            raise ModelError(
                f"{model.title} is for {' and '.join(allowed)}; an image is {image.modality}",
                code="value.modality",
                hint="leave --model out, or choose another one: jrs models list",
            )


def range_notice(model: Model, image: Volume) -> Notice | None:
    """`value.range` where the grey values cannot be in the units that the card's window is in."""
    for graph in model.card.graphs.values():
        for role, spec in graph.inputs.items():
            if INPUTS[role].kind != "image" or spec.window is None or spec.window.values is None:
                continue
            low, high = spec.window.values
            found = np.percentile(image.array[::2, ::2, ::2], (1, 99))
            seen = min(high, float(found[1])) - max(low, float(found[0]))
            if seen < LEAST_SPREAD * (high - low):
                return Notice(
                    "value.range",
                    f"grey values from {found[0]:.4g} to {found[1]:.4g}, where {model.title} expects {low:g} to {high:g}",
                )
    return None


def unlike(card: Card, volumes_cc: dict[str, float]) -> str | None:
    """Why the labels found in an image are not those of the images that the model knows; None where they are alike.

    Of many labels a few may be of another size: that is an organ the model missed, not another part of the body.
    """
    odd = [name for name, (low, high) in card.volumes_cc.items() if not low <= volumes_cc.get(name, 0.0) <= high]
    if len(odd) <= MISSED * len(card.volumes_cc):
        return None
    (low, high), found = card.volumes_cc[odd[0]], volumes_cc.get(odd[0], 0.0)
    return f"{odd[0]} measures {found:.3g} cm³, in the model's images {low:.3g} to {high:.3g}"


def _against(card: Card, task: Task, images: Sequence[Subject], non_commercial: bool) -> str | None:
    """Why the card does not fit; an empty text where it is for another task altogether, None where it fits."""
    if not (card.registers if task == "register" else card.segments) or _needs_more(card, task):
        return ""
    if card.use.startswith(DEMONSTRATION):
        return ""
    for image in images:
        if card.modalities and image.modality is not None and image.modality not in card.modalities:
            return f"for {' and '.join(card.modalities)}, not {image.modality}"
        if card.modalities and image.modality is None and not (card.volumes_cc and card.segments):
            return "the image does not say its modality"
        size = natural_shape(image.geometry, card.grid)
        if not _fits(card, size):
            return f"an image of {_times(size)} voxels where {_times(card.grid.size or ())} is the model's field of view"
    if "NC" in card.licence.upper().replace("_", "-").split("-") and not non_commercial:
        return f"its licence is {card.licence}: --accept-license"
    return None


def _needs_more(card: Card, task: Task) -> bool:
    """Whether the card asks for what two images (or one) and its own segmenter cannot give."""
    if card.contrasts:
        return True
    own = {"fixed", "moving", "image"}
    if card.segments:
        own |= {"fixed_labels", "moving_labels", "fixed_probabilities"}
    own |= set(card.template)
    return bool(set(card.requires) - own) if task == "register" else False


def _fits(card: Card, size: tuple[int, int, int]) -> bool:
    if card.grid.size is None or card.grid.patch is not None:
        return True
    axes = range(2 if card.grid.dims == 2 else 3)
    most: Sequence[float] = card.grid.size
    if card.grid.multiple is None:
        seen = card.grid.largest
        most = [LARGEST_CROPPED * n for n in card.grid.size] if seen is None else [LARGER_THAN_ANY * n for n in seen]
    return all(SMALLEST_SHARE * card.grid.size[n] <= size[n] <= most[n] for n in axes)


def _score(card: Card, task: Task) -> float:
    found = [
        part.values.get("dice", 0.0)
        for scores in card.scores.values()
        for part in (scores.registration if task == "register" else scores.segmentation,)
        if part is not None
    ]
    return max(found, default=0.0)


def _for(card: Card, images: Sequence[Subject]) -> str:
    known = [image.modality for image in images if image.modality is not None and card.modalities]
    words = [" and ".join(dict.fromkeys(known))] if known else []
    if card.grid.size is not None and card.grid.patch is None:
        size = natural_shape(images[0].geometry, card.grid)
        larger = any(n > m for n, m in zip(size, card.grid.size, strict=True)) and card.grid.dims == 3
        seen = f"it sees {_times(card.grid.size)} of the" if larger else ""
        words.append(f"{seen} {_times(size)} voxels".strip() + ("" if larger else f" fit its {_times(card.grid.size)}"))
    return "its card fits: " + ", ".join(words or ["any image"])


def _times(size: Sequence[int]) -> str:
    return "×".join(map(str, size))
