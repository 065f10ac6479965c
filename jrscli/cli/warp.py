"""``jrs warp``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jrscli.cli import options, privacy
from jrscli.cli.dicom_results import warp_dose_file
from jrscli.cli.run import Reading, Results, Run, default_folder, stem_of
from jrscli.cli.talk import Talk
from jrscli.errors import InputError, UsageError

if TYPE_CHECKING:
    from jrscli.cli.movement import Movement
    from jrscli.io.image_file import ImageFile
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.volume import LabelMap


class Interpolation(StrEnum):
    """How values between voxels are made."""

    auto = "auto"
    linear = "linear"
    nearest = "nearest"
    bspline = "bspline"


def warp(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT", help="Images, labels, points, RTSTRUCTs, RTDOSEs.", show_default=False)
    ],
    xfm: Annotated[
        Path, typer.Option("--xfm", help="The transform that jrs register wrote, a field or a DICOM REG.", show_default=False)
    ],
    inverse: Annotated[bool, typer.Option("--inverse", help="Go the other way: from FIXED to MOVING.")] = False,
    reference: Annotated[
        Path | None, typer.Option(help="Image whose grid (and DICOM series) the results get.", show_default=False)
    ] = None,
    interp: Annotated[Interpolation, typer.Option(help="auto: nearest for labels, linear for images.")] = Interpolation.auto,
    select: options.Select = None,
    resample_irregular: options.ResampleIrregular = False,
    assign_uids: options.AssignUids = False,
    output: options.Output = None,
    exist: options.Exist = options.ExistRule.suffix,
    deidentify: privacy.Deidentify = False,
    anonymise_rois: privacy.AnonymiseRois = False,
    show_phi: privacy.ShowPhi = False,
    json: options.Json = False,
    threads: options.Threads = None,
    progress: options.Progress = options.ProgressKind.auto,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Apply a saved transform to images, labels, points, contours or dose of MOVING (with --inverse: of FIXED).

    Points and contours go the same way as images: jrs takes the map they need by itself. Dose is transferred point by point:
    energy and mass are not balanced. Beyond the given dose it is 0, and how much that is is told.

    Examples:

      jrs warp --xfm from-moving_to-fixed_mode-image_xfm.h5 moving.nii.gz

      jrs warp --xfm from-moving_to-fixed_mode-image_xfm.h5 points.csv

      jrs warp --xfm xfm.h5 dose.dcm --reference daily-ct/
    """
    from jrscli.cli.movement import read_movement

    private = privacy.Privacy(deidentify, anonymise_rois, show_phi)
    with Talk(json_output=json, quiet=quiet, verbose=verbose, progress=progress.value) as talk:
        run = Run(
            "warp",
            talk,
            {"inverse": inverse, "interp": interp.value},
            threads,
            reading=Reading(resample_irregular, assign_uids),
            privacy=private,
        )
        image = run.image("reference", reference, select=select) if reference else None
        movement = read_movement(xfm, inverse=inverse, reference=image.volume.geometry if image else None)
        run.record.add_input("xfm", xfm, "transform")
        with run.results(default_folder(output, stem_of(inputs[0], "warp")), exist.value) as results:
            if not results.skipped:
                for number, path in enumerate(inputs):
                    talk("warp", number, len(inputs))
                    _warp_one(run, results, movement, path, image, interp.value, _tag(number, len(inputs)))
                talk("warp", len(inputs), len(inputs))
        run.finish()


def _warp_one(
    run: Run, results: Results, movement: Movement, path: Path, reference: ImageFile | None, interp: str, tag: str
) -> None:
    from jrscli.io.content import kind_of

    kind = kind_of(path)
    if kind == "points":
        _warp_points(run, results, movement, path, tag)
        return
    from jrscli.io.dicom_classes import SEGMENTATION_CLASSES, sop_class_of
    from jrscli.io.dose import DOSE_CLASS
    from jrscli.io.rtstruct_write import RTSTRUCT_CLASS

    dicom_class = sop_class_of(path) if kind == "dicom" else ""
    if dicom_class == RTSTRUCT_CLASS:
        _warp_contours(run, results, movement, path, reference, tag)
    elif dicom_class == DOSE_CLASS:
        name = f"dose_space-{movement.space}{tag}"
        warp_dose_file(run, results, path, movement.image_map, _target(movement), reference, name)
    elif dicom_class in SEGMENTATION_CLASSES:
        _warp_labels(run.labels("labels", path), results, movement, tag)
    else:
        _warp_image(run, results, movement, path, interp, tag)


