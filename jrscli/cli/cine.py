"""``jrs propagate-contours CINE LABELS``: the labels of one frame on all frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jrscli.cli.model_choice import note_device, note_model
from jrscli.cli.register import describe, failure_of
from jrscli.cli.run import Run, default_folder
from jrscli.cli.talk import Talk
from jrscli.errors import InputError


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
) -> None:
    """Read the frames, carry the labels to all of them, and write them as one four-dimensional file.

    model: used where it is named; none is chosen for a cine.
    """
    from jrscli.io.content import existing, kind_of
    from jrscli.io.nifti import read_frames, write_frames

    run = Run("propagate-contours", talk, {**chosen, "labelled_frame": frame}, settings.get("threads"))
    if kind_of(existing(cine)) != "nifti":
        raise InputError(
            f"{cine.name} is no NIfTI file, and a cine has to be one", code="cine.format", hint="save it as .nii.gz"
        )
    frames, notices = read_frames(cine)
    run.note(notices)
    if len(frames) < 2:
        raise InputError(
            f"{cine.name} has one frame only", code="cine.frames", hint="name a DAILY image to carry the contours to"
        )
    run.record.add_input("cine", cine, "nifti", frames[0].geometry)
    drawn = run.labels("labels", labels)
    predictor = _predictor(run, model, frames[0], settings)
    failures: list[str] = []
    with run.results(default_folder(output, cine.name.split(".")[0]), exist) as results:
        if not results.skipped:
            from jrscli.workflows.cine import propagate_cine

            carried = propagate_cine(frames, drawn, frame, model=predictor, progress=talk, **settings)
            note_device(run, predictor)
            found = [registration for registration in carried.registrations if registration is not None]
            for registration in found:
                describe(run, registration, "auto")
            failures = [registration.failed for registration in found if registration.failed]
            run.record.facts["frames"] = len(frames)
            write_frames(carried.labels, results.add("labels", "seg_space-frames.nii.gz"))
    run.finish(failure=failure_of(failures[0]) if failures else None)


def _predictor(run: Run, model: str, frame: Any, settings: dict[str, Any]) -> Any:
    """The model that was named, or None."""
    if model in ("auto", "none"):
        return None
    from jrscli.workflows.model_choice import pick_model

    return note_model(
        run, pick_model(model, "register", [(frame, None)], device=settings["device"], threads=settings["threads"])
    )
