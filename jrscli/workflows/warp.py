"""A saved transform applied to structures, and its inverse. Pure: no files, no printing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jrscli.errors import InputError, Notice
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample
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


@dataclass(frozen=True, eq=False)
class WarpedDose:
    """A dose carried over point by point: each place keeps its dose; energy and mass are not balanced.

    outside: voxels that come from beyond the grid of the given dose; they are 0. outside_percent: their share.
    """

    volume: Volume
    outside: int

    @property
    def outside_percent(self) -> float:
        """The share of voxels that the given dose says nothing of, %."""
        return 100.0 * self.outside / self.volume.array.size


def warp_dose(dose: Volume, target: Geometry, transform: Transform) -> WarpedDose:
    """``dose`` pulled over the field of ``target`` at about its own resolution, linearly; 0 beyond its grid.

    transform: target mm -> mm of the dose.

    Raises InputError `overlap.none` where the dose and the target have nothing in common.
    """
    # of the axes of the dose the one that runs most nearly along each axis of the target gives its spacing
    nearest = np.abs(dose.geometry.axes.T @ target.axes).argmax(axis=0)
    x, y, z = (max(dose.geometry.spacing_mm[n], 0.1) for n in nearest)
    grid = target.with_spacing((x, y, z))
    nowhere = float(dose.array.min()) - 1.0
    moved = resample(dose, grid, transform, outside=nowhere)
    outside = moved.array == np.float32(nowhere)
    if outside.all():
        raise InputError(
            "the dose lies outside the image it is to be moved to",
            code="overlap.none",
            hint="check the transform and its direction (--inverse), and that dose and images belong to one patient",
        )
    return WarpedDose(Volume(np.where(outside, np.float32(0), moved.array), grid), int(np.count_nonzero(outside)))


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
