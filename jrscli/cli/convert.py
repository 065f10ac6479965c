"""``jrs convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jrscli.cli import options
from jrscli.cli.plain import PlainCommand
from jrscli.cli.run import Reading, Run
from jrscli.cli.talk import Talk
from jrscli.errors import UsageError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile

commands = typer.Typer(
    help="Convert image series, contours, displacement fields and transforms between formats.",
    epilog="Example:  jrs convert series ct-folder/ --to ct.nii.gz",
    no_args_is_help=True,
)

Source = Annotated[Path, typer.Argument(metavar="PATH", help="What to convert.", show_default=False)]
To = Annotated[Path, typer.Option("--to", help="Where to; the ending of the name says the format.", show_default=False)]
Reference = Annotated[Path | None, typer.Option(help="Image whose grid the result gets.", show_default=False)]


@commands.command(cls=PlainCommand)
def series(
    source: Source,
    to: To,
    modality: Annotated[
        str | None,
        typer.Option(metavar="CT|MR", help="What an image without DICOM header is, to write DICOM.", show_default=False),
    ] = None,
    select: options.Select = None,
    resample_irregular: options.ResampleIrregular = False,
    assign_uids: options.AssignUids = False,
    exist: options.Exist = options.ExistRule.suffix,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Convert an image: DICOM series, NIfTI, NRRD or MetaImage; a --to without ending is a folder of DICOM slices.

    Examples:

      jrs convert series ct-folder/ --to ct.nii.gz

      jrs convert series ct.nii.gz --modality CT --to ct-dicom
    """
    from jrscli.io import write_image

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        run = Run("convert series", talk, {}, reading=Reading(resample_irregular, assign_uids))
        image = run.image("image", source, select=select)
        as_dicom = not to.suffix
        kind = _modality(image, modality) if as_dicom else ""
        with _one(to, exist, talk, "series" if as_dicom else "image") as path:
            if as_dicom and run.got_new_uids(image):
                from jrscli.io.dicom_repair import write_repaired

                write_repaired(source, path, select=select)
            elif as_dicom:
                from jrscli.io.dicom_write import write_series

                frame = image.frame_of_reference_uid
                write_series(image.volume, path, modality=kind, header_from=image.series, frame_of_reference_uid=frame)
            else:
                write_image(image.volume, path)
        run.finish()


@commands.command(cls=PlainCommand)
def contours(
    source: Source,
    to: To,
    reference: Annotated[Path | None, typer.Option(help="Image that the contours belong to.", show_default=False)] = None,
    select: options.Select = None,
    resample_irregular: options.ResampleIrregular = False,
    assign_uids: options.AssignUids = False,
    exist: options.Exist = options.ExistRule.suffix,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Convert an RTSTRUCT to a label image (--to NAME.nii.gz), or a label image to an RTSTRUCT (--to NAME.dcm).

    Examples:

      jrs convert contours RS.dcm --reference ct-folder/ --to labels.nii.gz

      jrs convert contours labels.nii.gz --reference ct-folder/ --to RS.dcm
    """
    from jrscli.spatial.volume import LabelMap

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        run = Run("convert contours", talk, {}, reading=Reading(resample_irregular, assign_uids))
        image = run.image("reference", reference, select=select) if reference else None
        found = run.contours("contours", source, image)
        if to.suffix.lower() == ".dcm":
            _to_rtstruct(run, found, image, to, exist)
        else:
            from jrscli.io import write_labels
            from jrscli.workflows.contours import labels_of_structures

            if not isinstance(found, LabelMap):
                grid = _needed(image, "contours have no grid of their own").volume.geometry
                found, notices = labels_of_structures(found, grid)
                run.note(notices)
            with _one(to, exist, talk, "labels") as path:
                write_labels(found, path)
        run.finish()


@commands.command(cls=PlainCommand)
def field(
    source: Source,
    to: To,
    reference: Reference = None,
    exist: options.Exist = options.ExistRule.suffix,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Write a transform or field as a displacement field image (mm, LPS, pull): .nii.gz, .nrrd or .mha.

    Examples:

      jrs convert field xfm.h5 --reference fixed.nii.gz --to field.nii.gz

      jrs convert field field.nii.gz --to field.nrrd
    """
    from jrscli.io.sidecar import read_sidecar
    from jrscli.io.transforms import as_field, read_transform, write_field

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        run = Run("convert field", talk, {})
        transform = read_transform(source)
        sidecar = read_sidecar(source)
        grid = run.image("reference", reference).volume.geometry if reference else sidecar.target if sidecar else None
        found = transform.displacement(grid) if grid else as_field(transform)
        with _one(to, exist, talk, "field") as path:
            write_field(found, path)
        talk.finish()


@commands.command(cls=PlainCommand)
def transform(
    source: Source,
    to: To,
    exist: options.Exist = options.ExistRule.suffix,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Write a transform or field as an ITK transform: .h5 or .tfm, and .mat (ANTs) for linear ones.

    Examples:

      jrs convert transform field.nii.gz --to field.h5

      jrs convert transform xfm.h5 --to xfm.tfm
    """
    from jrscli.io.sidecar import read_sidecar
    from jrscli.io.transforms import read_transform, write_transform

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        found, sidecar = read_transform(source), read_sidecar(source)
        with _one(to, exist, talk, "xfm") as path:
            write_transform(found, path, sidecar)
        talk.finish()


def _one(to: Path, exist: options.ExistRule, talk: Talk, kind: str) -> Any:
    """A place to write the one result to; named on stdout at the end."""
    from contextlib import contextmanager

    from jrscli.io.output import atomic_path

    @contextmanager
    def opened() -> Any:
        with atomic_path(to, exist=exist.value) as (path, final):
            yield path
        talk.output(kind, final)

    return opened()


def _to_rtstruct(run: Run, found: Any, image: ImageFile | None, to: Path, exist: options.ExistRule) -> None:
    from jrscli.io.rtstruct_write import write_rtstruct
    from jrscli.spatial.volume import LabelMap
    from jrscli.workflows.contours import structures_of_labels

    image = _needed(image, "an RTSTRUCT has to refer to a DICOM series")
    if image.series is None:
        raise UsageError(
            "an RTSTRUCT has to refer to a DICOM series", code="convert.reference", hint="--reference DICOM-FOLDER"
        )
    if isinstance(found, LabelMap):
        from jrscli.workflows.evaluate import check_grids

        check_grids(image.volume.geometry, found.geometry)
        found = structures_of_labels(found)
    with _one(to, exist, run.talk, "rtstruct") as path:
        run.note(
            write_rtstruct(
                found, image.series, image.volume.geometry, path, label="JRS_CONVERTED", description="converted by jrs"
            )
        )


def _needed(image: ImageFile | None, why: str) -> ImageFile:
    if image is None:
        raise UsageError(f"{why}", code="convert.reference", hint="name the image: --reference IMAGE")
    return image


def _modality(image: ImageFile, asked: str | None) -> str:
    found = asked or image.modality
    if not found:
        raise UsageError(
            "the file does not say whether it is CT or MR, and DICOM has to",
            code="convert.modality",
            hint="add --modality CT or --modality MR",
        )
    return found.upper()
