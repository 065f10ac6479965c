"""``jrs convert contours``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jrscli.cli import contour_options, options, privacy
from jrscli.cli.dicom_results import SegKindName, SegKindOption
from jrscli.cli.one_file import Source, To, needed, one_file
from jrscli.cli.run import Reading, Run
from jrscli.cli.talk import Talk
from jrscli.errors import UsageError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.spatial.contouring import Holes
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap


class ContourFormat(StrEnum):
    """What contours are written as."""

    auto = "auto"
    rtstruct = "rtstruct"
    seg = "seg"


def contours(
    source: Source,
    to: To,
    reference: Annotated[Path | None, typer.Option(help="Image that the contours belong to.", show_default=False)] = None,
    format: Annotated[
        ContourFormat, typer.Option("--format", help="Which DICOM object NAME.dcm is; auto: an RTSTRUCT.")
    ] = ContourFormat.auto,
    seg_kind: SegKindOption = SegKindName.binary,
    holes: contour_options.Holes = contour_options.HolesRule.keyhole,
    simplify: contour_options.Simplify = 0.0,
    fill_gaps: contour_options.FillGaps = False,
    strict: contour_options.Strict = False,
    rename: contour_options.Rename = None,
    assume_aligned: contour_options.AssumeAligned = False,
    select: options.Select = None,
    resample_irregular: options.ResampleIrregular = False,
    assign_uids: options.AssignUids = False,
    exist: options.Exist = options.ExistRule.suffix,
    deidentify: privacy.Deidentify = False,
    anonymise_rois: privacy.AnonymiseRois = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Convert between RTSTRUCT, DICOM Segmentation and label images, by the ending of --to and --format.

    Examples:

      jrs convert contours RS.dcm --reference ct-folder/ --to labels.nii.gz

      jrs convert contours labels.nii.gz --reference ct-folder/ --to RS.dcm

      jrs convert contours RS.dcm --reference ct-folder/ --format seg --to S.dcm
    """
    chosen = {"holes": holes.value, "simplify_mm": simplify, "fill_gaps": fill_gaps, "strict": strict}
    private = privacy.Privacy(deidentify, anonymise_rois)
    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        run = Run("convert contours", talk, chosen, reading=Reading(resample_irregular, assign_uids), privacy=private)
        renaming = contour_options.Renaming.from_file(rename)
        image = run.image("reference", reference, select=select) if reference else None
        found = _onto(run, run.contours("contours", source, image, assume_aligned=assume_aligned), source, image)
        grid = image.volume.geometry if image else None
        found = renaming.both(run, contour_options.prepared(run, found, grid, strict=strict, fill_gaps=fill_gaps))
        if json and grid is not None:
            contour_options.record_rois(run, found, grid)
        if to.suffix.lower() != ".dcm":
            _to_labels(run, found, image, to, exist)
        elif format is ContourFormat.seg:
            _to_segmentation(run, found, image, to, exist, seg_kind)
        else:
            _to_rtstruct(run, found, image, to, exist, holes.value, simplify)
        run.finish()


def _onto(run: Run, found: StructureSet | LabelMap, source: Path, image: ImageFile | None) -> StructureSet | LabelMap:
    """Labels of a DICOM Segmentation, which has only the planes that it needs, on all those of the image."""
    from jrscli.io.content import kind_of
    from jrscli.spatial.volume import LabelMap

    if not isinstance(found, LabelMap) or image is None or kind_of(source) != "dicom":
        return found
    grid = image.volume.geometry
    if found.geometry.matches(grid):
        return found
    from jrscli.errors import InputError, Notice
    from jrscli.spatial.resample import resample_labels

    moved = resample_labels(found, grid)
    if not moved.array.any():
        raise InputError(
            "the segmentation lies outside the image", code="overlap.none", hint="give the image that it was made on"
        )
    before, after = ((labels.array != 0).sum() * labels.geometry.voxel_volume_mm3 / 1000 for labels in (found, moved))
    if abs(after - before) > 1e-6 * before:
        words = f"the segmentation has another grid than the image; resampled (nearest): {before:.2f} -> {after:.2f} cc"
        run.note([Notice("seg.grid", words)])
    return moved


def _to_labels(run: Run, found: StructureSet | LabelMap, image: ImageFile | None, to: Path, exist: options.ExistRule) -> None:
    from jrscli.io import write_labels
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.contours import labels_of_structures

    if not isinstance(found, LabelMap):
        grid = needed(image, "contours have no grid of their own").volume.geometry
        found, notices = labels_of_structures(found, grid)
        run.note(notices)
    with one_file(to, exist, run.talk, "labels", run) as path:
        write_labels(found, path)


def _to_rtstruct(
    run: Run,
    found: StructureSet | LabelMap,
    image: ImageFile | None,
    to: Path,
    exist: options.ExistRule,
    holes: Holes,
    simplify_mm: float,
) -> None:
    from jrscli.io.rtstruct_write import Origin, write_rtstruct
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.contours import structures_of_labels

    image = _series(image, "an RTSTRUCT")
    assert image.series is not None
    grid = image.volume.geometry
    if isinstance(found, LabelMap):
        found = structures_of_labels(found, grid, holes=holes, simplify_mm=simplify_mm)
        run.note(found.notices)
    origin = Origin("converted", "jrs convert")
    with one_file(to, exist, run.talk, "rtstruct", run) as path:
        words = "converted by jrs"
        run.note(
            write_rtstruct(
                found,
                image.series,
                grid,
                path,
                label="JRS_CONVERTED",
                description=words,
                series_description="jrs convert",
                origin=origin,
            )
        )


def _to_segmentation(
    run: Run, found: StructureSet | LabelMap, image: ImageFile | None, to: Path, exist: options.ExistRule, kind: SegKindName
) -> None:
    from jrscli.io.rtstruct_write import Origin
    from jrscli.io.segmentation_object import write_segmentation
    from jrscli.spatial.masks import Masks
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.contours import masks_of_structures

    image = _series(image, "a DICOM Segmentation")
    assert image.series is not None
    grid = image.volume.geometry
    masks = Masks.of_labels(found) if isinstance(found, LabelMap) else masks_of_structures(found, grid)
    origin = Origin("converted", "jrs convert")
    with one_file(to, exist, run.talk, "seg", run) as path:
        run.note(write_segmentation(masks, image.series, grid, path, kind=kind.value, label="JRS_CONVERTED", origin=origin))


def _series(image: ImageFile | None, what: str) -> ImageFile:
    image = needed(image, f"{what} has to refer to a DICOM series")
    if image.series is None:
        raise UsageError(f"{what} has to refer to a DICOM series", code="convert.reference", hint="--reference DICOM-FOLDER")
    return image
