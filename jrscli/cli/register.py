"""``jrs register``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli import dicom_results as dicom
from jrscli.cli import guides, model_choice, options, privacy
from jrscli.cli.cost import say_cost
from jrscli.cli.registration_report import judge_registration
from jrscli.cli.run import Reading, Results, Run, choose, default_folder
from jrscli.cli.talk import Talk
from jrscli.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.report.overlay import Outline
    from jrscli.workflows.register import Registration

FORWARD = "from-moving_to-fixed_mode-image_xfm.h5"
BACKWARD = "from-fixed_to-moving_mode-image_xfm.h5"
STARTS = ("auto", "header", "centers", "moments")


def register(
    fixed: Annotated[Path, typer.Argument(metavar="FIXED", help="Image that stays.", show_default=False)],
    moving: Annotated[Path, typer.Argument(metavar="MOVING", help="Image that is moved onto it.", show_default=False)],
    preset: options.Preset = options.PresetName.balanced,
    init: Annotated[
        str, typer.Option(metavar="auto|header|centers|moments|FILE", help="Where to start, or a linear transform.")
    ] = "auto",
    reg: dicom.Reg = None,
    linear_only: Annotated[bool, typer.Option("--linear-only", help="Stop after the linear stage.")] = False,
    model: model_choice.Model = "auto",
    refine: model_choice.Refine = None,
    context: model_choice.Context = None,
    fixed_contrast: model_choice.FixedContrast = None,
    moving_contrast: model_choice.MovingContrast = None,
    accept_license: model_choice.AcceptLicense = False,
    fixed_mask: Annotated[Path | None, typer.Option(help="Where FIXED counts (non-zero).", show_default=False)] = None,
    moving_mask: Annotated[Path | None, typer.Option(help="Where MOVING counts (non-zero).", show_default=False)] = None,
    moving_labels: guides.MovingLabels = None,
    fixed_labels: guides.FixedLabels = None,
    guide: guides.Guide = True,
    fixed_points: guides.FixedPoints = None,
    moving_points: guides.MovingPoints = None,
    write_field: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.nii.gz", help="Also write the whole displacement on FIXED's grid (mm, LPS, pull).", show_default=False
        ),
    ] = None,
    no_inverse: Annotated[bool, typer.Option("--no-inverse", help="Do not write the inverse transform.")] = False,
    write_reg: dicom.WriteReg = dicom.RegKind.none,
    reg_accuracy: dicom.RegAccuracy = 0.1,
    write_seg: dicom.WriteSeg = False,
    seg_kind: dicom.SegKindOption = dicom.SegKindName.binary,
    gate: options.Gate = None,
    strict: options.Strict = False,
    report: options.Report = False,
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
    """Move MOVING onto FIXED and write the moved image, the transform and its inverse.

    Examples:

      jrs register fixed.nii.gz moving.nii.gz

      jrs register planning-ct/ daily-ct/ --preset best -o out

      jrs register daily-ct/ planning-ct/ --write-reg deformable

      jrs register f.nii m.nii --fixed-labels f-seg.nii --moving-labels m-seg.nii

      jrs register fixed.nii.gz moving.nii.gz --model hippocampus-jrs --refine 0
    """
    threads = options.steady(threads, deterministic)
    chosen = {
        "preset": preset.value,
        "init": "reg" if reg else init if init in STARTS else "file",
        "linear_only": linear_only,
        "model": model_choice.recorded(model),
        "refine": refine,
        "context": context,
        "guide": guide,
        "inverse": not no_inverse,
        "device": device,
        "seed": seed,
    }
    wanted = dicom.Wanted(reg, write_reg, reg_accuracy, write_seg, seg_kind)
    private = privacy.Privacy(deidentify, anonymise_rois, show_phi)
    with Talk(json_output=json, quiet=quiet, verbose=verbose, progress=progress.value) as talk, ExitStack() as stack:
        field_path = stack.enter_context(_field_file(write_field, exist.value)) if write_field else None
        run = Run(
            "register",
            talk,
            chosen | wanted.options(),
            threads,
            reading=Reading(resample_irregular, assign_uids),
            privacy=private,
            deterministic=deterministic,
        )
        start = _start(init, run)
        fixed_image = run.image("fixed", fixed, select=choose(fixed, select, 0))
        moving_image = run.image("moving", moving, select=choose(moving, select, 1))
        fixed_image = run.with_contrasts("fixed", fixed_image, fixed_contrast)
        moving_image = run.with_contrasts("moving", moving_image, moving_contrast)
        wanted.check(fixed_image, moving_image)
        if write_seg and moving_labels is None:
            raise UsageError("--write-seg has no labels to write", code="usage.combination", hint="add --moving-labels FILE")
        if reg:
            start = dicom.start_of(run, reg, init, fixed_image, moving_image)
        where_fixed = run.mask("fixed mask", fixed_mask, fixed_image.volume.geometry)
        where_moving = run.mask("moving mask", moving_mask, moving_image.volume.geometry)
        images = (fixed_image, moving_image)
        given = guides.read_guides(run, images, (fixed_labels, moving_labels), (fixed_points, moving_points), guide=guide)
        predictor = model_choice.predictor_for(
            run,
            model,
            "register",
            list(images),
            device=device,
            threads=threads,
            accept_license=accept_license,
            choosable=not (linear_only or fixed_mask or moving_mask),
            context=context,
        )
        model_choice.need_model(predictor, fixed_contrast, moving_contrast)
        failed, closed, moved = None, None, None
        if predictor is None:
            say_cost(talk, fixed_image, moving_image, preset.value, linear_only, threads, device)
        with run.results(default_folder(output, fixed_image.stem), exist.value) as results:
            if not results.skipped:
                from jrscli.api import start_for
                from jrscli.workflows.register import register as compute

                registration = compute(
                    fixed_image.volume,
                    moving_image.volume,
                    preset=preset.value,
                    init=start_for(start, fixed_image, moving_image),
                    linear_only=linear_only,
                    seed=seed,
                    threads=threads,
                    device=device,
                    model=predictor,
                    refine=refine,
                    fixed_mask=where_fixed,
                    moving_mask=where_moving,
                    progress=talk,
                    **given.options,
                )
                model_choice.note_device(run, predictor)
                failed = registration.failed
                describe(run, registration, "reg" if reg else init)
                guides.say_guides(run, registration)
                write_registration(results, registration, fixed_image, moving_image, inverse=not no_inverse)
                wanted.write_registration(run, results, registration, fixed_image, moving_image)
                labels = given.carried(run, moving_image)
                if labels is not None:
                    from jrscli.io import write_labels
                    from jrscli.spatial.resample import resample_labels

                    moved = resample_labels(labels, fixed_image.volume.geometry, registration.transform)
                    write_labels(moved, results.add("labels", "seg_space-fixed.nii.gz"))
                    if write_seg:
                        from jrscli.spatial.masks import Masks

                        regions = Masks.of_labels(moved)
                        wanted.write_segmentation(run, results, regions, fixed_image, label="JRS_PROPAGATED")
                if report or gate:
                    closed = judge_registration(
                        run,
                        results,
                        registration,
                        fixed_image,
                        moving_image,
                        structures=moved,
                        known=given.judging(images),
                        beside=given.fixed,
                        gate=options.gate_mode(gate, strict),
                        report=report,
                    )
                if field_path:
                    from jrscli.io.transforms import write_field as write

                    write(registration.transform.displacement(fixed_image.volume.geometry), field_path[0])
        stack.close()
        if field_path and not results.skipped:
            talk.output("field", field_path[1])
        run.finish(next_step=f"look at {results.folder / 'overlay.png'}", failure=failure_of(failed) or closed)


def describe(run: Run, registration: Registration, init: str) -> None:
    """Say and record what came out."""
    describe_all(run, [registration])
    best = " (auto: the best of several)" if init == "auto" and not registration.model else ""
    run.talk.say(f"start {registration.init}{best}")
    run.talk.say(
        f"done in {run.record.seconds():.1f} s   folds {registration.folding_percent:.3g} %   "
        f"inverse consistency p95 {registration.inverse_consistency_p95_mm:.2f} mm"
    )


def describe_all(run: Run, found: Sequence[Registration]) -> None:
    """Record what came out of one or many; of many the worst of each figure. Only the steps are said, if details are."""
    for registration in found:
        for step in registration.steps:
            run.record.add_step(step.name, step.seconds, step.facts)
            run.talk.detail(f"{step.name}  {step.seconds:.1f} s")
    run.record.facts |= {
        "init": found[0].init,
        "folding_percent": max(one.folding_percent for one in found),
        "jacobian_min": min(one.jacobian_min for one in found),
        "jacobian_max": max(one.jacobian_max for one in found),
        "inverse_consistency_p95_mm": max(one.inverse_consistency_p95_mm for one in found),
        "inverse_consistency_max_mm": max(one.inverse_consistency_max_mm for one in found),
    }
    if any(one.failed for one in found):
        run.record.status, run.record.code = "failed", "register.failed"
    run.talk.close_bar()


def write_registration(
    results: Results,
    registration: Registration,
    fixed: ImageFile,
    moving: ImageFile,
    *,
    inverse: bool = True,
    outlines: Sequence[Outline] = (),
) -> None:
    """Write the moved image, the picture, the transform and its inverse."""
    from jrscli.io import write_image
    from jrscli.io.output import write_bytes
    from jrscli.io.sidecar import Sidecar
    from jrscli.io.transforms import write_transform
    from jrscli.io.whole_numbers import rounded_like
    from jrscli.report.overlay import draw_overlay
    from jrscli.spatial.resample import resample

    warped = registration.warp(moving.volume, fixed.volume.geometry)
    write_image(rounded_like(warped, moving.volume), results.add("image", "warped.nii.gz"))
    before = resample(moving.volume, fixed.volume.geometry)
    picture = draw_overlay(fixed.volume, warped, before=before, contours=outlines)
    write_bytes(picture, results.add("overlay", "overlay.png"))
    grids = (fixed.volume.geometry, moving.volume.geometry)
    frames = (fixed.frame_of_reference_uid is not None, moving.frame_of_reference_uid is not None)
    facts = {
        "inverse_consistency_p95_mm": round(registration.inverse_consistency_p95_mm, 4),
        "folding_percent": registration.folding_percent,
        **({"failed": registration.failed} if registration.failed else {}),
    }
    forward = Sidecar("moving_to_fixed", *grids, *frames, inverse=BACKWARD if inverse else None, facts=facts)
    write_transform(registration.transform, results.add("xfm", FORWARD), forward)
    if inverse:
        backward = Sidecar("fixed_to_moving", *grids, *frames, inverse=FORWARD, facts=facts)
        write_transform(registration.inverse, results.add("xfm-inverse", BACKWARD), backward)


def failure_of(reason: str | None) -> GateFailed | None:
    """The failure of a registration that is not to be trusted."""
    if reason is None:
        return None
    return GateFailed(
        f"the registration is not to be trusted: {reason}",
        code="register.failed",
        hint="results are written and marked; look at overlay.png, then try --init centers, --init moments or a --fixed-mask",
    )


def _start(init: str, run: Run) -> Any:
    """The named start, or the linear transform of a file."""
    if init in STARTS:
        return init
    if not Path(init).exists():
        from jrscli.cli.suggest import closest

        near = closest(init, STARTS)
        hint = (
            f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(STARTS)}, or the file of a linear transform"
        )
        raise UsageError(f"--init {init} is neither a known start nor a file", code="usage.init", hint=hint)
    from jrscli.io.transforms import read_transform

    start = read_transform(init).as_affine()
    run.record.add_input("init", Path(init), "transform")
    return start


def _field_file(path: Path, exist: Any) -> Any:
    from jrscli.io.output import atomic_path
    from jrscli.io.transforms import FIELD_ENDINGS

    if not path.name.lower().endswith(FIELD_ENDINGS):
        raise UsageError(f"no field format is known for the name {path.name}", code="output.format", hint="end it with .nii.gz")
    return atomic_path(path, exist=exist)
