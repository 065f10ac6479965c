"""``jrs convert reg``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jrscli.cli import options, privacy
from jrscli.cli.dicom_results import RegAccuracy, RegKind, read_reg, write_registration_object
from jrscli.cli.one_file import Reference, To, one_file
from jrscli.cli.run import Run, choose
from jrscli.cli.talk import Talk
from jrscli.errors import UsageError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.io.sidecar import Sidecar
    from jrscli.spatial.transform import Transform


class KindName(StrEnum):
    """Which DICOM registration a transform becomes."""

    auto = "auto"
    rigid = "rigid"
    deformable = "deformable"


def reg(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="The transform; several are applied in their order.", show_default=False),
    ],
    to: To,
    fixed: Annotated[Path | None, typer.Option(help="DICOM series that stays.", show_default=False)] = None,
    moving: Annotated[Path | None, typer.Option(help="DICOM series that is moved.", show_default=False)] = None,
    reference: Reference = None,
    kind: Annotated[KindName, typer.Option(help="Of a DICOM registration; auto: by what the transform is.")] = KindName.auto,
    reg_accuracy: RegAccuracy = 0.1,
    select: options.Selects = None,
    exist: options.Exist = options.ExistRule.suffix,
    deidentify: privacy.Deidentify = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Convert a transform between DICOM registrations, ITK, ANTs, elastix and plastimatch.

    The ending of --to says the format: .dcm (with --fixed and --moving), .h5 or .tfm (ITK), NAME0GenericAffine.mat (ANTs; with
    NAME1Warp.nii.gz beside it), TransformParameters.0.txt (elastix, linear), .nrrd, .mha or .nii.gz (a field, for plastimatch
    or ANTs), .mat (one matrix). Several transforms are given as to antsApplyTransforms: points of the fixed image meet the
    first one first.

    Examples:

      jrs convert reg REG.dcm --to reg.tfm

      jrs convert reg xfm.h5 --fixed daily-ct/ --moving planning-ct/ --to R.dcm

      jrs convert reg ants1Warp.nii.gz ants0GenericAffine.mat --to xfm.h5
    """
    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        run = Run("convert reg", talk, {}, privacy=privacy.Privacy(deidentify))
        images = [
            run.image(role, path, select=choose(path, select, n)) if path else None
            for n, (role, path) in enumerate((("fixed", fixed), ("moving", moving)))
        ]
        found, sidecar = _read(run, sources, *images)
        if to.suffix.lower() == ".dcm":
            stays, moves = (_series(image) for image in images)
            which = _kind(kind, found)
            with one_file(to, exist, talk, "reg", run) as path:
                write_registration_object(run, which, reg_accuracy, found, stays, moves, path)
        else:
            from jrscli.io.ants import AFFINE
            from jrscli.io.transform_formats import write_as_named

            image = run.image("reference", reference) if reference else images[0]
            grid = image.volume.geometry if image else sidecar.target if sidecar else None
            if to.name.endswith(AFFINE) and exist is options.ExistRule.suffix:
                exist = options.ExistRule.error  # the two files of a pair know one another by their names
            with one_file(to, exist, talk, "xfm") as path:
                write_as_named(found, path, grid, sidecar)
        run.finish()


def _read(run: Run, sources: list[Path], fixed: ImageFile | None, moving: ImageFile | None) -> tuple[Transform, Sidecar | None]:
    """The chain of transforms, and what is known of the images that it joins."""
    from jrscli.io.registration_object import registration_kind
    from jrscli.io.sidecar import Sidecar, read_sidecar
    from jrscli.io.transforms import read_transform
    from jrscli.spatial.transform import Transform

    if len(sources) == 1 and registration_kind(sources[0]):
        found = read_reg(run, sources[0], fixed, moving)
    else:
        found = Transform(tuple(part for source in sources for part in read_transform(source).parts))
        for source in sources:
            run.record.add_input("xfm", source, "transform")
    sidecar = read_sidecar(sources[0]) if len(sources) == 1 else None
    if sidecar is None and fixed is not None and moving is not None:
        frames = (fixed.frame_of_reference_uid is not None, moving.frame_of_reference_uid is not None)
        sidecar = Sidecar("moving_to_fixed", fixed.volume.geometry, moving.volume.geometry, *frames)
    return found, sidecar


def _kind(kind: KindName, transform: Transform) -> RegKind:
    if kind is KindName.auto:
        return RegKind.rigid if transform.is_linear else RegKind.deformable
    return RegKind(kind.value)


def _series(image: ImageFile | None) -> ImageFile:
    if image is None or image.series is None:
        raise UsageError(
            "a DICOM registration names two DICOM series",
            code="usage.dicom",
            hint="give both: --fixed FOLDER --moving FOLDER",
        )
    return image
