"""``--both``: the model's own contours of DAILY beside the carried ones, how far the two disagree, and both fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli.run import Results, Run
from jrscli.errors import Notice

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.io.rtstruct_write import Origin
    from jrscli.metrics.evaluation import Row
    from jrscli.metrics.gates import GateRow
    from jrscli.runtime.predict import Predictor
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.fuse import Fusion
    from jrscli.workflows.propagate import Propagation
    from jrscli.workflows.second_estimate import Estimates, SecondEstimate
    from jrscli.workflows.segment_by_model import ModelSegmentation

Both = Annotated[
    bool,
    typer.Option(
        "--both/--no-both",
        help="With a model that segments: its own contours of DAILY too, compared and fused.",
        rich_help_panel="Models",
    ),
]

ONLY = {"given only": "propagated only", "known only": "network only", "several": "several could be it"}
TITLE = "Two estimates of each contour"
HEADER = (
    "structure", "organ of the model", "Dice", "mean surface distance, mm", "propagated, cc", "network, cc", "result",
    "fused contour",
)  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """What the report says of the second estimate.

    rows: of the gate. lines: of the table under `HEADER`. labels: the model's contours by the numbers of the structures, those
    of other organs after them. measured: the comparison of each structure that both have. words: what to say of each, by title.
    """

    rows: Sequence[GateRow]
    lines: list[list[str]]
    labels: LabelMap
    measured: Sequence[Row]
    words: dict[str, str]


def compare_both(
    run: Run,
    results: Results,
    predictor: Predictor | None,
    carried: Propagation,
    daily: ImageFile,
    *,
    holes: Any = "keyhole",
    simplify_mm: float = 0.0,
) -> Compared | None:
    """Segment DAILY by the model, compare and fuse, write what came out; None where there is no second estimate."""
    seen = carried.registration.seen if predictor is not None and predictor.segmenting is None else None
    if predictor is None or (predictor.segmenting is None and seen is None):
        return None
    from jrscli.io.tolerances import read_tolerances
    from jrscli.workflows.fuse import fuse
    from jrscli.workflows.second_estimate import second_estimate
    from jrscli.workflows.segment_by_model import segment_by_model, segmentation_of

    if seen is not None:
        found = segmentation_of(seen, daily.volume, predictor)
    else:
        found = segment_by_model(daily.volume, predictor, progress=run.talk)
    run.record.lap("segment")
    hidden = run.privacy.deidentify or run.privacy.anonymise_rois
    second = second_estimate(carried, found, read_tolerances(), by_number=hidden)
    run.record.lap("compare")
    _write_network(run, results, found, second, daily)
    run.record.lap("write")
    fused = None
    if second.rows and not found.unlike:
        shares = predictor.card.fusion
        fused = fuse(carried, found, second, shares, holes=holes, simplify_mm=simplify_mm, progress=run.talk)
        run.record.lap("fuse")
        run.note(fused.notices)
        _write_fused(run, results, fused, second, found, daily)
        run.record.lap("write")
    run.talk.close_bar()
    if found.unlike:
        words = f"the daily image is not like those {found.model} knows, nothing is fused: {found.unlike}"
        run.note([Notice("model.unlike", words)])
    _say(run, second, fused)
    return _compared(second, fused, found, hidden=hidden)


def _say(run: Run, second: SecondEstimate, fused: Fusion | None) -> None:
    """The table of organs, in words and in the record: what was taken for what, how far both are apart, what one side lacks."""
    for one in second.organs:
        name = run.name_of(one.number, one.match.given) if one.number is not None and one.match.given else "-"
        run.talk.say(f"  {name:<24} {one.match.known or '-':<24} {_words(one, fused)}".rstrip())
    if not second.rows:
        run.talk.say("the model names none of the carried structures: nothing to compare")
    facts = run.record.facts
    facts["organs"] = [
        {"model_label": one.match.known, "status": ONLY.get(one.match.kind, "both"), **_numbered(one)}
        for one in second.organs
        if one.match.known is not None
    ]
    facts["propagated_only"] = sum(one.match.kind == "given only" for one in second.organs)
    facts["disagreement"] = [
        {
            "structure": one.match.known,
            "number": one.number,
            "status": one.gate.status,
            "msd_mm": one.gate.value,
            "dice": one.value("dice.v1"),
        }
        for one in second.organs
        if one.gate
    ]
    if fused is not None:
        facts["fused"] = [{"number": number, "network_share": share} for number, share in fused.shares.items()]
    apart = [row for row in second.rows if row.status in ("review", "fail")]
    if apart:
        words = f"{len(apart)} of {len(second.rows)} structures: the carried and the model's contour disagree"
        run.note([Notice("rs.disagreement", words)])
    for one in second.organs:
        if one.exchanged:
            words = f"ROI {one.number}: it lies where the model sees the organ of the other side; check which is left and right"
            run.note([Notice("rs.sides", words)])


def _numbered(one: Estimates) -> dict[str, Any]:
    return {} if one.number is None else {"number": one.number}


def _words(one: Estimates, fused: Fusion | None) -> str:
    """What there is to say of one organ."""
    if one.gate is None:
        return ONLY.get(one.match.kind, "nothing to compare")
    dice, msd = one.value("dice.v1"), one.value("msd.v1")
    far = f"{msd:.2f} mm apart" if msd is not None else "apart"
    share = fused.shares.get(one.number) if fused and one.number is not None else None
    last = f"fused, {share:g} of the network" if share is not None else "not fused"
    return f"Dice {dice or 0:.2f}, {far}   {one.gate.status.replace('_', ' ')}   {last}"


def _made(share: float | None, fused: bool, carried: bool) -> str:
    """What the fused set has of an organ."""
    if share is not None or not fused:
        return "" if share is None else f"{share:g} network"
    return "as propagated" if carried else "left out"


def _compared(second: SecondEstimate, fused: Fusion | None, found: ModelSegmentation, *, hidden: bool) -> Compared:
    from jrscli.workflows.second_estimate import renumbered

    lines, words, titles = [], {}, {}
    for one in second.organs:
        title = (f"ROI-{one.number}" if hidden else one.match.given or "") if one.number is not None else "-"
        share = fused.shares.get(one.number) if fused and one.number is not None else None
        figures = [one.value(name) for name in ("dice.v1", "msd.v1", "volume.v1(test)", "volume.v1(reference)")]
        if one.number is None and one.match.known is not None:
            figures[3] = found.volumes_cc.get(one.match.known)
        result = one.gate.status.replace("_", " ") if one.gate else ONLY.get(one.match.kind, "not compared")
        shown = [f"{value:.2f}" if value is not None else "" for value in figures]
        made = _made(share, fused is not None, one.number is not None)
        lines.append([title, one.match.known or "-", *shown, result, made])
        if one.number is not None:
            titles[one.number] = title
            words[title] = _words(one, fused)
    first = max([*titles, 0]) + 1
    numbers = {label: number for number, label in second.labels.items()}
    others = [label for label in found.labels.names if label and label not in numbers]
    numbers |= {label: first + n for n, label in enumerate(others)}
    labels = renumbered(found.labels, numbers)
    named = {number: titles.get(number, name) for number, name in labels.names.items()}
    measured = [one.row for one in second.organs if one.row]
    return Compared(second.rows, lines, type(labels)(labels.array, labels.geometry, named), measured, words)


def _write_network(run: Run, results: Results, found: ModelSegmentation, second: SecondEstimate, target: ImageFile) -> None:
    """The model's contours: labels, and for a DICOM series an RTSTRUCT, in which organs that were not carried say so."""
    from jrscli.io import write_labels

    write_labels(found.labels, results.add("labels-network", "seg_space-fixed_network.nii.gz"))
    if target.series:
        from jrscli.io.rtstruct_write import Origin
        from jrscli.workflows.contours import structures_of_labels

        how = dict.fromkeys(second.labels.values(), "network")
        origins = {n: Origin(how.get(n, "network only"), *found.model.split("@")) for n in found.labels.names}
        path = results.add("rtstruct-network", "RS_space-fixed_network.dcm")
        run.note(_write_structures(run, structures_of_labels(found.labels), target, path, "JRS_NETWORK", origins))


