"""Register two images by a model: the network's field, refined by the pair optimiser where that is asked for."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from jrscli.errors import Notice, UsageError
from jrscli.progress import Progress, silent
from jrscli.runtime.field import sample
from jrscli.runtime.pair import Pair, PairField
from jrscli.runtime.predict import Predictor
from jrscli.runtime.probabilities import Probabilities
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.turn import turn, waited
from jrscli.workflows.registration import Registration, Step, registration_of

if TYPE_CHECKING:
    from jrscli.engine.guidance import Guidance

LESS_ALIKE = 0.02
"""A field that lowers the correlation of the images by this much has failed."""
TICKS = 10


def register_by_model(
    fixed: Volume,
    moving: Volume,
    predictor: Predictor,
    *,
    init: str | AffineTransform = "auto",
    refine: int | None = None,
    preset: str = "balanced",
    fixed_labels: LabelMap | None = None,
    moving_labels: LabelMap | None = None,
    guidance: Guidance | None = None,
    notices: tuple[Notice, ...] = (),
    seed: int = 0,
    threads: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Registration:
    """The transform that moves ``moving`` onto ``fixed`` as the model sees it; see `jrscli.workflows.register.register`.

    refine: steps of the pair optimiser after the network, led by the labels that the model sees in both images, or by the maps
    that it aligns; by default those of the card. Asked for 0, no step of torch runs. preset: of the pair optimiser's last part,
    on the images' own grid, where the card asks for it. guidance: what else is known of the pair, for both.

    Raises what `Predictor` raises; UsageError `usage.refine`.
    """
    steps = predictor.card.refine if refine is None else refine
    if steps < 0:
        raise UsageError(f"{steps} steps of refinement", code="usage.refine", hint="give 0 or more")
    clock = Clock()
    start, failed = _start(fixed, moving, predictor, init, seed=seed, device=device, progress=progress)
    pair = predictor.pair(fixed, moving, start)
    clock.end("prepare", grid="×".join(map(str, pair.fixed_grid.shape)))
    given = fixed_labels is not None and moving_labels is not None
    needed = {role.partition("_")[2] for role in predictor.card.graphs[str(predictor.registering)].inputs}
    seen: tuple[Probabilities, Probabilities] | None = None
    if predictor.segmenting and (steps or (needed & {"labels", "probabilities"} and not given)):
        seen = predictor.segment_pair(pair, fixed, moving, progress)
        clock.end("segment")
    found = predictor.register(
        pair,
        fixed_labels=fixed_labels,
        moving_labels=moving_labels,
        fixed_probabilities=seen[0] if seen else None,
        moving_probabilities=seen[1] if seen else None,
        progress=progress,
    )
    if found.smooth:
        notices += (Notice("model.smooth", f"one smooth field in place of one per region: {found.smooth}"),)
    finishes = predictor.card.finish and refine != 0
    if guidance and not steps and not finishes and not (given and "labels" in needed):
        words = "labels and landmarks steer the steps of refinement only, and there are none"
        notices += (Notice("guide.unused", words),)
    if {"fixed", "moving"} <= set(found.probabilities):
        seen = (found.probabilities["fixed"], found.probabilities["moving"])
    before, after = likeness(pair, None), likeness(pair, found)
    clock.end("network", correlation_before=before, correlation_after=after, device=predictor.runner.device or "")
    if steps:
        from jrscli.engine.guidance import Guidance

        predicted = _as_guidance(seen, pair) if seen else Guidance()
        given_guides = guidance.brought(pair.fixed_grid, pair.start) if guidance else Guidance()
        found = _refined(found, predicted.joined(given_guides), steps, threads, device, progress)
        after = likeness(pair, found)
        led = "maps" if found.maps else "labels" if seen or guidance else "images"
        clock.end("refine", steps=steps, correlation_after=after, guided=led)
    failed = failed or made_less_alike(before, after)
    field, back = found.both_ways()
    clock.end("inverse")
    if finishes:
        field, back = _finished(fixed, moving, pair.start, field, guidance, preset, threads, device, clock, progress)
    registration = registration_of(
        Transform((field, pair.start)),
        Transform((pair.start.inverse(), back)),
        fixed.geometry,
        init=f"{predictor.card.grid.start} (model)" if init == "auto" else init if isinstance(init, str) else "file",
        failed=failed,
        steps=tuple(clock.steps),
        seed=seed,
        model=predictor.model.title,
        guided_by=guidance.words() if guidance and (steps or finishes) else "",
        notices=notices,
    )
    return replace(registration, seen=found.probabilities.get("fixed"))


def _start(
    fixed: Volume,
    moving: Volume,
    predictor: Predictor,
    init: str | AffineTransform,
    *,
    seed: int,
    device: str,
    progress: Progress,
) -> tuple[AffineTransform | None, str | None]:
    """Where the network starts (None: as the card says) and why that is not to be trusted, if it is not."""
    if isinstance(init, AffineTransform):
        return init, None
    if init == "header":
        return AffineTransform.identity(), None
    own = predictor.card.grid.start
    if (init == "auto" and own != "linear") or (init == "centers" and own == "centers"):
        return None, None
    if init == "centers":
        return AffineTransform.about(np.eye(3), np.zeros(3), moving.geometry.centre_mm - fixed.geometry.centre_mm), None
    from jrscli.engine.pair import optimise

    with turn():
        linear = optimise(fixed, moving, init=init, linear_only=True, seed=seed, device=device, progress=progress).linear
    return linear.affine, linear.failed


def _refined(
    found: PairField,
    guidance: Guidance | None,
    steps: int,
    threads: int | None,
    device: str,
    progress: Progress,
) -> PairField:
    from jrscli.engine.device import use_threads
    from jrscli.engine.refine import refine

    if threads:
        use_threads(threads)
    done = 0

    def tick() -> None:
        nonlocal done
        done += TICKS
        progress("refine", min(done, steps), steps)

    pair = found.pair
    progress("refine", 0, steps)
    with turn():
        array = refine(
            found.array,
            pair.fixed[0],
            pair.moving[0],
            pair.fixed_grid,
            steps=steps,
            guidance=guidance,
            maps=(found.maps["fixed"], found.maps["moving"]) if found.maps else None,
            device=device,
            tick=tick,
        )
    progress("refine", steps, steps)
    return replace(found, array=array, inverse=None)


def _finished(
    fixed: Volume,
    moving: Volume,
    start: AffineTransform,
    field: DisplacementField,
    guidance: Guidance | None,
    preset: str,
    threads: int | None,
    device: str,
    clock: Clock,
    progress: Progress,
) -> tuple[DisplacementField, DisplacementField]:
    """The network's field, improved on the images' own grid; what the user drew may steer it, what the network saw does not."""
    from jrscli.engine.device import use_threads
    from jrscli.engine.pair import finish

    if threads:
        use_threads(threads)
    with turn():
        field, back, steps = finish(
            fixed, moving, start, field, preset=preset, guidance=guidance, device=device, progress=progress
        )
    facts = {name: value for step in steps for name, value in step.facts.items()}
    clock.end("finish", preset=preset, **facts)
    return field, back


def _as_guidance(seen: tuple[Probabilities, Probabilities], pair: Pair) -> Guidance:
    """What the model sees in both images, background apart; the moving image lies in the fixed one's place already."""
    from jrscli.engine.guidance import Guidance

    fixed, moving = (tuple(Volume(channel, pair.fixed_grid) for channel in one.array[1:]) for one in seen)
    return Guidance(fixed, moving)


def made_less_alike(before: float, after: float) -> str | None:
    """Why a field is not to be trusted that changed the correlation of the images so; None where it did not fall."""
    if after >= before - LESS_ALIKE:
        return None
    return f"the field of the network makes the images less alike (correlation {before:.2f} before, {after:.2f} after)"


def likeness(pair: Pair, found: PairField | None) -> float:
    """The correlation of both images where at least one of them may be."""
    moved = pair.moving if found is None else sample(pair.moving, np.indices(pair.fixed_grid.shape, np.float32) + found.array)
    part = tuple(slice(n, size - n) for n, size in zip(pair.inside, pair.fixed_grid.shape, strict=True))
    a, b = pair.fixed[0][part].ravel(), moved[0][part].ravel()
    a, b = a - a.mean(), b - b.mean()
    return round(float(a @ b / max(float(np.sqrt((a @ a) * (b @ b))), 1e-12)), 4)


class Clock:
    """The steps that ran and their seconds."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._since = time.perf_counter() - waited()

    def end(self, name: str, **facts: float | str | int) -> None:
        """Note a step that has ended now, with what it found. What it waited for others does not count."""
        now = time.perf_counter() - waited()
        self.steps.append(Step(name, round(now - self._since, 3), facts))
        self._since = now
