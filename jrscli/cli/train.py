"""``jrs train``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from jrscli.cli import options
from jrscli.cli.talk import Talk
from jrscli.errors import UsageError


def train(
    method: Annotated[
        str | None, typer.Argument(metavar="METHOD", help="The recipe, for example deepatlas.", show_default=False)
    ] = None,
    data: Annotated[Path | None, typer.Argument(metavar="DATA", help="The data list, a YAML file.", show_default=False)] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say which recipes there are, and train nothing.")] = False,
    root: Annotated[
        Path | None, typer.Option("--root", help="Folder of the images [beside the data list].", show_default=False)
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file of settings.", show_default=False)] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="One setting of the method, training.KEY of the loop, data.KEY of the data list; repeatable.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the output folder.")] = False,
    output: options.Output = None,
    json: options.Json = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of what is random [0].", show_default=False)] = None,
    progress: options.Progress = options.ProgressKind.auto,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Train METHOD on the images of DATA; the folder gets checkpoint.pt, log.csv and config.yaml.

    A training that was stopped goes on with --resume as if it had not been. Several GPUs: torchrun -m jrscli train …

    Examples:

      jrs train --list

      jrs train deepatlas data.yaml -o runs/deepatlas

      jrs train deepatlas data.yaml --set training.seed=1 -o runs/second
    """
    # of several processes that train one model (torchrun) the first one talks
    first = os.environ.get("RANK", "0") == "0"
    shown = progress if first else options.ProgressKind.none
    with Talk(json_output=json, quiet=quiet or not first, verbose=verbose, progress=shown.value) as talk:
        if list_:
            _list(talk)
            return
        if method is None or data is None:
            raise UsageError(
                "METHOD and DATA are needed", code="usage.missing", hint="jrs train METHOD data.yaml; recipes: jrs train --list"
            )
        from jrscli.engine.device import device_named, use_threads
        from jrscli.training import checkpoint, log, run
        from jrscli.training.distributed import own_device
        from jrscli.training.settings import merged, parse_settings, read_settings

        given = parse_settings(sets or [])
        if seed is not None:
            given["training"] = {"seed": seed, **given["training"]}
        settings = merged(read_settings(config), given) if config else given
        if threads:
            use_threads(threads)

        def scored(stage: str, rounds: int, scores: Mapping[str, float]) -> None:
            talk.say(f"{stage} {rounds}  " + "  ".join(f"{name} {value:.4f}" for name, value in scores.items()))

        done = run.train(
            method,
            data,
            output or Path("jrs-out") / method,
            config=settings["config"],
            training=settings["training"],
            changes=settings["data"],
            root=root,
            resume=resume,
            device=own_device(device_named(device)),
            progress=talk,
            scored=scored,
        )
        if not first:
            return
        for kind, name in (("checkpoint", checkpoint.FILE), ("log", log.FILE), ("config", run.CONFIG_FILE)):
            talk.output(kind, done.folder / name)
        talk.finish({"scores": dict(done.scores)}, next_step=f"jrs export {done.folder}")


def _list(talk: Talk) -> None:
    """Print the recipes."""
    from jrscli.cli.recipe_list import document, found, lines

    listed = found()
    if talk.json_output:
        talk.print_json(document(listed))
        return
    for recipe in listed:
        for line in lines(recipe):
            typer.echo(line)
