"""Contours carried to one image: the workflow, what is written of it, and what is said of each ROI."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jrscli.cli import dicom_results as dicom
from jrscli.cli.guides import say_guides
from jrscli.cli.register import describe, write_registration
from jrscli.cli.run import Results, Run

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.propagate import Propagation


def carry_to(
    run: Run,
    results: Results,
    plan: ImageFile,
    source: StructureSet | LabelMap,
    daily: ImageFile,
    *,
    renaming: Any = None,
    start: Any = "auto",
    wanted: dicom.Wanted = dicom.Wanted(),
    **settings: Any,
) -> Propagation:
    """Propagate to one daily image, write everything and say what became of each ROI."""
    from jrscli.api import start_for
    from jrscli.workflows.propagate import propagate

    carried = propagate(plan.volume, source, daily.volume, progress=run.talk, init=start_for(start, daily, plan), **settings)
    run.record.lap("register and carry")
    describe(run, carried.registration, "reg" if wanted.reg else "auto")
    say_guides(run, carried.registration)
    run.note(carried.notices)
    if renaming and renaming.names:
        labels = renaming.labels(carried.labels) if carried.labels is not None else None
        carried = replace(carried, structures=renaming.structures(run, carried.structures), labels=labels)
    write_propagation(run, results, carried, source, plan, daily)
    wanted.write_registration(run, results, carried.registration, daily, plan)
    if wanted.write_seg:
        from jrscli.spatial.masks import Masks
        from jrscli.workflows.contours import masks_of_structures

        labels, structures = carried.labels, carried.structures
        masks = Masks.of_labels(labels) if labels is not None else masks_of_structures(structures, daily.volume.geometry)
        wanted.write_segmentation(run, results, masks, daily, label="JRS_PROPAGATED")
    run.record.lap("write")
    return carried


def write_propagation(
    run: Run, results: Results, carried: Propagation, source: StructureSet | LabelMap, plan: ImageFile, daily: ImageFile
) -> None:
    """Write the contours, the moved image, the picture and the transforms; say what became of each ROI."""
    from jrscli.io import write_labels
    from jrscli.report.outlines import outlines_of
    from jrscli.workflows.contours import labels_of_structures

    grid = daily.volume.geometry
    outlines = outlines_of(source, grid, "before") + outlines_of(carried.structures, grid, "after")
    write_registration(results, carried.registration, daily, plan, outlines=outlines)
    if daily.series:
        from jrscli.io.rtstruct_write import write_rtstruct

        path = results.add("rtstruct", "RS_space-fixed_propagated.dcm")
        notices = write_rtstruct(carried.structures, daily.series, daily.volume.geometry, path, seed=run.uid_seed)
        run.note([notice for notice in notices if notice.code != "rs.lost"])
    if carried.labels is not None:
        write_labels(carried.labels, results.add("labels", "seg_space-fixed.nii.gz"))
    elif not daily.series:
        labels, notices = labels_of_structures(carried.structures, daily.volume.geometry)
        run.note(notices)
        write_labels(labels, results.add("labels", "seg_space-fixed.nii.gz"))
    for roi in carried.results:
        words = f"{run.name_of(roi.number, roi.name):<24} {roi.status:<5} {_cc(roi.planning_cc)} -> {_cc(roi.daily_cc)}"
        run.talk.say(f"  {words}  ({roi.how})")
    run.record.facts["rois"] = [
        {
            "number": roi.number,
            **({"name": roi.name} if run.privacy.show_phi else {}),
            "how": roi.how,
            "status": roi.status,
            "planning_cc": roi.planning_cc,
            "daily_cc": roi.daily_cc,
            "outside_percent": roi.outside_percent,
        }
        for roi in carried.results
    ]


def _cc(volume: float | None) -> str:
    return f"{volume:9.2f} cc" if volume is not None else "        - "
