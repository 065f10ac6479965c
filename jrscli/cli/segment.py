"""``jrs segment``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli import dicom_results as dicom
from jrscli.cli import model_choice, options, privacy
from jrscli.cli.quality_mark import mark_contours
from jrscli.cli.register import describe, failure_of
from jrscli.cli.run import Reading, Results, Run, default_folder
from jrscli.cli.segment_model import no_model, segment_with
from jrscli.cli.segment_report import judge_atlas_segmentation
from jrscli.cli.talk import Talk
from jrscli.errors import UsageError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.spatial.volume import Volume
    from jrscli.workflows.segment import Segmentation


def segment(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image to be contoured.", show_default=False)],
    atlas: Annotated[
        list[Path] | None, typer.Option("--atlas", help="Image with known labels; repeatable.", show_default=False)
    ] = None,
    atlas_labels: Annotated[
        list[Path] | None,
        typer.Option("--atlas-labels", help="Its labels, in the order of --atlas; repeatable.", show_default=False),
    ] = None,
    model: model_choice.Model = "auto",
    context: model_choice.Context = None,
    contrast: model_choice.Contrast = None,
    accept_license: model_choice.AcceptLicense = False,
    preset: options.Preset = options.PresetName.balanced,
    gate: options.Gate = None,
    strict: options.Strict = False,
    report: options.Report = False,
    write_seg: dicom.WriteSeg = False,
    seg_kind: dicom.SegKindOption = dicom.SegKindName.binary,
    select: options.Select = None,
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
    """Contour IMAGE by a model, or by one or more labelled atlases, which are registered to it and vote.

    A DICOM series gets an RTSTRUCT that refers to it, other images a label file.

    Examples:

      jrs segment image.nii.gz --model hippocampus-jrs

      jrs segment image.nii.gz --atlas a.nii.gz --atlas-labels a-seg.nii.gz

      jrs segment ct-folder/ --atlas a.mha --atlas-labels a-seg.mha -o out
    """
    atlas, atlas_labels = atlas or [], atlas_labels or []
    if atlas and model not in ("auto", "none"):
        raise UsageError("--model and --atlas both say how to segment", code="usage.combination", hint="leave one of them out")
    if len(atlas) != len(atlas_labels):
        raise UsageError(
            f"{len(atlas)} --atlas and {len(atlas_labels)} --atlas-labels",
            code="atlas.count",
            hint="give one --atlas-labels for each --atlas, in the same order",
        )
    threads = options.steady(threads, deterministic)
    named = model_choice.recorded(model)
    chosen: dict[str, Any] = {"preset": preset.value, "device": device, "seed": seed, "atlases": len(atlas), "model": named}
    chosen["context"] = context
    wanted = dicom.Wanted(write_seg=write_seg, seg_kind=seg_kind)
    chosen |= {"write_seg": write_seg}
    private = privacy.Privacy(deidentify, anonymise_rois, show_phi)
    with Talk(json_output=json, quiet=quiet, verbose=verbose, progress=progress.value) as talk:
        reading = Reading(resample_irregular, assign_uids)
        run = Run("segment", talk, chosen, threads, reading=reading, privacy=private, deterministic=deterministic)
        target = run.image("image", image, select=select, referred_by="a structure set")
        target = run.with_contrasts("image", target, contrast)
        wanted.check(target, target)
        predictor = model_choice.predictor_for(
            run,
            model,
            "segment",
            [target],
            device=device,
            threads=threads,
            accept_license=accept_license,
            choosable=not atlas,
            context=context,
        )
        if predictor is None and not atlas:
            raise no_model(run.record.facts.get("model", {}).get("reason", "--model none"))
        model_choice.need_model(predictor, contrast)
        images = [run.image("atlas", one) for one in atlas]
        drawn = [run.labels("atlas labels", labels) for labels in atlas_labels]
        pairs = [(one.volume, labels) for one, labels in zip(images, drawn, strict=True)]
        failed, closed = None, None
        mode = options.gate_mode(gate, strict)
        with run.results(default_folder(output, target.stem), exist.value) as results:
            if not results.skipped and predictor is not None:
                closed = segment_with(run, results, predictor, target, wanted, mode, report=report)
            elif not results.skipped:
                from jrscli.workflows.segment import segment_by_atlas

                found = segment_by_atlas(
                    target.volume, pairs, progress=talk, preset=preset.value, seed=seed, threads=threads, device=device
                )
                for registration in found.registrations:
                    describe(run, registration, "auto")
                failures = [registration.failed for registration in found.registrations if registration.failed]
                run.record.facts["similarities"] = list(found.similarities)
                write_segmentation(run, results, found, [volume for volume, _ in pairs], target)
                # one atlas that failed among several is outvoted; when all failed nothing is left to trust
                failed = failures[0] if len(failures) == len(pairs) else None
                if write_seg:
                    from jrscli.io.rtstruct_write import Origin
                    from jrscli.spatial.masks import Masks

                    origin, regions = Origin("atlas", "jrscli label fusion"), Masks.of_labels(found.labels)
                    wanted.write_segmentation(run, results, regions, target, label="JRS_ATLAS", origin=origin)
                if report or gate or strict:
                    closed = judge_atlas_segmentation(run, results, found, images, target, mode, report=report)
                mark_contours(run, results, failed)
        run.finish(
            next_step=f"look at {results.folder / ('report.html' if report else 'overlay.png')}",
            failure=failure_of(failed) or closed,
        )


def write_segmentation(run: Run, results: Results, found: Segmentation, atlases: list[Volume], target: ImageFile) -> None:
    """Write the labels, for a DICOM series also an RTSTRUCT, and a picture with the atlas that fits best."""
    from jrscli.io import write_labels
    from jrscli.io.output import write_bytes
    from jrscli.report.outlines import outlines_of
    from jrscli.report.overlay import draw_overlay

    labels, grid = found.labels, target.volume.geometry
    write_labels(labels, results.add("labels", "seg_space-fixed.nii.gz"))
    if target.series:
        from jrscli.io.rtstruct_write import Origin, write_rtstruct
        from jrscli.workflows.contours import structures_of_labels

        structures, origin = structures_of_labels(labels), Origin("atlas", "jrscli label fusion")
        path = results.add("rtstruct", "RS_space-fixed_atlas.dcm")
        run.note(
            write_rtstruct(
                structures,
                target.series,
                grid,
                path,
                label="JRS_ATLAS",
                series_description="jrs segment",
                origin=origin,
                seed=run.uid_seed,
            )
        )
    best = found.similarities.index(max(found.similarities))
    warped = found.registrations[best].warp(atlases[best], grid)
    write_bytes(draw_overlay(target.volume, warped, contours=outlines_of(labels, grid)), results.add("overlay", "overlay.png"))
    run.talk.say("labels " + ", ".join(run.name_of(number, labels.name(number)) for number in labels.numbers()))