def _write_fused(
    run: Run, results: Results, fused: Fusion, second: SecondEstimate, found: ModelSegmentation, target: ImageFile
) -> None:
    """The fused contours; those of which there is one estimate say so in an RTSTRUCT."""
    from jrscli.io import write_labels
    from jrscli.workflows.contours import labels_of_structures

    if fused.labels is not None or not target.series:
        labels = fused.labels
        if labels is None:
            labels, notices = labels_of_structures(fused.structures, target.volume.geometry)
            run.note(notices)
        write_labels(labels, results.add("labels-fused", "seg_space-fixed_fused.nii.gz"))
    if target.series:
        from jrscli.io.rtstruct_write import Origin

        origins = {}
        for roi in fused.structures.rois:
            if roi.number in fused.shares:
                how = f"fused, {fused.shares[roi.number]:g} of the network"
                origins[roi.number] = Origin(how, *found.model.split("@"))
            else:
                origins[roi.number] = Origin("propagated" if roi.number in second.labels else "propagated only")
        path = results.add("rtstruct-fused", "RS_space-fixed_fused.dcm")
        notices = _write_structures(run, fused.structures, target, path, "JRS_FUSED", origins)
        run.note([notice for notice in notices if notice.code != "rs.lost"])  # said of the carried ones


def _write_structures(
    run: Run, structures: StructureSet, target: ImageFile, path: Path, label: str, origins: Mapping[int, Origin]
) -> tuple[Notice, ...]:
    from jrscli.io.rtstruct_write import write_rtstruct

    assert target.series is not None
    return write_rtstruct(
        structures,
        target.series,
        target.volume.geometry,
        path,
        label=label,
        series_description="jrs propagate-contours",
        origins=origins,
        seed=run.uid_seed,
    )
