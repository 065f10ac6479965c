"""``jrs models``: which models there are, what they are, whether they are sound. Nothing is fetched from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli import model_choice, options
from jrscli.cli.plain import PlainCommand
from jrscli.cli.talk import Talk
from jrscli.errors import Notice

if TYPE_CHECKING:
    from jrscli.runtime.store import Model

commands = typer.Typer(
    help="List, describe, check, import and remove models.",
    epilog="Example:  jrs models list",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model of jrs models list, or a card.", show_default=False)]


@commands.command("list", cls=PlainCommand)
def list_models(
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """List the models at hand: those of the package and those that were imported.

    Examples:

      jrs models list

      jrs models list --json
    """
    from jrscli.runtime.store import all_models

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        models, broken = all_models()
        talk.warn(Notice(error.code, error.message) for error in broken)
        if json:
            talk.print_json({"models": [summary(model) for model in models], "broken": [error.code for error in broken]})
            return
        rows = [_row(model) for model in models]
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))] if rows else []
        for row in rows:
            typer.echo("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
        if not models:
            talk.say("no models; import one with: jrs models import FILE")


@commands.command(cls=PlainCommand)
def info(
    name: Name,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Describe one model: what it does, how it was trained and scored, its limits, and a command that runs it.

    Examples:

      jrs models info hippocampus-jrs

      jrs models info ./my-model.yaml --json
    """
    from jrscli.cli.model_info import document, lines
    from jrscli.runtime.store import find_model

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        model = find_model(name)
        if json:
            talk.print_json(document(model))
            return
        for line in lines(model):
            typer.echo(line)


@commands.command(cls=PlainCommand)
def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One model; all of them by default.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="With --scores: the data set's folder, or a data list.", show_default=False),
    ] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Measure the scores of the card again, on DATA.")] = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    progress: options.Progress = options.ProgressKind.auto,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Check models: every file against its sha256, every graph by its golden run; on request also the scores.

    Examples:

      jrs models verify

      jrs models verify hippocampus-jrs --json

    With --scores:  jrs models verify --scores NAME DATA
    """
    from jrscli.cli.model_check import check, check_scores
    from jrscli.errors import UsageError
    from jrscli.runtime.store import all_models, find_model

    with Talk(json_output=json, quiet=quiet, verbose=verbose, progress=progress.value) as talk:
        if data is not None and not scores:
            raise UsageError(
                "that is one name too many",
                code="usage.combination",
                hint="one model at a time, or none for all of them; its scores on DATA: --scores",
            )
        if scores and (data is None or name is None):
            raise UsageError(
                "--scores goes with a model and its data", code="usage.combination", hint="jrs models verify --scores NAME DATA"
            )
        if scores and data is not None:
            talk.finish(check_scores(talk, find_model(str(name)), data, device=device, threads=threads))
            return
        models, broken = ([find_model(name)], []) if name else all_models()
        if broken:
            raise broken[0]
        found = [check(talk, model, device=device, threads=threads) for model in models]
        talk.finish({"models": found})


@commands.command(cls=PlainCommand)
def score(
    name: Name,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data list, or the data set's folder.", show_default=False)],
    part: Annotated[options.Part, typer.Option("--part", help="Whose images.")] = options.Part.test,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="So many pairs are registered at most.")] = 40,
    refine: model_choice.Refine = None,
    context: model_choice.Context = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    progress: options.Progress = options.ProgressKind.auto,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Measure a model on labelled images: what its card should say under scores, as YAML.

    Choose settings on the validation part; score the test part once.

    Examples:

      jrs models score my-model data.yaml --part validation

      jrs models score my-model.yaml data.yaml --pairs 20 --json
    """
    from jrscli.cli.model_score import measure
    from jrscli.runtime.store import find_model

    with Talk(json_output=json, quiet=quiet, verbose=verbose, progress=progress.value) as talk:
        model = find_model(name)
        found = measure(talk, model, data, part.value, pairs, refine, device=device, threads=threads, context=context)
        if json:
            talk.finish({"name": model.card.name, "sha256": model.sha256, "scores": found})
        else:
            import yaml

            typer.echo(yaml.safe_dump({"scores": found}, sort_keys=False, allow_unicode=True), nl=False)
            talk.finish({})


@commands.command("import", cls=PlainCommand)
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="A card with its graphs beside it, or a zip of them.", show_default=False)
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model of this name.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Take a model into your folder of models, after all its checks.

    Examples:

      jrs models import my-model.zip

      jrs models import my-model.yaml --overwrite
    """
    from jrscli.runtime.install import import_model

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        model = import_model(source, overwrite=overwrite)
        talk.say(f"{model.title} is sound and can be used: --model {model.card.name}")
        talk.output("model", model.path)
        talk.finish(summary(model))


@commands.command(cls=PlainCommand)
def remove(
    name: Name,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Remove an imported model.

    Examples:

      jrs models remove my-model

      jrs models remove old-model --json
    """
    from jrscli.runtime.install import remove_model

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        folder = remove_model(name)
        talk.say(f"removed {folder}")
        talk.finish({"removed": name})


def _row(model: Model) -> list[str]:
    facts = summary(model)
    modalities, scores = ", ".join(facts["modalities"]) or "any", "; ".join(facts["scores"])
    return [model.title, " ".join(facts["does"]), modalities, facts["licence"], facts["origin"], scores]


def summary(model: Model) -> dict[str, Any]:
    """A model in one row."""
    card = model.card
    best = [
        f"{task} Dice {part.values['dice']:.3f} ({name}, {scores.split})"
        for name, scores in card.scores.items()
        for task, part in (("registration", scores.registration), ("segmentation", scores.segmentation))
        if part is not None and "dice" in part.values
    ]
    return {
        "name": card.name,
        "version": card.version,
        "does": [word for word, can in (("register", card.registers), ("segment", card.segments)) if can],
        "modalities": list(card.modalities),
        "licence": card.licence,
        "scores": best,
        "origin": model.origin,
        "sha256": model.sha256,
    }
