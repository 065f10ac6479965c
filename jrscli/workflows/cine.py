"""Labels of one frame of a cine carried to all its frames. Pure: no files, no printing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jrscli.errors import InputError, UsageError
from jrscli.progress import Progress, silent
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.propagate import propagate

if TYPE_CHECKING:
    from jrscli.runtime.predict import Predictor


@dataclass(frozen=True, eq=False)
class CinePropagation:
    """One label map per frame; registrations (frame = fixed, labelled frame = moving), None for the labelled frame itself."""

    labels: tuple[LabelMap, ...]
    registrations: tuple[Any, ...]


def propagate_cine(
    frames: Sequence[Volume],
    labels: LabelMap,
    labelled: int = 0,
    *,
    model: Predictor | None = None,
    progress: Progress = silent,
    **register_options: Any,
) -> CinePropagation:
    """The labels of frame ``labelled`` on every frame, each registered to the labelled one directly: errors do not add up.

    model: registers in place of the pair optimiser; one that remembers goes through the frames in their order.

    Raises UsageError `cine.frame` for a frame that is not there, InputError `cine.grid` if the labels have another grid.
    """
    if not 0 <= labelled < len(frames):
        raise UsageError(
            f"there is no frame {labelled} among {len(frames)}",
            code="cine.frame",
            hint=f"frames count from 0 to {len(frames) - 1}",
        )
    source = frames[labelled]
    if not labels.geometry.matches(source.geometry):
        raise InputError(
            "the labels and the frames of the cine lie on different grids",
            code="cine.grid",
            hint="give the labels of one of its frames",
        )
    known: list[Any] = [None] * len(frames)
    if model is not None and model.remembers:
        if register_options.get("refine") or register_options.get("linear_only"):
            raise UsageError(
                f"{model.model.title} goes through the frames by itself: no refinement, no linear stage alone",
                code="usage.combination",
                hint="leave --refine and --linear-only out, or name no model",
            )
        from jrscli.workflows.register_sequence import register_sequence

        known = register_sequence(frames, labelled, model, seed=register_options.get("seed", 0), progress=progress)
    else:
        register_options["model"] = model
    carried: list[LabelMap] = []
    registrations: list[Any] = []
    for number, frame in enumerate(frames):
        progress("frames", number, len(frames))
        if number == labelled:
            carried.append(labels)
            registrations.append(None)
            continue
        found = propagate(
            source, labels, frame, registration=known[number], body="propagate", progress=progress, **register_options
        )
        if found.labels is None:
            raise AssertionError("labels were given, so labels come back")
        carried.append(found.labels)
        registrations.append(found.registration)
    progress("frames", len(frames), len(frames))
    return CinePropagation(tuple(carried), tuple(registrations))
