"""``--model`` and ``--refine``: which model does the work, with the reason said and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli.run import Run
from jrscli.errors import Notice

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.runtime.predict import Predictor

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
AcceptLicense = Annotated[
    bool,
    typer.Option("--accept-license", help="Let models under a non-commercial licence be chosen too.", rich_help_panel=_PANEL),
]


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
) -> Predictor | None:
    """The model that was named, or that fits by its card; None where none does (or none is wanted).

    choosable: whether the other options leave room for a model; a named one is refused later, by what it cannot do.

    Raises ModelError `model.unknown`, `value.modality` and those of the card.
    """
    if model == "none":
        return None
    from jrscli.runtime.choose import Subject, check_modality, choose_model, range_notice
    from jrscli.runtime.predict import Predictor
    from jrscli.runtime.store import all_models, find_model

    subjects = [Subject(image.volume.geometry, image.modality) for image in images]
    if model != "auto":
        named = find_model(model)
        check_modality(named, subjects)
        predictor, reason = Predictor(named, device=device, threads=threads), "named"
    else:
        if not choosable:
            return None
        models, broken = all_models()
        run.note([Notice(error.code, f"{error.message}: left out") for error in broken])
        choice = choose_model(models, task, subjects, non_commercial=accept_license)
        run.talk.detail(f"models: {choice.reason}")
        if choice.model is None:
            run.record.facts["model"] = {"name": None, "reason": choice.reason}
            return None
        predictor, reason = Predictor(choice.model, device=device, threads=threads), choice.reason
        from jrscli.workflows.segment_by_model import unlike_images

        strange = unlike_images(predictor, *(image.volume for image in images))
        if strange is not None:
            run.talk.detail(f"models: {choice.model.card.name} fits by its card, but not what is in the images: {strange}")
            run.record.facts["model"] = {"name": None, "reason": f"{choice.model.card.name}: {strange}"}
            return None
    run.note([notice for notice in (range_notice(predictor.model, image.volume) for image in images) if notice])
    run.talk.say(f"model {predictor.model.title}: {reason}   ({predictor.card.use})")
    run.record.facts["model"] = {
        "name": predictor.card.name,
        "version": predictor.card.version,
        "sha256": predictor.model.sha256,
        "licence": predictor.card.licence,
        "reason": reason,
        "use": predictor.card.use,
    }
    return predictor


def note_device(run: Run, predictor: Predictor | None) -> None:
    """Record where the graphs really ran, and what was odd about it."""
    if predictor is None:
        return
    run.note(predictor.runner.notices)
    run.record.facts["model"]["device"] = predictor.runner.device
