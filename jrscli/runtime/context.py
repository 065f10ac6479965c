"""The context loop: a template finds the organs, crops of them are labelled, and the labels help the template to find them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from jrscli.progress import Progress, silent
from jrscli.runtime.field import sample
from jrscli.spatial.boxes import Box, box_about, fallen_back

Maps = Float32[np.ndarray, "c i j k"]
Run = Callable[[str, Mapping[str, Maps]], dict[str, Maps]]
"""``run(graph, inputs)``: the outputs of a graph by role."""
LEAST = 0.5
"""A carried label with less than this many voxels in all is lost."""


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass: the raw output of the graph that registers, the carried masks, each label's box, where the labels probably are.

    A label without a box (None) is one that the template does not have.
    """

    field: Maps
    carried: Float32[np.ndarray, "k i j k"]
    boxes: tuple[Box | None, ...]
    probabilities: Float32[np.ndarray, "k i j k"]


def in_context(
    run: Run,
    fixed: Maps,
    template: Maps,
    masks: Float32[np.ndarray, "k i j k"],
    reach: Float[np.ndarray, "k sides"],
    passes: int,
    *,
    displacement: Callable[[Maps], Maps],
    progress: Progress = silent,
) -> list[Pass]:
    """Every pass: the first one knows no labels of the fixed image, each next one those that the one before found.

    masks: of the template, one per label. reach: of each label's box, voxels (`spatial.boxes.box_about`).
    displacement: the field in voxels, from what the graph gives.
    """
    found: list[Pass] = []
    maps = np.zeros_like(masks)
    index = np.indices(fixed.shape[1:], dtype=np.float32)
    at_first = middles_of(masks)
    for done in range(passes):
        progress("context", done, passes)
        inputs = {"fixed": fixed, "fixed_probabilities": maps, "moving": template, "moving_labels": masks}
        raw = run("register", inputs)
        field = next(raw[role] for role in ("displacement", "velocity") if role in raw)
        carried = sample(masks, index + displacement(field))
        middles = fallen_back(middles_of(carried), at_first)
        boxes = tuple(
            None if np.isnan(middle).any() else box_about(middle.tolist(), reach[k].tolist(), fixed.shape[1:])
            for k, middle in enumerate(middles)
        )
        maps = np.stack([_found(run, fixed, maps[k], k, box) for k, box in enumerate(boxes)])
        found.append(Pass(field, carried, boxes, maps))
    progress("context", passes, passes)
    return found


def middles_of(masks: Float32[np.ndarray, "k i j k"]) -> Float[np.ndarray, "k 3"]:
    """The centroid of each mask, voxels; NaN where hardly anything is left of it."""
    out = np.full((len(masks), 3), np.nan)
    for n, mask in enumerate(masks):
        total = float(mask.sum(dtype=np.float64))
        if total >= LEAST:
            for axis in range(3):
                others = tuple(a for a in range(3) if a != axis)
                out[n, axis] = float(mask.sum(axis=others, dtype=np.float64) @ np.arange(mask.shape[axis])) / total
    return out


def _found(run: Run, fixed: Maps, before: Float32[np.ndarray, "i j k"], k: int, box: Box | None) -> np.ndarray:
    """Where label k probably is: labelled in its box alone, against the background alone."""
    out = np.zeros_like(before)
    if box is not None:
        logits = run("segment", {"image": fixed[(slice(None), *box)], "fixed_probabilities": before[box][None]})["logits"]
        out[box] = 1 / (1 + np.exp(np.clip(logits[0] - logits[k + 1], -60, 60)))
    return out


def with_background(maps: Float32[np.ndarray, "k i j k"]) -> Float32[np.ndarray, "c i j k"]:
    """The maps of labels that do not know each other, with a background before them.

    A label wins where it is more likely than not; where several are, the most probable one.
    """
    return np.concatenate([1 - maps.max(axis=0, keepdims=True), maps])
