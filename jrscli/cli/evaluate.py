"""``jrs evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli import options
from jrscli.cli.run import Results, Run, default_folder, stem_of
from jrscli.cli.talk import Talk
from jrscli.errors import InputError, UsageError

if TYPE_CHECKING:
    from jrscli.metrics.evaluation import Evaluation


def evaluate(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="What is taken as true.", show_default=False)],
    prediction: Annotated[Path, typer.Argument(metavar="PREDICTION", help="What is judged.", show_default=False)],
    image: Annotated[
        Path | None, typer.Option("--reference", help="Image whose grid two RTSTRUCTs are compared on.", show_default=False)
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Which metrics, with commas between them.", show_default=False)
    ] = None,
    nsd_tolerance: Annotated[
        float | None,
        typer.Option(metavar="MM", help="Tolerance of the surface Dice [largest voxel dimension].", show_default=False),
    ] = None,
    xfm: Annotated[
        Path | None, typer.Option(help="For landmarks: the transform that should bring them together.", show_default=False)
    ] = None,
    select: options.Select = None,
    output: options.Output = None,
    exist: options.Exist = options.ExistRule.suffix,
    json: options.Json = False,
    progress: options.Progress = options.ProgressKind.auto,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Compare two sets of contours (label images or RTSTRUCTs), or two lists of landmarks: table, CSV and JSON.

    Examples:

      jrs evaluate reference.nii.gz prediction.nii.gz

      jrs evaluate RS-true.dcm RS-found.dcm --reference daily-ct/ --json
    """
    names = [name.strip() for name in metrics.split(",") if name.strip()] if metrics else None
    with Talk(json_output=json, quiet=quiet, verbose=verbose, progress=progress.value) as talk:
        run = Run("evaluate", talk, {"metrics": names, "nsd_tolerance_mm": nsd_tolerance})
        evaluation = _evaluation(run, reference, prediction, image, xfm, names, nsd_tolerance, select)
        run.note(evaluation.notices)
        with run.results(default_folder(output, stem_of(reference, "evaluate")), exist.value) as results:
            if not results.skipped:
                write_metrics(results, evaluation)
        if json:
            from jrscli.report.tables import as_document

            talk.finish(as_document(evaluation))
        else:
            print_table(evaluation)
            talk.finish()


def write_metrics(results: Results, evaluation: Evaluation) -> None:
    """Write the metrics as JSON and CSV."""
    from jrscli.io.output import write_bytes
    from jrscli.report.tables import to_csv, to_json

    write_bytes(to_json(evaluation).encode(), results.add("metrics-json", "metrics.json"))
    write_bytes(to_csv(evaluation).encode(), results.add("metrics-csv", "metrics.csv"))


def print_table(evaluation: Evaluation) -> None:
    """The table of an evaluation on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from jrscli.report.tables import to_columns

    header, lines = to_columns(evaluation)
    table = Table(box=None, pad_edge=False, show_edge=False)
    for number, name in enumerate(header):
        table.add_column(Text(name), justify="left" if number in (0, len(header) - 1) else "right")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    console = Console()
    Console(width=None if console.is_terminal else 400).print(table)


def _evaluation(
    run: Run,
    reference: Path,
    prediction: Path,
    image: Path | None,
    xfm: Path | None,
    metrics: list[str] | None,
    tolerance: float | None,
    select: str | None,
) -> Evaluation:
    from jrscli.io.content import kind_of
    from jrscli.workflows.evaluate import evaluate_structures

    kinds = [kind_of(reference), kind_of(prediction)]
    if kinds == ["points", "points"]:
        return _landmarks(reference, prediction, xfm)
    if "points" in kinds:
        raise InputError(
            "landmarks can be compared with landmarks only", code="evaluate.kinds", hint="give two lists of points"
        )
    if xfm:
        raise UsageError("--xfm is for landmarks", code="usage.combination", hint="leave it out, or give two lists of points")
    grid = run.image("image", image, select=select) if image else None
    parts = [run.contours(role, path, grid) for role, path in (("reference", reference), ("prediction", prediction))]
    wanted: dict[str, Any] = {"metrics": metrics} if metrics else {}
    return evaluate_structures(
        parts[0], parts[1], grid.volume.geometry if grid else None, nsd_tolerance_mm=tolerance, progress=run.talk, **wanted
    )


def _landmarks(reference: Path, prediction: Path, xfm: Path | None) -> Evaluation:
    from jrscli.io.points import read_points
    from jrscli.io.transforms import read_transform
    from jrscli.workflows.evaluate_transform import evaluate_points

    fixed, labels = read_points(reference)
    moving, _ = read_points(prediction)
    return evaluate_points(fixed, moving, read_transform(xfm) if xfm else None, names=labels if all(labels) else None)
