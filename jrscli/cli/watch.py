"""``jrs watch``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from jrscli.cli import batch, options
from jrscli.cli.batch_words import TASK_WORDS, TaskCommand

commands = typer.Typer(
    help="Take each new patient folder once, when it has become quiet.",
    epilog="Example:  jrs watch propagate-contours incoming/ -o out",
    no_args_is_help=True,
)

Incoming = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where patient folders arrive.", show_default=False)]
Every = Annotated[float, typer.Option("--every", min=0.1, metavar="SECONDS", help="How often to look.")]
QuietFor = Annotated[
    float, typer.Option("--quiet-for", min=0.0, metavar="SECONDS", help="A folder is taken when nothing changed for so long.")
]
Once = Annotated[bool, typer.Option("--once", help="Take what is quiet now, and end: for cron.")]
_WHAT = {
    "register": "Register the images of each new patient folder",
    "propagate-contours": "Carry contours to the daily images of each new patient folder",
    "segment": "Contour the images of each new patient folder",
}


def _task(task: str) -> Callable[..., None]:
    """The command for one task."""

    def run(
        context: typer.Context,
        folder: Incoming,
        output: batch.Output,
        every: Every = 30.0,
        quiet_for: QuietFor = 60.0,
        once: Once = False,
        pair: batch.PairRule = options.PairName.planning,
        executor: batch.Executor = options.ExecutorName.local,
        scheduler: batch.Scheduler = None,
        jobs: batch.Jobs = None,
        timeout_per_case: batch.Timeout = None,
        retries: batch.Retries = 1,
        threads: options.Threads = None,
        progress: options.Progress = options.ProgressKind.auto,
        quiet: options.Quiet = False,
        verbose: options.Verbose = False,
        debug: options.Debug = False,
    ) -> None:
        from jrscli.cli.batch_run import Asked

        given: dict[str, Any] = {"jobs": jobs, "timeout_per_case": timeout_per_case, "retries": retries, "threads": threads}
        given |= {"executor": executor.value, "scheduler": scheduler}
        asked = Asked(task, folder, output, context.meta[TASK_WORDS], pair.value, **given)
        _watch(asked, every, quiet_for, once, quiet=quiet, verbose=verbose, progress=progress.value)

    run.__doc__ = (
        f"{_WHAT[task]} below FOLDER, when it is complete; the options of jrs {task} are understood, too.\n\n"
        "    A folder counts as complete when nothing in it changed for --quiet-for seconds. Results, quarantine and log are\n"
        f"    those of jrs batch {task}; Ctrl-C ends it, and a new start goes on where it was.\n\n"
        f"    Examples:\n\n      jrs watch {task} incoming/ -o out\n\n"
        f"      jrs watch {task} incoming/ -o out --once\n    "
    )
    return run


for _name in _WHAT:
    commands.command(_name, cls=TaskCommand, short_help=f"{_WHAT[_name]}.")(_task(_name))

State = frozenset[tuple[str, int, int]]


def _watch(asked: Any, every: float, quiet_for: float, once: bool, *, quiet: bool, verbose: bool, progress: Any) -> None:
    from jrscli.cli.batch_run import one_pass, write_summary
    from jrscli.cli.talk import Talk
    from jrscli.errors import InputError

    if not asked.cohort.is_dir():
        raise InputError(f"no such folder: {asked.cohort}", code="input.missing", hint="make it first, or check the path")
    taken: dict[Path, State] = {}
    with Talk(quiet=quiet, verbose=verbose, progress=progress) as talk:
        talk.say(f"watching {asked.cohort}; Ctrl-C ends")
        while True:
            states = {path: _state(path) for path in sorted(asked.cohort.iterdir()) if path.resolve() != asked.output.resolve()}
            now = time.time()
            still = {path: one for path, one in states.items() if one and now - max(t for _, _, t in one) / 1e9 >= quiet_for}
            if any(taken.get(path) != one for path, one in still.items()):
                try:
                    one_pass(asked, talk, leave_out=[path for path in states if path not in still])
                    write_summary(asked.output, asked.task)
                except InputError as error:
                    if error.code != "batch.nothing":
                        raise
                taken = still
            if once:
                return
            time.sleep(every)


def _state(folder: Path) -> State:
    """The files of a folder with their sizes and the times of their last change, and the folders' own."""
    found = set()
    for path in (folder, *folder.rglob("*")):
        try:
            about = path.stat()
        except OSError:  # it went away, or a link that leads nowhere
            continue
        found.add((str(path), about.st_size, about.st_mtime_ns))
    return frozenset(found)
