"""``jrs report``."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from jrscli.cli import options
from jrscli.cli.talk import Talk
from jrscli.errors import InputError


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Result folders of earlier runs, or their run.json.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.html", help="Where to [jrs-out/report.html].", show_default=False),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    exist: options.Exist = options.ExistRule.suffix,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Show earlier runs as one page: verdicts, figures and pictures of each, side by side.

    Examples:

      jrs report jrs-out/fixed

      jrs report monday/ tuesday/ -o week.html
    """
    from jrscli.io.output import atomic_path
    from jrscli.report.runs import EarlierRun, page_of_runs

    with Talk(quiet=quiet, verbose=verbose) as talk:
        found = [EarlierRun(*_read(path)) for path in runs]
        with atomic_path(output or Path("jrs-out") / "report.html", exist=exist.value) as (temporary, final):
            temporary.write_bytes(page_of_runs(found))
        talk.output("report", final)
        talk.finish(next_step=None if open_it else f"open {final} in a browser")
        if open_it:
            import webbrowser

            webbrowser.open(final.resolve().as_uri())


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any], bytes | None]:
    """The record of a run, its figures and its picture, where it has them."""
    from jrscli.io.content import existing
    from jrscli.io.run_record import RUN_FILE

    folder = existing(path) if path.is_dir() else existing(path).parent
    record = _json(folder / RUN_FILE)
    if not isinstance(record, dict) or "command" not in record:
        raise InputError(
            f"{path.name} holds no run", code="run.missing", hint=f"give a folder that jrs wrote: it has a {RUN_FILE}"
        )
    figures = _json(folder / "metrics.json")
    picture = folder / "overlay.png"
    return record, figures if isinstance(figures, dict) else {}, picture.read_bytes() if picture.is_file() else None


def _json(path: Path) -> Any:
    try:
        return jsonlib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
