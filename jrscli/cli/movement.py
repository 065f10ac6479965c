"""Which map an input needs: images are pulled by the transform, points go through its inverse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jrscli.errors import InputError, Notice

if TYPE_CHECKING:
    from jrscli.io.sidecar import Sidecar
    from jrscli.spatial.geometry import Geometry
    from jrscli.spatial.transform import Transform


@dataclass(frozen=True, eq=False)
class Movement:
    """A direction to move things in.

    image_map: target mm -> source mm; it resamples the source image. source, target: the grids of the two images, where known.
    space: the name of the space that things arrive in.
    """

    image_map: Transform
    back: Transform | None
    sidecar: Sidecar | None
    inverse: bool
    source: Geometry | None
    target: Geometry | None
    space: str

    def point_map(self) -> Transform:
        """Source mm -> target mm: where points and contours go."""
        return self.back if self.back is not None else _inverted(self.image_map)

    def check(self, geometry: Geometry) -> list[Notice]:
        """Notices about an image that is neither of the two.

        Raises InputError `xfm.direction` for the image at the wrong end.
        """
        if self.sidecar is None or self.source is None or geometry.matches(self.source):
            return []
        there, here = (
            ("FIXED", "MOVING") if (self.sidecar.direction == "moving_to_fixed") != self.inverse else ("MOVING", "FIXED")
        )
        wrong = self.sidecar.fixed if there == "FIXED" else self.sidecar.moving
        if geometry.matches(wrong):
            raise InputError(
                f"this transform moves {here}; the given image has the geometry of {there}",
                code="xfm.direction",
                hint="leave --inverse out" if self.inverse else "add --inverse",
            )
        return [Notice("xfm.geometry", f"the image has a grid of its own, not that of {here}; it is placed by its header")]


def read_movement(path: Path, *, inverse: bool, reference: Geometry | None) -> Movement:
    """The movement that a transform file (with its .json, where there is one) describes.

    reference: the grid to arrive on, in place of the one in the .json.
    """
    from jrscli.io.sidecar import read_sidecar
    from jrscli.io.transforms import read_transform

    forward = read_transform(path)
    sidecar = read_sidecar(path)
    twin = (
        path.parent / sidecar.inverse if sidecar and sidecar.inverse and Path(sidecar.inverse).name == sidecar.inverse else None
    )
    backward = read_transform(twin) if twin and twin.exists() else None
    source, target, space = None, None, "fixed"
    if sidecar:
        source, target = sidecar.source, sidecar.target
        space = "fixed" if (sidecar.direction == "moving_to_fixed") != inverse else "moving"
    elif inverse:
        space = "moving"
    if not inverse:
        return Movement(forward, backward, sidecar, inverse, source, reference or target, space)
    pull = backward if backward is not None else _inverted(forward)
    return Movement(pull, forward, sidecar, inverse, target, reference or source, space)


@cache
def _inverted(transform: Transform) -> Transform:
    from jrscli.workflows.warp import inverse_of

    return inverse_of(transform)
