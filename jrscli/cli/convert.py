"""``jrs convert``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jrscli.cli import options, privacy
from jrscli.cli.convert_contours import contours
from jrscli.cli.convert_reg import reg
from jrscli.cli.one_file import Reference, Source, To, one_file
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

commands.command(cls=PlainCommand)(contours)
commands.command(cls=PlainCommand)(reg)


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
    deidentify: privacy.Deidentify = False,
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
        run = Run(
            "convert series",
            talk,
            {},
            reading=Reading(resample_irregular, assign_uids),
            privacy=privacy.Privacy(deidentify),
        )
        image = run.image("image", source, select=select)
        as_dicom = not to.suffix
        kind = _modality(image, modality) if as_dicom else ""
        with one_file(to, exist, talk, "series" if as_dicom else "image", run) as path:
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
        with one_file(to, exist, talk, "field") as path:
            write_field(found, path)
        talk.finish()


def _modality(image: ImageFile, asked: str | None) -> str:
    found = asked or image.modality
    if not found:
        raise UsageError(
            "the file does not say whether it is CT or MR, and DICOM has to",
            code="convert.modality",
            hint="add --modality CT or --modality MR",
        )
    return found.upper()
