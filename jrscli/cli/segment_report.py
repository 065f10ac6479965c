"""The verdict and the report of `jrs segment`: there is no reference, so only what is odd about the contours can be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jrscli.cli.run import Results, Run
from jrscli.errors import GateFailed

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.metrics.evaluation import Evaluation
    from jrscli.metrics.gates import GateRow, GateStatus, Verdict
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.segment import Segmentation
    from jrscli.workflows.segment_by_model import ModelSegmentation


def contour_rows_of(found: Evaluation, v_mm: float, lacking: GateStatus) -> list[GateRow]:
    """A row of the gate per structure. lacking: what a structure without a voxel is, which an image need not hold."""
    from jrscli.metrics.gates import GateRow
    from jrscli.metrics.structure_gates import contour_row

    rows = []
    for row in found.rows:
        if row.status == "ok":
            rows.append(contour_row(row.name, "ok", row.flags, v_mm))
        else:
            words = f"{row.name}: not found in the image"
            rows.append(GateRow("contour.v1", row.name, lacking, words, None, "", "present", v_mm, "contour check"))
    return rows


def judge_atlas_segmentation(
    run: Run,
    results: Results,
    found: Segmentation,
    atlases: Sequence[ImageFile],
    target: ImageFile,
    gate: str,
    *,
    report: bool,
) -> GateFailed | None:
    """Hold the registration of the atlas that fits best, and the fused contours, against the tolerances; write the figures."""
    from jrscli.cli.registration_report import judge_registration, numbered_labels
    from jrscli.metrics.gates import GateRow
    from jrscli.workflows.lone_contours import describe_contours

    best = found.similarities.index(max(found.similarities))
    hidden = run.privacy.deidentify or run.privacy.anonymise_rois
    labels = numbered_labels(found.labels) if hidden else found.labels
    v_mm = max(max(one.volume.geometry.spacing_mm) for one in (target, atlases[best]))
    # the atlases have it, so the image should
    rows = contour_rows_of(describe_contours(labels, target.volume.geometry), v_mm, "fail")
    lost = sum(registration.failed is not None for registration in found.registrations)
    if len(atlases) > 1 and lost:
        words = f"{lost} of {len(atlases)} atlases could not be registered and were outvoted"
        rows.append(GateRow("atlases", "", "review", words, float(lost), "", "0", None, "the registrations' own checks"))
    chosen = found.registrations[best]
    return judge_registration(
        run, results, chosen, target, atlases[best], structures=found.labels, further=rows, gate=gate, report=report
    )


def judge_model_segmentation(
    run: Run, results: Results, found: ModelSegmentation, target: ImageFile, gate: str, *, report: bool
) -> GateFailed | None:
    """Look for what is odd about a model's contours, write the figures; the failure, if the gate closes.

    What the model thinks of itself is no reason to pass: nothing odd is "not assessed".
    """
    from jrscli.cli.evaluate_output import judge, write_metrics
    from jrscli.cli.registration_report import numbered_labels
    from jrscli.metrics.assessment import Assessment
    from jrscli.metrics.gates import GateRow, Verdict
    from jrscli.workflows.lone_contours import describe_contours

    grid = target.volume.geometry
    v_mm = max(grid.spacing_mm)
    hidden = run.privacy.deidentify or run.privacy.anonymise_rois
    labels = numbered_labels(found.labels) if hidden else found.labels
    contours = describe_contours(labels, grid, sides=True)
    rows = contour_rows_of(contours, v_mm, "review")
    if found.unlike:
        words = f"the image is not like those that the model knows: {found.unlike}"
        rows.append(GateRow("model.unlike", "", "review", words, None, "", "alike", None, "the model's card"))
    verdict = Verdict(tuple(rows))
    failure = judge(run, verdict, v_mm, gate)
    write_metrics(results, Assessment(contours, verdict=verdict, v_mm=v_mm))
    if report:
        _write(run, results, found, labels, contours, verdict, target, v_mm)
    return failure


def _write(
    run: Run,
    results: Results,
    found: ModelSegmentation,
    labels: LabelMap,
    contours: Evaluation,
    verdict: Verdict,
    target: ImageFile,
    v_mm: float,
) -> None:
    from jrscli.cli.report_page import regions_of, write_page
    from jrscli.io.software import software_version
    from jrscli.report.compose import Subject
    from jrscli.report.methods_text import methods_of_model

    run.talk.say("drawing the report")
    subject = Subject(
        target.volume, regions_of(labels, target.volume.geometry), v_mm=v_mm, titles=("the model's contours", "second estimate")
    )
    names = {labels.name(number): found.labels.name(number) for number in found.labels.names}
    facts = {}
    for row in contours.rows:
        sure = found.confidence.get(names.get(row.name, row.name))
        facts[row.name] = [("mean probability where it won", f"{sure:.2f}")] if sure is not None else []
    methods = methods_of_model(software_version(), found.model)
    write_page(run, results, "segment", subject, verdict, contours.rows, facts=facts, methods=methods, v_mm=v_mm)
