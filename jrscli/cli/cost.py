"""What a registration will roughly cost, said before it starts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jrscli.cli.talk import Talk

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile


def say_cost(
    talk: Talk, fixed: ImageFile, moving: ImageFile, preset: str, linear_only: bool, threads: int | None, device: str
) -> None:
    """Say about how long registering two images takes on a processor, and in how much memory."""
    from jrscli.workflows.register import expected_cost

    grids = fixed.volume.geometry, moving.volume.geometry
    seconds, gigabytes = expected_cost(*grids, preset=preset, linear_only=linear_only, threads=threads)
    where = " on a processor" if device != "cpu" else ""
    talk.say(f"expected: about {_rounded(seconds)}{where}, {gigabytes:.1f} GB")


def _rounded(seconds: float) -> str:
    """A time as coarse as it is known: 5, 10, 15 … 55 s, then whole minutes."""
    if seconds < 57.5:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{math.ceil(seconds / 60 - 0.5)} min"
