"""``jrs info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jrscli.cli import options
from jrscli.cli.run import Reading
from jrscli.cli.talk import Talk


def info(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files or folders.", show_default=False)],
    select: options.Select = None,
    resample_irregular: options.ResampleIrregular = False,
    assign_uids: options.AssignUids = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Say what a file or folder is: geometry, ROIs, which RTSTRUCT belongs to which series, what a transform does.

    Examples:

      jrs info image.nii.gz

      jrs info dicom-folder/ --json
    """
    from jrscli.cli.describe import describe_path, lines_of

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        documents: list[dict[str, Any]] = [
            describe_path(path, select=select, reading=Reading(resample_irregular, assign_uids), progress=talk)
            for path in paths
        ]
        talk.close_bar()
        if json:
            talk.print_json(documents[0] if len(documents) == 1 else {"paths": documents})
            return
        for number, document in enumerate(documents):
            if number:
                typer.echo()
            for line in lines_of(document):
                typer.echo(line)
