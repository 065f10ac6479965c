"""Register all frames of a cine to one of them by a model that remembers: the loop that its graph does not hold."""

from __future__ import annotations

from collections.abc import Sequence

from jrscli.progress import Progress, silent
from jrscli.runtime.pair import PairField
from jrscli.runtime.predict import Predictor
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume
from jrscli.workflows.register_by_model import Clock, likeness, made_less_alike
from jrscli.workflows.registration import Registration, registration_of


def register_sequence(
    frames: Sequence[Volume], reference: int, predictor: Predictor, *, seed: int = 0, progress: Progress = silent
) -> list[Registration | None]:
    """One registration per frame (frame = fixed, frame ``reference`` = moving); None for that frame itself.

    The model looks at the frames after the reference one after the other, then at those before it, backwards: each time from
    a state of zero, so that it follows the motion in time and nothing is assumed of a beat that would close.

    Raises what `Predictor` raises.
    """
    found: list[Registration | None] = [None] * len(frames)
    later, earlier = range(reference + 1, len(frames)), range(reference - 1, -1, -1)
    done = 0
    for order in (later, earlier):
        hidden = None
        for number in order:
            progress("motion", done, len(frames) - 1)
            done += 1
            clock = Clock()
            pair = predictor.pair(frames[reference], frames[number], AffineTransform.identity())
            field = predictor.register(pair, hidden=hidden)
            hidden = field.hidden
            clock.end("network", device=predictor.runner.device or "")
            found[number] = _turned_round(field, frames[number], predictor, clock, seed)
    progress("motion", len(frames) - 1, len(frames) - 1)
    return found


def _turned_round(found: PairField, frame: Volume, predictor: Predictor, clock: Clock, seed: int) -> Registration:
    """The network moves the frame onto the reference; what carries labels from the reference to the frame is the inverse."""
    before, after = likeness(found.pair, None), likeness(found.pair, found)
    field, back = found.both_ways()
    clock.end("inverse", correlation_before=before, correlation_after=after)
    still = AffineTransform.identity()
    return registration_of(
        Transform((back, still)),
        Transform((still, field)),
        frame.geometry,
        init="header (model)",
        failed=made_less_alike(before, after),
        steps=tuple(clock.steps),
        seed=seed,
        model=predictor.model.title,
    )
