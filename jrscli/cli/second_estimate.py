"""``--both``: the model's own contours of DAILY beside the carried ones, and how far the two disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli.run import Results, Run
from jrscli.errors import Notice

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.runtime.predict import Predictor
    from jrscli.workflows.propagate import Propagation
    from jrscli.workflows.second_estimate import SecondEstimate
    from jrscli.workflows.segment_by_model import ModelSegmentation

Both = Annotated[
    bool,
    typer.Option(
        "--both/--no-both",
        help="With a model that segments: its own contours of DAILY too, compared.",
        rich_help_panel="Models",
    ),
]


def compare_both(run: Run, results: Results, predictor: Predictor | None, carried: Propagation, daily: ImageFile) -> list[Any]:
    """Segment DAILY by the model, write that, and give a gate row for each structure that both estimates have."""
    seen = carried.registration.seen if predictor is not None and predictor.segmenting is None else None
    if predictor is None or (predictor.segmenting is None and seen is None):
        return []
    from jrscli.io.tolerances import read_tolerances
    from jrscli.workflows.second_estimate import second_estimate
    from jrscli.workflows.segment_by_model import segment_by_model, segmentation_of

    if seen is not None:
        found = segmentation_of(seen, daily.volume, predictor)
    else:
        found = segment_by_model(daily.volume, predictor, progress=run.talk)
    write_network(run, results, found, daily)
    compared = second_estimate(carried, found, read_tolerances())
    rows = list(compared.rows)
    run.talk.close_bar()
    _say_matches(run, compared)
    if not rows:
        run.talk.say("the model names none of the carried structures: nothing to compare")
    run.record.facts["disagreement"] = [
        {"structure": row.structure, "status": row.status, "msd_mm": row.value, "words": row.sentence} for row in rows
    ]
    for row in rows:
        run.talk.say(f"  {row.sentence}   {row.status}")
    apart = [row for row in rows if row.status in ("review", "fail")]
    if apart:
        words = f"{len(apart)} of {len(rows)} structures: the carried and the model's contour disagree"
        run.note([Notice("rs.disagreement", words)])
    return rows


def _say_matches(run: Run, compared: SecondEstimate) -> None:
    """The table of organs: which label of the model was taken for which structure, and what only one of the two has."""
    words = {"both": "", "given only": "propagated only", "known only": "network only", "several": "several could be it"}
    matches = compared.matches
    for match in matches:
        structure = run.name_of(compared.numbers[match.given], match.given) if match.given else "-"
        run.talk.say(f"  {structure:<24} {match.known or '-':<24} {words[match.kind]}".rstrip())
    run.record.facts["organs"] = [
        {"model_label": match.known, "status": words[match.kind] or "both"} for match in matches if match.known is not None
    ]
    run.record.facts["propagated_only"] = sum(match.kind == "given only" for match in matches)


def write_network(run: Run, results: Results, found: ModelSegmentation, target: ImageFile) -> None:
    """The model's contours: labels, and for a DICOM series an RTSTRUCT."""
    from jrscli.io import write_labels

    write_labels(found.labels, results.add("labels-network", "seg_space-fixed_network.nii.gz"))
    if target.series:
        from jrscli.io.rtstruct_write import Origin, write_rtstruct
        from jrscli.workflows.contours import structures_of_labels

        path, origin = results.add("rtstruct-network", "RS_space-fixed_network.dcm"), Origin("network", *found.model.split("@"))
        note = write_rtstruct(
            structures_of_labels(found.labels),
            target.series,
            target.volume.geometry,
            path,
            label="JRS_NETWORK",
            series_description="jrs propagate-contours",
            origin=origin,
            seed=run.uid_seed,
        )
        run.note(note)
