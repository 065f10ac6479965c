"""Evaluate the contours of a cine: frame by frame, and what all frames add up to. Pure: no files, no printing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jrscli.errors import InputError, Notice
from jrscli.metrics.assessment import merged
from jrscli.metrics.beat import beat_values
from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.evaluate import check_grids, evaluate_labels


def evaluate_frames(
    reference: Sequence[LabelMap], prediction: Sequence[LabelMap], **settings: Any
) -> tuple[Evaluation, Evaluation]:
    """(one row per frame and structure, one row per structure with stroke volume and ejection fraction).

    Frames that the reference has no voxel in are taken as not drawn and left out; settings: of `evaluate_labels`.

    Raises InputError `cine.count` if one has more frames than the other, `labels.empty` if no frame is drawn; and what
    `evaluate_labels` raises.
    """
    if len(reference) != len(prediction):
        raise InputError(
            f"the reference has {len(reference)} frames, the prediction {len(prediction)}",
            code="cine.count",
            hint="give both for the same cine; a frame that was not drawn stays empty",
        )
    drawn = [n for n, frame in enumerate(reference) if frame.array.any()]
    if not drawn:
        raise InputError("no frame of the reference has a contour", code="labels.empty", hint="check that it is the right file")
    found = {f"frame {n}": evaluate_labels(reference[n], prediction[n], **settings) for n in drawn}
    labels = merged(found)
    beat = describe_beat(prediction, [frame if n in drawn else None for n, frame in enumerate(reference)])
    if len(drawn) < len(reference):
        words = f"{len(reference) - len(drawn)} of {len(reference)} frames have no contour in the reference: left out"
        labels = Evaluation(labels.kind, labels.rows, labels.facts, (*labels.notices, Notice("cine.undrawn", words)))
    return labels, beat


def describe_beat(frames: Sequence[LabelMap], reference: Sequence[LabelMap | None] | None = None) -> Evaluation:
    """One row per structure: stroke volume and ejection fraction, and in the details the volume of each frame in ml.

    They mean something for cavities that fill and empty; those of a wall are near zero.

    Raises GeometryError `grid.mismatch`.
    """
    names: dict[int, str] = {}
    for frame in [*(reference or ()), *frames]:
        if frame is not None:
            check_grids(frames[0].geometry, frame.geometry)
            names |= {number: frame.name(number) for number in frame.numbers() if number not in names}
    ours = _volumes(frames)
    theirs = _volumes(reference) if reference is not None else None
    rows = []
    for number in sorted(names):
        test = _of(ours, number)
        known = _of(theirs, number) if theirs is not None else None
        values, ends = beat_values(test, known)
        details: dict[str, object] = {"volumes_ml": test}
        if known is not None:
            details["reference_volumes_ml"] = known
        if ends:
            details |= {"end_diastole": ends[0], "end_systole": ends[1]}
        rows.append(Row(names[number], values, number if known is not None else None, number, details=details))
    return Evaluation("beat", tuple(rows), {"frames": len(frames)})


def _volumes(frames: Sequence[LabelMap | None]) -> list[dict[int, float] | None]:
    """The volume of each label in each frame, ml; None for a frame that is not there."""
    found: list[dict[int, float] | None] = []
    for frame in frames:
        if frame is None:
            found.append(None)
            continue
        numbers, counts = np.unique(frame.array, return_counts=True)
        each = counts * frame.geometry.voxel_volume_mm3 / 1000
        found.append({int(n): float(volume) for n, volume in zip(numbers, each, strict=True)})
    return found


def _of(volumes: Sequence[dict[int, float] | None], number: int) -> list[float | None]:
    return [None if one is None else one.get(number, 0.0) for one in volumes]
