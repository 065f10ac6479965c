"""A saved transform applied to structures, and its inverse. Pure: no files, no printing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jrscli.errors import Notice
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume


@dataclass(frozen=True)
class _Pair:
    """What `propagate` needs of a registration."""

    transform: Transform
    inverse: Transform


def inverse_of(transform: Transform) -> Transform:
    """The way back: matrices exactly, fields by fixed-point iteration (see `DisplacementField.inverse`)."""
    return transform.inverse()


def warp_structures(
    structures: StructureSet, source: Geometry, target: Geometry, transform: Transform, inverse: Transform
) -> tuple[StructureSet, tuple[Notice, ...]]:
    """The structures of the source image on the slices of the target image, as `propagate` carries them.

    transform: target mm -> source mm (it resamples the source image); inverse: source mm -> target mm.
    """
    from jrscli.workflows.propagate import propagate

    blank = Volume(np.zeros(target.shape, np.int8), target)
    carried = propagate(
        Volume(np.zeros(source.shape, np.int8), source),
        structures,
        blank,
        registration=_Pair(transform, inverse),
        body="propagate",
    )
    return replace(carried.structures, notices=()), carried.notices
