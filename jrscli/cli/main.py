"""The command tree of ``jrs``; each command has its own file."""

from __future__ import annotations

from functools import cache, partial
from typing import Annotated, Any

import typer

from jrscli.cli import (
    batch,
    convert,
    demo,
    doctor,
    evaluate,
    export,
    info,
    models,
    node,
    propagate_contours,
    register,
    report,
    rerun,
    segment,
    train,
    warp,
    watch,
)
from jrscli.cli.plain import PlainCommand

commands = typer.Typer(
    name="jrs",
    help="Register and segment medical images: DICOM and NIfTI in and out. Research use, not a medical device.",
    epilog="First:  jrs demo   then:  jrs register fixed.nii.gz moving.nii.gz",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from jrscli import __version__

        typer.echo(f"jrs {__version__}")
        raise typer.Exit


def _codes(asked: bool) -> None:
    if asked:
        from jrscli.cli.help_codes import EXIT_CODES

        for code, (name, when) in EXIT_CODES.items():
            typer.echo(f"{int(code):>3}  {name:<12} {when}")
        raise typer.Exit


@commands.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    codes: Annotated[bool, typer.Option("--help-codes", callback=_codes, is_eager=True, help="List the exit codes.")] = False,
) -> None:
    pass


_add = partial(commands.command, cls=PlainCommand)
_add("register", short_help="Move one image onto another.")(register.register)
_add("propagate-contours", short_help="Carry contours to daily images.")(propagate_contours.propagate_contours)
_add("segment", short_help="Contour an image by a model or by atlases.")(segment.segment)
_add("evaluate", short_help="Compare contours or landmarks: table, CSV, JSON.")(evaluate.evaluate)
commands.add_typer(batch.commands, name="batch", short_help="Run one of these on a folder of patients or a list.")
commands.add_typer(watch.commands, name="watch", short_help="Take each new patient folder once.")
_add("node", short_help="Be a DICOM node: receive, contour, send back.")(node.node)
_add("report", short_help="Show earlier runs as one page.")(report.report)
_add("rerun", short_help="Do a recorded run again and compare.")(rerun.rerun)
_add("warp", short_help="Apply a saved transform.")(warp.warp)
commands.add_typer(convert.commands, name="convert", short_help="Convert series, contours, fields, transforms.")
_add("info", short_help="Say what a file or folder is.")(info.info)
commands.add_typer(models.commands, name="models", short_help="List, describe, check, import models.")
_add("train", short_help="Train a method on a list of images.")(train.train)
_add("export", short_help="Turn a trained checkpoint into a model.")(export.export)
_add("demo", short_help="Try it all on a small phantom study.")(demo.demo)
_add("doctor", short_help="Check this machine.")(doctor.doctor)


@cache
def command() -> Any:
    """The parser of ``jrs``, made once: it takes longer than a small case."""
    return typer.main.get_command(commands)
