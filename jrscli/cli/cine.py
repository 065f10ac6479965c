"""``jrs propagate-contours CINE LABELS``: the labels of one frame on all frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
) -> None:
    """Read the frames, carry the labels to all of them, and write them as one four-dimensional file."""
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
    failures: list[str] = []
    with run.results(default_folder(output, cine.name.split(".")[0]), exist) as results:
        if not results.skipped:
            from jrscli.workflows.cine import propagate_cine

            carried = propagate_cine(frames, drawn, frame, progress=talk, **settings)
            found = [registration for registration in carried.registrations if registration is not None]
            for registration in found:
                describe(run, registration, "auto")
            failures = [registration.failed for registration in found if registration.failed]
            run.record.facts["frames"] = len(frames)
            write_frames(carried.labels, results.add("labels", "seg_space-frames.nii.gz"))
    run.finish(failure=failure_of(failures[0]) if failures else None)
