"""``jrs propagate-contours``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jrscli.cli import contour_options, model_choice, options, privacy
from jrscli.cli import dicom_results as dicom
from jrscli.cli.carried import carry_to
from jrscli.cli.cine import carry_through
from jrscli.cli.cost import say_cost
from jrscli.cli.quality_mark import mark_contours
from jrscli.cli.register import failure_of
from jrscli.cli.registration_report import judge_registration
from jrscli.cli.run import Reading, Run, choose, default_folder
from jrscli.cli.second_estimate import Both, compare_both
from jrscli.cli.talk import Talk
from jrscli.errors import UsageError


class BodyRule(StrEnum):
    """How the patient's outline comes."""

    segment = "segment"
    propagate = "propagate"


def propagate_contours(
    planning: Annotated[
        Path, typer.Argument(metavar="PLANNING", help="Image that the contours were drawn on.", show_default=False)
    ],
    contours: Annotated[Path, typer.Argument(metavar="CONTOURS", help="RTSTRUCT, or label image.", show_default=False)],
    daily: Annotated[
        list[Path] | None, typer.Argument(metavar="DAILY", help="Images to carry them to.", show_default=False)
    ] = None,
    labelled_frame: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="PLANNING is a cine (4-D file, or folder of frames): the frame of the labels.", show_default=False
        ),
    ] = None,
    roi: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only these ROIs; * and ? allowed, repeatable.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Not these ROIs; repeatable.")] = None,
    body: Annotated[BodyRule, typer.Option(help="The outline: found in DAILY, or carried like the rest.")] = BodyRule.segment,
    holes: contour_options.Holes = contour_options.HolesRule.keyhole,
    simplify: contour_options.Simplify = 0.0,
    fill_gaps: contour_options.FillGaps = False,
    strict: contour_options.Strict = False,
    gate: options.Gate = None,
    report: options.Report = True,
    rename: contour_options.Rename = None,
    assume_aligned: contour_options.AssumeAligned = False,
    preset: options.Preset = options.PresetName.balanced,
    reg: dicom.Reg = None,
    linear_only: Annotated[bool, typer.Option("--linear-only", help="Stop after the linear stage.")] = False,
    model: model_choice.Model = "auto",
    refine: model_choice.Refine = None,
    accept_license: model_choice.AcceptLicense = False,
    both: Both = True,
    daily_contours: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Some of CONTOURS, drawn on DAILY: they steer.", show_default=False),
    ] = None,
    dose: Annotated[
        Path | None, typer.Option("--dose", metavar="FILE", help="RTDOSE of PLANNING, carried along.", show_default=False)
    ] = None,
    write_reg: dicom.WriteReg = dicom.RegKind.none,
    reg_accuracy: dicom.RegAccuracy = 0.1,
    write_seg: dicom.WriteSeg = False,
    seg_kind: dicom.SegKindOption = dicom.SegKindName.binary,
    select: options.Selects = None,
    resample_irregular: options.ResampleIrregular = False,
    assign_uids: options.AssignUids = False,
    output: options.Output = None,
    exist: options.Exist = options.ExistRule.suffix,
    deidentify: privacy.Deidentify = False,
    anonymise_rois: privacy.AnonymiseRois = False,
    show_phi: privacy.ShowPhi = False,
    json: options.Json = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    seed: options.Seed = 0,
    deterministic: options.Deterministic = False,
    progress: options.Progress = options.ProgressKind.auto,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Carry the contours of a planning image to one or more daily images.

    A DICOM daily series gets an RTSTRUCT that refers to it, other images a label file. Without DAILY and with
    --labelled-frame, PLANNING is a cine and the labels of one frame go to all its frames.

    Examples:

      jrs propagate-contours planning-ct/ RS.dcm daily-ct/

      jrs propagate-contours plan.nii.gz labels.nii.gz day1.nii.gz day2.nii.gz
    """
    threads = options.steady(threads, deterministic)
    chosen = {
        "preset": preset.value,
        "linear_only": linear_only,
        "model": model_choice.recorded(model),
        "refine": refine,
        "both": both,
        "body": body.value,
        "holes": holes.value,
        "simplify_mm": simplify,
        "fill_gaps": fill_gaps,
        "strict": strict,
        "renamed": rename is not None,
        "device": device,
        "seed": seed,
        "rois_chosen": bool(roi or exclude),
    }
    wanted = dicom.Wanted(reg, write_reg, reg_accuracy, write_seg, seg_kind)
    chosen |= wanted.options()
    settings = {"preset": preset.value, "linear_only": linear_only, "seed": seed, "threads": threads, "device": device}
    private = privacy.Privacy(deidentify, anonymise_rois, show_phi)
    with Talk(json_output=json, quiet=quiet, verbose=verbose, progress=progress.value) as talk:
        if daily_contours and (labelled_frame is not None or len(daily or ()) > 1):
            words = "--daily-contours steer one registration, and there are several"
            raise UsageError(words, code="usage.combination", hint="carry to the image they were drawn on in a run of its own")
        if not daily or labelled_frame is not None:
            if labelled_frame is None or daily:
                words = "DAILY and --labelled-frame exclude each other" if daily else "DAILY is missing"
                hint = "name the daily image; or for a cine: jrs propagate-contours CINE LABELS --labelled-frame 0"
                raise UsageError(words, code="usage.combination" if daily else "usage.missing", hint=hint)
            settings = {**settings, "refine": refine} if refine is not None else settings
            carry_through(
                planning,
                contours,
                labelled_frame,
                output,
                exist.value,
                talk,
                chosen,
                settings,
                model,
                report=report,
                privacy=private,
                deterministic=deterministic,
            )
            return
        renaming = contour_options.Renaming.from_file(rename)
        documents, failed, closed = [], None, None
        for number, path in enumerate(daily):
            run = Run(
                "propagate-contours",
                talk,
                chosen,
                threads,
                reading=Reading(resample_irregular, assign_uids),
                privacy=private,
                deterministic=deterministic,
            )
            plan = run.image("planning", planning, select=choose(planning, select, 0))
            source = run.contours("contours", contours, plan, assume_aligned=assume_aligned)
            # the gaps are filled by the workflow, in what is carried only
            source = contour_options.prepared(run, source, None, strict=strict, fill_gaps=False)
            image = run.image("daily", path, select=choose(path, select, number + 1), referred_by="a structure set")
            wanted.check(image, plan)
            drawn = run.contours("daily contours", daily_contours, image) if daily_contours else None
            start = dicom.start_of(run, reg, "auto", image, plan) if reg else "auto"
            predictor = model_choice.predictor_for(
                run,
                model,
                "register",
                [image, plan],
                device=device,
                threads=threads,
                accept_license=accept_license,
                choosable=not linear_only,
            )
            run.record.lap("read")
            if predictor is None:
                say_cost(talk, image, plan, preset.value, linear_only, threads, device)
            folder = default_folder(output, image.stem)
            if len(daily) > 1:
                folder = folder / f"daily-{number + 1}" if output else folder.with_name(f"{folder.name}-daily-{number + 1}")
            with run.results(folder, exist.value) as results:
                if not results.skipped:
                    carried = carry_to(
                        run,
                        results,
                        plan,
                        source,
                        image,
                        rois=roi,
                        exclude=exclude,
                        body=body.value,
                        holes=holes.value,
                        simplify_mm=simplify,
                        fill_gaps=fill_gaps,
                        renaming=renaming,
                        start=start,
                        wanted=wanted,
                        model=predictor,
                        refine=refine,
                        daily_contours=drawn,
                        **settings,
                    )
                    second = compare_both(
                        run,
                        results,
                        predictor if both else None,
                        carried,
                        image,
                        holes=holes.value,
                        simplify_mm=simplify,
                    )
                    model_choice.note_device(run, predictor)
                    if dose is not None:
                        grid, pull = image.volume.geometry, carried.registration.transform
                        dicom.warp_dose_file(run, results, dose, pull, grid, image, "dose_space-fixed")
                        run.record.lap("dose")
                    failed = failed or carried.registration.failed
                    mode = options.gate_mode(gate, strict)
                    if report or mode != "off":
                        judged = judge_registration(
                            run,
                            results,
                            carried.registration,
                            image,
                            plan,
                            structures=carried.structures if carried.labels is None else carried.labels,
                            carried=carried,
                            beside=drawn,
                            second=second,
                            gate=mode,
                            report=report,
                        )
                        closed = closed or judged
                        run.record.lap("report")
                    mark_contours(run, results, carried.registration.failed)
            documents.append(run.record.document())
        talk.finish(
            documents[0] if len(documents) == 1 else {"runs": documents},
            next_step=f"look at {results.folder / ('report.html' if report else 'overlay.png')}",
        )
        failure = failure_of(failed) or closed
        if failure:
            raise failure
