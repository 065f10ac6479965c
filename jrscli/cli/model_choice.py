"""``--model`` and ``--refine``: which model does the work, with the reason said and recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli.run import Run
from jrscli.errors import UsageError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.runtime.predict import Predictor
    from jrscli.workflows.model_choice import Pick

_PANEL = "Models"

Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME|CARD|auto|none", help="A model of jrs models list, or a card.", rich_help_panel=_PANEL
    ),
]
Refine = Annotated[
    int | None,
    typer.Option(
        "--refine",
        metavar="N",
        min=0,
        help="Steps of the pair optimiser after the network [as its card says].",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context",
        metavar="N",
        min=0,
        max=20,
        help="Rounds of the context loop after the first pass, for a model that has one [as its card says].",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
AcceptLicense = Annotated[
    bool,
    typer.Option("--accept-license", help="Let models under a non-commercial licence be chosen too.", rich_help_panel=_PANEL),
]


def _further(option: str, of: str) -> Any:
    words = f"A further contrast of {of}, for a model that takes several; repeatable."
    return typer.Option(option, metavar="FILE", help=words, show_default=False, rich_help_panel=_PANEL)


Contrast = Annotated[list[Path] | None, _further("--contrast", "IMAGE")]
FixedContrast = Annotated[list[Path] | None, _further("--fixed-contrast", "FIXED")]
MovingContrast = Annotated[list[Path] | None, _further("--moving-contrast", "MOVING")]


def need_model(predictor: Predictor | None, *contrasts: list[Path] | None) -> None:
    """Raise UsageError `usage.combination` where there are further contrasts and no model to look at them."""
    if predictor is None and any(contrasts):
        raise UsageError(
            "further contrasts are for models, and none registers or segments here",
            code="usage.combination",
            hint="name a model with --model, or leave the contrasts out",
        )


def recorded(model: str) -> str:
    """``--model`` as run.json holds it: a path is none of its business."""
    return "file" if "/" in model or "\\" in model or model.endswith((".yaml", ".yml")) else model


def predictor_for(
    run: Run,
    model: str,
    task: Any,
    images: list[ImageFile],
    *,
    device: str,
    threads: int | None,
    accept_license: bool = False,
    choosable: bool = True,
    context: int | None = None,
) -> Predictor | None:
    """The model that was named, or that fits by its card; None where none does (or none is wanted).

    choosable: whether the other options leave room for a model; a named one is refused later, by what it cannot do.
    context: rounds of its context loop.

    Raises ModelError `model.unknown`, `value.modality` and those of the card; UsageError `usage.context`.
    """
    if model == "none" or (model == "auto" and not choosable):
        return _without(None, context)
    from jrscli.workflows.model_choice import pick_model

    picked = pick_model(
        model,
        task,
        [(image.volume, image.modality) for image in images],
        device=device,
        threads=threads,
        non_commercial=accept_license,
        context=context,
    )
    return _without(note_model(run, picked), context)


def _without(predictor: Predictor | None, context: int | None) -> Predictor | None:
    """The model; raises UsageError `usage.context` where there is none, yet rounds of its loop are asked for."""
    if predictor is None and context is not None:
        words = "--context is for a model with a context loop, and none is at work here"
        raise UsageError(words, code="usage.context", hint="name one with --model, or leave --context out")
    return predictor


def note_model(run: Run, picked: Pick) -> Predictor | None:
    """Say and record which model does the work, and why."""
    run.note(picked.notices)
    predictor = picked.predictor
    if predictor is None:
        run.talk.detail(f"no model: {picked.reason}")
        run.record.facts["model"] = {"name": None, "reason": picked.reason}
        return None
    run.talk.say(f"model {predictor.model.title}: {picked.reason}   ({predictor.card.use})")
    run.record.facts["model"] = {
        "name": predictor.card.name,
        "version": predictor.card.version,
        "sha256": predictor.model.sha256,
        "licence": predictor.card.licence,
        "reason": picked.reason,
        "use": predictor.card.use,
    }
    return predictor


def note_device(run: Run, predictor: Predictor | None) -> None:
    """Record where the graphs really ran, and what was odd about it."""
    if predictor is None:
        return
    run.note(predictor.runner.notices)
    run.record.facts["model"]["device"] = predictor.runner.device
