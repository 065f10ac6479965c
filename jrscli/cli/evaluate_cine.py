"""`jrs evaluate` on the contours of a cine: both files hold all its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jrscli.cli.evaluate_parts import Asked
from jrscli.cli.run import Run
from jrscli.errors import UsageError

if TYPE_CHECKING:
    from jrscli.metrics.evaluation import Evaluation
    from jrscli.metrics.tolerances import Tolerances


def any_cine(asked: Asked) -> bool:
    """Whether one of the two files holds several frames."""
    from jrscli.io.frames import is_cine

    return any(is_cine(path) for path in (asked.reference, *asked.predictions) if path is not None)


def of_cine(run: Run, asked: Asked, tolerances: Tolerances) -> tuple[Evaluation, dict[str, Evaluation], float]:
    """(rows per frame and structure, the beat as a part, the largest voxel dimension)."""
    from jrscli.io.frames import is_cine, read_label_frames
    from jrscli.workflows.evaluate_beat import evaluate_frames

    paths = [path for path in (asked.reference, *asked.predictions) if path is not None]
    more = asked.field or asked.landmarks or asked.doses or asked.readers or asked.image or asked.resample
    if len(paths) != 2 or more or not all(is_cine(path) for path in paths):
        raise UsageError(
            "the contours of a cine are compared with those of the same cine, and with nothing else",
            code="usage.combination",
            hint="give two label files of as many frames each",
        )
    reference, prediction = (read_label_frames(path) for path in paths)
    for role, path, frames in zip(("reference", "prediction"), paths, (reference, prediction), strict=True):
        run.record.add_input(role, path, "labels", frames[0].geometry)
    main, beat = evaluate_frames(reference, prediction, progress=run.talk, **asked.settings(tolerances))
    return main, {"beat": beat}, max(reference[0].geometry.spacing_mm)
