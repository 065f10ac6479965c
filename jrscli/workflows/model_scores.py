"""What a model does on labelled images: the scores of its card, measured again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jrscli.metrics.overlap import count, dice
from jrscli.progress import Progress, silent
from jrscli.runtime.predict import Predictor
from jrscli.spatial.resample import resample_labels
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.register_by_model import register_by_model
from jrscli.workflows.segment_by_model import segment_by_model

PAIR_SEED = 7
Case = Callable[[], tuple[Volume, LabelMap]]
"""Reads an image and its true labels."""


def scored_pairs(cases: int, count: int) -> list[tuple[int, int]]:
    """``count`` ordered pairs (moving, fixed) of different cases, the same every time and for everybody."""
    every = [(a, b) for a in range(cases) for b in range(cases) if a != b]
    chosen = np.random.default_rng(PAIR_SEED).choice(len(every), min(count, len(every)), replace=False)
    return [every[k] for k in chosen]


def visit_pairs(patients: Sequence[str]) -> list[tuple[int, int]]:
    """The ordered pairs (moving, fixed) of cases that follow each other and are of one patient: the earlier visit moves."""
    return [(n, n + 1) for n in range(len(patients) - 1) if patients[n] == patients[n + 1]]


def registration_scores(
    predictor: Predictor,
    cases: Sequence[Case],
    pairs: Sequence[tuple[int, int]],
    refine: int | None,
    progress: Progress = silent,
) -> dict[str, float]:
    """``dice`` (mean over labels and pairs) and ``folding_percent``; labels are warped by nearest neighbour.

    A label that vanishes counts 0. refine: None is what the card says.
    """
    scores, folds = [], []
    for n, (a, b) in enumerate(pairs):
        progress("registration", n, len(pairs))
        (moving, moving_labels), (fixed, fixed_labels) = cases[a](), cases[b]()
        found = register_by_model(fixed, moving, predictor, refine=refine)
        moved = resample_labels(moving_labels, fixed.geometry, found.transform)
        scores.append(mean_dice(fixed_labels, moved, len(predictor.card.labels)))
        folds.append(found.folding_percent)
    progress("registration", len(pairs), len(pairs))
    return {"dice": float(np.mean(scores)), "folding_percent": float(np.mean(folds))}


def segmentation_scores(predictor: Predictor, cases: Sequence[Case], progress: Progress = silent) -> dict[str, float]:
    """``dice``: the mean over cases of the mean over their labels."""
    found = segmentation_dice(predictor, cases, progress)
    return {"dice": float(np.mean([np.mean(list(one.values())) for one in found]))}


def segmentation_dice(predictor: Predictor, cases: Sequence[Case], progress: Progress = silent) -> list[dict[int, float]]:
    """The Dice of every label that a case has, case by case."""
    found = []
    for n, case in enumerate(cases):
        progress("segmentation", n, len(cases))
        image, labels = case()
        found.append(label_dice(labels, segment_by_model(image, predictor).labels, len(predictor.card.labels)))
    progress("segmentation", len(cases), len(cases))
    return found


def label_dice(truth: LabelMap, found: LabelMap, labels: int) -> dict[int, float]:
    """The Dice of each label of 1 … ``labels`` − 1 that the truth has."""
    there = [n for n in range(1, labels) if truth.mask(n).any()]
    return {n: dice(count(truth.mask(n), found.mask(n))).value or 0.0 for n in there}


def mean_dice(truth: LabelMap, found: LabelMap, labels: int) -> float:
    """The mean of `label_dice`."""
    return float(np.mean(list(label_dice(truth, found, labels).values())))
