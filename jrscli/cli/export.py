"""``jrs export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jrscli.cli import options
from jrscli.cli.talk import Talk
from jrscli.errors import UsageError


def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint, or the folder that jrs train wrote; with a segmenter also the card of a model.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the model: a-z, 0-9, hyphens [the method].", show_default=False)
    ] = None,
    details: Annotated[
        Path | None,
        typer.Option("--card", help="YAML file of what the card is to say besides: version, licence, limits, scores, cite, …"),
    ] = None,
    segmenter: Annotated[
        Path | None,
        typer.Option(
            "--segmenter",
            metavar="CHECKPOINT",
            help="Another training, of any recipe, whose network labels the images.",
            show_default=False,
        ),
    ] = None,
    second: Annotated[
        Path | None,
        typer.Option(
            "--second-segmenter",
            metavar="CHECKPOINT",
            help="One more training that labels the images: the mean of both counts (or second_share of --card).",
            show_default=False,
        ),
    ] = None,
    refine: Annotated[
        int | None, typer.Option("--refine", min=0, help="The model's default of refinement steps.", show_default=False)
    ] = None,
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="Keep weights as half-precision numbers: files of half the size.")
    ] = False,
    output: options.Output = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model of this name in the folder.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Turn CHECKPOINT into a model: the card NAME.yaml and its graphs NAME-GRAPH.onnx, which must compute what torch computes.

    Examples:

      jrs export runs/deepatlas --name my-deepatlas -o models

      jrs export runs/deepatlas --name my-deepatlas --card details.yaml

      jrs export models/my-model.yaml --segmenter runs/labels --card details.yaml

      jrs export models/my-model.yaml --second-segmenter runs/fine --half-weights
    """
    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        from jrscli.roles import SECOND, SEGMENT
        from jrscli.training import export as exporting
        from jrscli.training.details import CARD, read_details
        from jrscli.training.relabel import relabel

        wanted = read_details(details, name=name, refine=refine, half_weights=half_weights or None, source=source)
        folder = output or Path("jrs-out") / "models"
        exporting.refuse_existing(folder, wanted.name, overwrite=overwrite)
        others = {name: file for name, file in ((SEGMENT, segmenter), (SECOND, second)) if file is not None}
        if source.suffix != CARD:
            model = exporting.export(source, folder, wanted, others)
        elif len(others) == 1:
            ((graph_name, file),) = others.items()
            model = relabel(source, folder, wanted, file, graph_name)
        elif others:
            raise UsageError(
                "a finished model gets one segmenter at a time",
                code="usage.combination",
                hint="give --segmenter first, and --second-segmenter to the model that it makes",
            )
        else:
            raise UsageError(
                f"{source.name} is a model already",
                code="usage.combination",
                hint="give --segmenter or --second-segmenter CHECKPOINT, or a checkpoint",
            )
        talk.output("card", model.path)
        for graph in model.card.graphs.values():
            talk.output("graph", folder / graph.file)
        talk.finish({"model": model.title, "sha256": model.sha256}, next_step=f"jrs register FIXED MOVING --model {model.path}")
