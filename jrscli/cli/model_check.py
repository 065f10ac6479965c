"""Checking models: files and golden runs, and the scores of a card measured again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.cli.talk import Talk
from jrscli.errors import ModelError, UsageError

if TYPE_CHECKING:
    from jrscli.runtime.card import Score
    from jrscli.runtime.store import Model

TOLERANCE = 1e-3


def check(talk: Talk, model: Model, *, device: str, threads: int | None) -> dict[str, Any]:
    """What the checks of one model found; says a line for each graph.

    Raises ModelError with what is wrong first.
    """
    from jrscli.runtime.golden import check_golden
    from jrscli.runtime.session import Session

    model.check_files()
    graphs = {}
    for name in model.card.graphs:
        session = Session(model, name, device, threads)
        talk.warn(session.notices)
        since = time.perf_counter()
        check_golden(session)
        seconds = time.perf_counter() - since
        graphs[name] = {"device": session.device, "seconds": round(seconds, 3)}
        talk.say(f"{model.title}  {name}: files and golden run good on {session.device} ({seconds:.2f} s)")
    return {"name": model.card.name, "version": model.card.version, "sha256": model.sha256, "graphs": graphs}


def check_scores(talk: Talk, model: Model, data: Path, *, device: str, threads: int | None) -> dict[str, Any]:
    """The scores of the card measured again, beside what it says.

    Raises ModelError `model.scores` where one differs by more than 0.001.
    """
    from jrscli.cli.model_score import cases_of, use_threads
    from jrscli.runtime.predict import Predictor
    from jrscli.workflows.model_scores import registration_scores, scored_pairs, segmentation_scores, visit_pairs

    check(talk, model, device=device, threads=threads)
    if not model.card.scores:
        raise ModelError(f"the card of {model.title} holds no scores", code="model.scores", hint="choose another model")
    predictor = Predictor(model, device=device, threads=threads)
    use_threads(threads)
    found: dict[str, Any] = {}
    worst = 0.0
    for name, scores in model.card.scores.items():
        cases, patients, kind, _ = cases_of(model, data, scores.split)
        measured: dict[str, dict[str, float]] = {}
        if scores.registration:
            count = scores.registration.n
            pairs = visit_pairs(patients)[:count] if kind == "visits" else scored_pairs(len(cases), count)
            for metric, steps in _refinements(model, scores.registration):
                values = registration_scores(predictor, cases, pairs, steps, talk)
                measured.setdefault("registration", {})[metric] = values["dice"]
                if metric == "dice" and "folding_percent" in scores.registration.values:
                    measured["registration"]["folding_percent"] = values["folding_percent"]
        if scores.segmentation:
            if len(cases) != scores.segmentation.n:
                raise UsageError(
                    f"{len(cases)} cases where the card's scores are of {scores.segmentation.n}",
                    code="usage.data",
                    hint="give the data set that the card names, with the same split",
                )
            measured["segmentation"] = segmentation_scores(predictor, cases, talk)
        talk.close_bar()
        for task, part in (("registration", scores.registration), ("segmentation", scores.segmentation)):
            for metric, value in measured.get(task, {}).items():
                told = part.values.get(metric) if part else None
                talk.say(f"{name} ({scores.split})  {task} {metric}: {value:.4f}, the card says {told}")
                worst = max(worst, abs(value - told)) if told is not None else worst
        found[name] = measured
    if worst > TOLERANCE:
        raise ModelError(
            f"a score differs from the card's by {worst:.4f} where {TOLERANCE:g} is allowed",
            code="model.scores",
            hint="another data set, or a model that is not the one its card describes",
        )
    return {"name": model.card.name, "sha256": model.sha256, "scores": found, "largest_difference": round(worst, 6)}


def _refinements(model: Model, score: Score) -> list[tuple[str, int | None]]:
    """The metrics that are the Dice after some steps of refinement: the card's own (None), and ``dice_refine_N``."""
    found: list[tuple[str, int | None]] = []
    for metric in score.values:
        if metric == "dice":
            found.append((metric, None))
        elif metric.startswith("dice_refine_") and metric.removeprefix("dice_refine_").isdigit():
            found.append((metric, int(metric.removeprefix("dice_refine_"))))
    return found
