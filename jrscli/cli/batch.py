"""``jrs batch``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from jrscli.cli import options
from jrscli.cli.batch_words import TASK_WORDS, TaskCommand
from jrscli.cli.plain import PlainCommand

_CASES = "Which cases"
_RUNNING = "How they are run"

commands = typer.Typer(
    help="Run a command on a cohort: a folder of patients or a list of cases.",
    epilog="Example:  jrs batch propagate-contours patients/ -o out",
    no_args_is_help=True,
)

Cohort = Annotated[
    Path, typer.Argument(metavar="COHORT", help="Folder of patients, or a list of cases (.csv, .yaml).", show_default=False)
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for all results.", show_default=False, rich_help_panel="Common options")
]
PairRule = Annotated[
    options.PairName, typer.Option("--pair", help="Which series is moved onto which, told by headers.", rich_help_panel=_CASES)
]
Match = Annotated[
    list[str] | None,
    typer.Option(
        "--match",
        metavar="ROLE=PATTERN",
        help="Pair files by name after all: fixed='{case}/*_ED.nii.gz', once per role.",
        show_default=False,
        rich_help_panel=_CASES,
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option("--include-case", metavar="GLOB", help="Only these cases.", show_default=False, rich_help_panel=_CASES),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude-case", metavar="GLOB", help="Not these cases.", show_default=False, rich_help_panel=_CASES),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="The first N cases.", show_default=False, rich_help_panel=_CASES)
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="K/N", help="The K-th of N shares, for several machines.", show_default=False, rich_help_panel=_CASES
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the table of cases, and do nothing.", rich_help_panel=_CASES)]
Executor = Annotated[
    options.ExecutorName,
    typer.Option("--executor", help="Processes of this machine, or the workers of a Dask cluster.", rich_help_panel=_RUNNING),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask's scheduler: tcp://HOST:8786, or its file (.json).",
        show_default=False,
        rich_help_panel=_RUNNING,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        help="Cases at once, as far as memory does.",
        show_default="1, and the next is read meanwhile; dask: one per worker",
        rich_help_panel=_RUNNING,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout-per-case", min=0.1, metavar="SECONDS", help="Longest time.", show_default=False, rich_help_panel=_RUNNING
    ),
]
Retries = Annotated[
    int, typer.Option("--retries", min=0, help="New tries of a case whose process was lost.", rich_help_panel=_RUNNING)
]
MostFailures = Annotated[
    int | None,
    typer.Option(
        "--max-failures", min=1, metavar="N", help="Give up after N bad cases.", show_default=False, rich_help_panel=_RUNNING
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do all cases again, finished or not.", rich_help_panel=_RUNNING)]
Again = Annotated[bool, typer.Option("--retry-quarantine", help="Try quarantined cases again.", rich_help_panel=_RUNNING)]
_EXAMPLES = {
    "register": ("jrs batch register patients/ -o out --pair date", "jrs batch register cases.csv -o out --linear-only"),
    "propagate-contours": (
        "jrs batch propagate-contours patients/ -o out --dry-run",
        "jrs batch propagate-contours patients/ -o out --jobs 2",
    ),
    "segment": ("jrs batch segment images/ -o out --model hippocampus-jrs", "jrs batch segment images/ -o out --shard 2/8"),
    "evaluate": ("jrs batch evaluate cases.csv -o out --gate fail", "jrs batch evaluate cases.yaml -o out --limit 5"),
}
_WHAT = {
    "register": "Register each pair of images of a cohort",
    "propagate-contours": "Carry contours to the daily images of each patient of a cohort",
    "segment": "Contour each image of a cohort",
    "evaluate": "Judge each pair of contours of a list",
}


def _task(task: str) -> Callable[..., None]:
    """The command for one task."""

    def run(
        context: typer.Context,
        cohort: Cohort,
        output: Output,
        pair: PairRule = options.PairName.planning,
        match: Match = None,
        include_case: Include = None,
        exclude_case: Exclude = None,
        limit: Limit = None,
        shard: Shard = None,
        dry_run: DryRun = False,
        executor: Executor = options.ExecutorName.local,
        scheduler: Scheduler = None,
        jobs: Jobs = None,
        timeout_per_case: Timeout = None,
        retries: Retries = 1,
        max_failures: MostFailures = None,
        fresh: Fresh = False,
        retry_quarantine: Again = False,
        json: options.Json = False,
        threads: options.Threads = None,
        progress: options.Progress = options.ProgressKind.auto,
        quiet: options.Quiet = False,
        verbose: options.Verbose = False,
        debug: options.Debug = False,
    ) -> None:
        from jrscli.cli.batch_run import Asked, run_batch

        given: dict[str, Any] = {name: value for name, value in context.params.items() if name in Asked.__dataclass_fields__}
        given |= {"match": tuple(match or ()), "include": tuple(include_case or ()), "exclude": tuple(exclude_case or ())}
        given |= {
            "task": task,
            "words": context.meta[TASK_WORDS],
            "pair": pair.value,
            "executor": executor.value,
            "cohort": cohort,
            "output": output,
        }
        run_batch(Asked(**given), json=json, progress=progress.value, quiet=quiet, verbose=verbose)

    lines = "\n\n      ".join(_EXAMPLES[task])
    run.__doc__ = (
        f"{_WHAT[task]}; the options of jrs {task} are understood, too.\n\n"
        "    A finished case is not done again. batch.jsonl tells what became of each, batch.html shows it, worst first;\n"
        "    what cannot be done is in quarantine/ with the reason.\n\n"
        f"    Examples:\n\n      {lines}\n    "
    )
    return run


for _name in _WHAT:
    commands.command(_name, cls=TaskCommand, short_help=f"{_WHAT[_name]}.")(_task(_name))


@commands.command(cls=PlainCommand, short_help="Put the logs of shards together.")
def collect(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The output folder of jrs batch.", show_default=False)],
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Put the logs of all shards of a cohort together, and write its table and its page again.

    Examples:

      jrs batch collect out

      jrs batch collect out --json
    """
    from jrscli.cli.batch_run import collect_batch

    collect_batch(output, json=json, quiet=quiet, verbose=verbose)
