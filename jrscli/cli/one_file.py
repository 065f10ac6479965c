"""What commands that make one file of another share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jrscli.cli import options
from jrscli.cli.talk import Talk
from jrscli.errors import UsageError

if TYPE_CHECKING:
    from jrscli.cli.run import Run
    from jrscli.io.image_file import ImageFile

Source = Annotated[Path, typer.Argument(metavar="PATH", help="What to convert.", show_default=False)]
To = Annotated[Path, typer.Option("--to", help="Where to; the ending of the name says the format.", show_default=False)]
Reference = Annotated[Path | None, typer.Option(help="Image whose grid the result gets.", show_default=False)]


@contextmanager
def one_file(to: Path, exist: options.ExistRule, talk: Talk, kind: str, run: Run | None = None) -> Iterator[Path]:
    """A place to write the one result to; named on stdout at the end. run: whose privacy holds for what is written."""
    from jrscli.io.output import atomic_path

    with atomic_path(to, exist=exist.value) as (path, final):
        yield path
        if run is not None:
            run.note(run.privacy.apply(path.parent))
    talk.output(kind, final)


def needed(image: ImageFile | None, why: str) -> ImageFile:
    """The image, which has to be there."""
    if image is None:
        raise UsageError(why, code="convert.reference", hint="name the image: --reference IMAGE")
    return image
