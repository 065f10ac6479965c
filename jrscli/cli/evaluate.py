"""``jrs evaluate``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jrscli.cli import options
from jrscli.cli.run import Reading, Run, default_folder, stem_of
from jrscli.cli.talk import Talk


class Phantom(StrEnum):
    """Which phantom's limits the landmarks have to keep."""

    deformable = "deformable"
    rigid = "rigid"


def evaluate(
    reference: Annotated[
        Path | None, typer.Argument(metavar="REFERENCE", help="What is taken as true.", show_default=False)
    ] = None,
    prediction: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PREDICTION", help="What is judged; several are put side by side.", show_default=False),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            "--reference", help="Image whose grid RTSTRUCTs are compared on [the series beside them].", show_default=False
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="Which metrics, with commas between them; or all.", show_default=False),
    ] = None,
    nsd_tolerance: Annotated[
        float | None,
        typer.Option(metavar="MM", help="Tolerance of the surface Dice [largest voxel dimension].", show_default=False),
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Bring a prediction on another grid onto the reference's.")
    ] = False,
    trim_to_common: Annotated[
        bool, typer.Option("--trim-to-common", help="Leave out slices that only one of the two reaches.")
    ] = False,
    l2r: Annotated[bool, typer.Option("--l2r", help="Also HD95 in voxels, as Learn2Reg has it.")] = False,
    reader: Annotated[
        list[Path] | None, typer.Option(help="Contours of a second reader: what readers differ by.", show_default=False)
    ] = None,
    dose: Annotated[
        list[Path] | None,
        typer.Option(help="Dose for the histograms; a second one is the prediction's.", show_default=False),
    ] = None,
    dose_level: Annotated[
        list[float] | None, typer.Option(metavar="GY", help="Also the volume with this dose; repeatable.", show_default=False)
    ] = None,
    field: Annotated[
        Path | None, typer.Option(help="Transform fixed to moving (pull), to look at its folds.", show_default=False)
    ] = None,
    inverse_field: Annotated[Path | None, typer.Option(help="Its inverse: how well the two agree.", show_default=False)] = None,
    landmarks: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="FIXED MOVING", help="Points of both images.", show_default=False)
    ] = None,
    xfm: Annotated[Path | None, typer.Option(help="The same as --field.", show_default=False, hidden=True)] = None,
    tolerances: Annotated[
        Path | None, typer.Option(metavar="FILE|srs", help="The site's limits, YAML; srs: 1 mm.", show_default=False)
    ] = None,
    phantom: Annotated[Phantom | None, typer.Option(help="Limits for landmarks of a phantom.", show_default=False)] = None,
    gate: options.Gate = None,
    gate_rule: options.GateRules = None,
    strict: options.Strict = False,
    report: options.Report = True,
    select: options.Select = None,
    resample_irregular: options.ResampleIrregular = False,
    assign_uids: options.AssignUids = False,
    output: options.Output = None,
    exist: options.Exist = options.ExistRule.suffix,
    json: options.Json = False,
    deterministic: options.Deterministic = False,
    progress: options.Progress = options.ProgressKind.auto,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Judge contours (label images or RTSTRUCTs), landmarks, a field or doses: table, CSV, JSON, Markdown, report.

    Two folders are compared case by case, by the names of their files.

    Examples:

      jrs evaluate reference.nii.gz prediction.nii.gz

      jrs evaluate RS-true.dcm RS-found.dcm --reference daily-ct/ --gate fail
    """
    from jrscli.cli.evaluate_inputs import assess
    from jrscli.cli.evaluate_output import judge, print_assessment, write_metrics
    from jrscli.cli.evaluate_parts import Asked

    names = _metrics(metrics, l2r)
    rule = options.gate_mode(gate, strict)
    asked = Asked(
        reference,
        prediction or (),
        image,
        names,
        nsd_tolerance,
        resample,
        trim_to_common,
        reader or (),
        dose or (),
        dose_level or (),
        field or xfm,
        inverse_field,
        landmarks,
        tolerances,
        gate_rule or (),
        phantom.value if phantom else "",
        select,
    )
    chosen = {
        "metrics": names,
        "nsd_tolerance_mm": nsd_tolerance,
        "resample": resample,
        "trim_to_common": trim_to_common,
        "gate": rule,
        "rules": len(asked.rules),
    }
    with Talk(json_output=json, quiet=quiet, verbose=verbose, progress=progress.value) as talk:
        run = Run("evaluate", talk, chosen, reading=Reading(resample_irregular, assign_uids), deterministic=deterministic)
        found, material = assess(run, asked)
        for evaluation in found.evaluations:
            run.note(evaluation.notices)
        talk.close_bar()
        failure = judge(run, found.verdict, found.v_mm, rule)
        stem = stem_of(reference, "evaluate") if reference else "evaluate"
        with run.results(default_folder(output, stem), exist.value) as results:
            if not results.skipped:
                write_metrics(results, found)
                if report:
                    from jrscli.cli.evaluate_report import write_report

                    write_report(run, results, found, material)
        if json:
            from jrscli.report.tables import as_document

            talk.finish(as_document(found))
        else:
            print_assessment(found)
            talk.finish(next_step=f"look at {results.folder / 'report.html'}" if report and not results.skipped else None)
        if failure:
            raise failure


def _metrics(text: str | None, l2r: bool) -> list[str] | None:
    """The metrics that were named, None for the usual ones."""
    from jrscli.metrics.compare import DEFAULT_METRICS, LABEL_METRICS

    names = [name.strip() for name in text.split(",") if name.strip()] if text else None
    if names == ["all"]:
        names = [name for name in LABEL_METRICS if name != "hd95_vox_l2r"]
    if l2r:
        names = [*(names or DEFAULT_METRICS), "hd95_vox_l2r"]
    return names
