"""``jrs segment IMAGE`` by a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jrscli.cli.run import Results, Run
from jrscli.errors import GateFailed, ModelError, Notice

if TYPE_CHECKING:
    from jrscli.cli.dicom_results import Wanted
    from jrscli.io.image_file import ImageFile
    from jrscli.runtime.predict import Predictor
    from jrscli.workflows.segment_by_model import ModelSegmentation


def no_model(reason: Any) -> ModelError:
    """The error where neither a model nor an atlas is at hand."""
    return ModelError(
        f"no model fits the image ({reason})",
        code="model.none",
        hint="name one with --model NAME (jrs models list), or give --atlas IMAGE with --atlas-labels LABELS",
    )


def segment_with(
    run: Run, results: Results, predictor: Predictor, target: ImageFile, wanted: Wanted, gate: str, *, report: bool
) -> GateFailed | None:
    """Segment the image, write everything and say what was found; the failure, if the gate closes."""
    from jrscli.cli.model_choice import note_device
    from jrscli.cli.quality_mark import mark_contours
    from jrscli.cli.segment_report import judge_model_segmentation
    from jrscli.workflows.segment_by_model import segment_by_model

    found = segment_by_model(target.volume, predictor, progress=run.talk)
    run.talk.close_bar()
    note_device(run, predictor)
    notices = []
    if found.unlike:
        notices.append(Notice("model.unlike", f"the image is not like those {found.model} knows: {found.unlike}"))
    if found.outside_percent:
        words = f"{found.outside_percent:.1f} % of the image lie beyond the model's field of view and stay background"
        notices.append(Notice("model.cropped", words))
    run.note(notices)
    run.record.facts |= {"volumes_cc": dict(found.volumes_cc), "confidence": dict(found.confidence)}
    _write(run, results, found, target, wanted)
    for name, volume in found.volumes_cc.items():
        sure = found.confidence.get(name)
        run.talk.say(
            f"  {name:<24} {volume:9.2f} cc" + (f"   mean probability {sure:.2f}" if sure is not None else "   not found")
        )
    if gate == "off" and not report:
        return None
    failure = judge_model_segmentation(run, results, found, target, gate, report=report)
    mark_contours(run, results, None)
    return failure


def _write(run: Run, results: Results, found: ModelSegmentation, target: ImageFile, wanted: Wanted) -> None:
    from jrscli.io import write_labels
    from jrscli.io.output import write_bytes
    from jrscli.report.outlines import outlines_of
    from jrscli.report.overlay import draw_overlay

    grid = target.volume.geometry
    write_labels(found.labels, results.add("labels", "seg_space-fixed.nii.gz"))
    if target.series:
        from jrscli.io.rtstruct_write import Origin, write_rtstruct
        from jrscli.workflows.contours import structures_of_labels

        origin, path = Origin("network", *found.model.split("@")), results.add("rtstruct", "RS_space-fixed_network.dcm")
        run.note(
            write_rtstruct(
                structures_of_labels(found.labels),
                target.series,
                grid,
                path,
                label="JRS_NETWORK",
                series_description="jrs segment",
                origin=origin,
                seed=run.uid_seed,
            )
        )
        if wanted.write_seg:
            from jrscli.spatial.masks import Masks

            wanted.write_segmentation(run, results, Masks.of_labels(found.labels), target, label="JRS_NETWORK", origin=origin)
    picture = draw_overlay(target.volume, None, contours=outlines_of(found.labels, grid))
    write_bytes(picture, results.add("overlay", "overlay.png"))