def _warp_points(run: Run, results: Results, movement: Movement, path: Path, tag: str) -> None:
    from jrscli.io.points import POINT_ENDINGS, read_points, write_points

    points, labels = read_points(path)
    run.record.add_input("points", path, "points")
    name = path.name.lower()
    ending = ".mrk.json" if name.endswith(".json") else next((end for end in POINT_ENDINGS if name.endswith(end)), ".csv")
    moved = movement.point_map().map_points(points)
    write_points(moved, labels, results.add("points", f"points_space-{movement.space}{tag}{ending}"))


def _warp_image(run: Run, results: Results, movement: Movement, path: Path, interp: str, tag: str) -> None:
    from jrscli.io import write_image
    from jrscli.io.label_map import holds_labels, labels_from_volume
    from jrscli.io.whole_numbers import rounded_like
    from jrscli.spatial.resample import resample

    image = run.image("input", path)
    run.note(movement.check(image.volume.geometry))
    target = _target(movement)
    if interp == "auto" and holds_labels(image.volume, path):
        _warp_labels(labels_from_volume(image.volume, path), results, movement, tag)
        return
    how = "linear" if interp == "auto" else interp
    warped = resample(image.volume, target, movement.image_map, interpolation=how)  # type: ignore[arg-type]
    write_image(rounded_like(warped, image.volume), results.add("image", f"warped_space-{movement.space}{tag}.nii.gz"))


def _warp_labels(labels: LabelMap, results: Results, movement: Movement, tag: str) -> None:
    from jrscli.io import write_labels
    from jrscli.spatial.resample import resample_labels

    moved = resample_labels(labels, _target(movement), movement.image_map)
    write_labels(moved, results.add("labels", f"seg_space-{movement.space}{tag}.nii.gz"))


def _target(movement: Movement) -> Geometry:
    if movement.target is None:
        raise UsageError(
            "the transform does not say which grid to fill",
            code="warp.reference",
            hint="name the image it leads to: --reference IMAGE",
        )
    return movement.target


def _warp_contours(run: Run, results: Results, movement: Movement, path: Path, reference: ImageFile | None, tag: str) -> None:
    from jrscli.io.rtstruct import write_rtstruct
    from jrscli.spatial.structures import StructureSet
    from jrscli.workflows.warp import warp_structures

    source = movement.source
    if source is None:
        raise UsageError(
            "contours need the grid of the image they were drawn on, which this transform does not name",
            code="warp.source",
            hint="give a transform with the .json that jrs register wrote beside it",
        )
    if reference is None or reference.series is None:
        raise UsageError(
            "an RTSTRUCT has to refer to a DICOM series",
            code="warp.reference",
            hint="name the series it leads to: --reference FOLDER",
        )
    structures = run.contours("contours", path)
    if not isinstance(structures, StructureSet):
        raise InputError("not an RTSTRUCT", code="rs.unreadable", hint="give an RTSTRUCT file")
    target = reference.volume.geometry
    moved, notices = warp_structures(structures, source, target, movement.image_map, movement.point_map())
    run.note(notices)
    name = f"RS_space-{movement.space}_propagated{tag}.dcm"
    write_rtstruct(
        moved, reference.series, target, results.add("rtstruct", name), label="JRS_WARPED", description="warped by jrs"
    )


def _tag(number: int, count: int) -> str:
    """Results of several inputs are counted: their own names could collide, or name a patient."""
    return f"_{number + 1}" if count > 1 else ""
