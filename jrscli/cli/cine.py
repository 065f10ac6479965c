"""``jrs propagate-contours CINE LABELS``: the labels of one frame on all frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.cli.model_choice import note_device, note_model
from jrscli.cli.privacy import Privacy
from jrscli.cli.register import describe_all, failure_of
from jrscli.cli.run import Results, Run, default_folder
from jrscli.cli.talk import Talk

if TYPE_CHECKING:
    from jrscli.io.frames import Cine
    from jrscli.workflows.cine import CinePropagation


def carry_through(
    cine: Path,
    labels: Path,
    frame: int,
    output: Path | None,
    exist: Any,
    talk: Talk,
    chosen: dict[str, Any],
    settings: dict[str, Any],
    model: str = "auto",
    *,
    report: bool = True,
    privacy: Privacy = Privacy(),
    deterministic: bool = False,
) -> None:
    """Read the frames, carry the labels to all of them, and write them as one four-dimensional file.

    model: used where it is named; none is chosen for a cine.
    """
    from jrscli.cli.registration_report import numbered_labels
    from jrscli.io.frames import read_cine, write_label_frames

    options = {**chosen, "labelled_frame": frame}
    run = Run("propagate-contours", talk, options, settings.get("threads"), privacy=privacy, deterministic=deterministic)
    found = read_cine(cine)
    run.note(found.notices)
    run.record.add_input("cine", cine, found.kind, found.frames[0].geometry)
    drawn = run.labels("labels", labels)
    if privacy.deidentify or privacy.anonymise_rois:
        drawn = numbered_labels(drawn)
    predictor = _predictor(run, model, found.frames[0], settings)
    failures: list[str] = []
    with run.results(default_folder(output, cine.name.split(".")[0]), exist) as results:
        if not results.skipped:
            from jrscli.workflows.cine import propagate_cine

            carried = propagate_cine(found.frames, drawn, frame, model=predictor, progress=talk, **settings)
            note_device(run, predictor)
            made = [registration for registration in carried.registrations if registration is not None]
            describe_all(run, made)
            worst = run.record.facts
            talk.say(
                f"{len(made)} frames in {run.record.seconds():.1f} s   folds at most {worst['folding_percent']:.3g} %   "
                f"inverse consistency p95 at most {worst['inverse_consistency_p95_mm']:.2f} mm"
            )
            failures = [registration.failed for registration in made if registration.failed]
            run.record.facts["frames"] = len(found.frames)
            write_label_frames(carried.labels, results.add("labels", "seg_space-frames.nii.gz"))
            _write_beat(run, results, found, carried, frame, failures, report)
    run.finish(
        failure=failure_of(failures[0]) if failures else None,
        next_step=f"look at {results.folder / 'report.html'}" if report and not results.skipped else None,
    )


def _write_beat(
    run: Run, results: Results, cine: Cine, carried: CinePropagation, labelled: int, failures: list[str], report: bool
) -> None:
    """Volumes, stroke volume and ejection fraction of the carried labels; and the page with the film."""
    from jrscli.cli.evaluate_output import write_metrics
    from jrscli.cli.report_page import regions_of, write_page
    from jrscli.metrics.assessment import Assessment
    from jrscli.metrics.field_gates import linear_stage_row
    from jrscli.metrics.gates import Verdict
    from jrscli.report.tables import to_columns
    from jrscli.workflows.evaluate_beat import describe_beat

    beat = describe_beat(carried.labels)
    grid = cine.frames[0].geometry
    v_mm = max(grid.spacing_mm)
    verdict = Verdict((linear_stage_row(failures[0] if failures else None),))
    write_metrics(results, Assessment(beat, verdict=verdict, v_mm=v_mm))
    if not report:
        return
    from jrscli.report.film import colours_of, curves_svg, film_html

    run.talk.say("drawing the report")
    regions = [regions_of(labels, grid) for labels in carried.labels]
    film = film_html(cine.frames, regions, labelled) + curves_svg(beat, colours_of(beat, regions))
    tables = [("Volumes of the beat", to_columns(beat))]
    write_page(run, results, "propagate-contours", None, verdict, (), tables=tables, v_mm=v_mm, film=film)


def _predictor(run: Run, model: str, frame: Any, settings: dict[str, Any]) -> Any:
    """The model that was named, or None."""
    if model in ("auto", "none"):
        return None
    from jrscli.workflows.model_choice import pick_model

    return note_model(
        run, pick_model(model, "register", [(frame, None)], device=settings["device"], threads=settings["threads"])
    )
