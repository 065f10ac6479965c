"""Contours and landmarks of both images as guidance of the engine. Pure: no files, no printing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jrscli.errors import InputError, Notice, UsageError
from jrscli.metrics.pair import Box, box_geometry
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.pairing import Structure, pairs_of, structures_of

if TYPE_CHECKING:
    from jrscli.engine.guidance import Guidance

Drawn = LabelMap | StructureSet
Points = Float[np.ndarray, "n 3"]
MARGIN_VOXELS = 8
"""Background round each organ, so that smoothing on a coarser grid finds its edge."""


def guidance_of(
    fixed: Geometry,
    moving: Geometry,
    *,
    labels: tuple[Drawn, Drawn] | None = None,
    points_mm: tuple[Points, Points] | None = None,
) -> tuple[Guidance, tuple[Notice, ...]]:
    """The guidance of labels and landmarks of two images with these grids, and what of it is left out.

    labels: structures are paired as `jrs evaluate` pairs them: by name where both sides name everything, else by number.

    Raises InputError `guide.none` if no structure is on both sides, `overlap.none` if labels or landmarks lie outside their
    image, `points.pairs` for lists of landmarks of different length.
    """
    from jrscli.engine.guidance import Guidance

    notices: list[Notice] = []
    guidance = Guidance()
    if labels is not None:
        maps, said = _paired_maps(labels, (fixed, moving))
        guidance = guidance.joined(Guidance(*maps))
        notices += said
    if points_mm is not None:
        inside, said = _points_inside(points_mm, (fixed, moving))
        guidance = guidance.joined(Guidance(fixed_points_mm=inside[0], moving_points_mm=inside[1]))
        notices += said
    return guidance, tuple(notices)


def paired_points(fixed: tuple[Points, Sequence[str]], moving: tuple[Points, Sequence[str]]) -> tuple[Points, Points]:
    """Two lists of landmarks with their names in one order: by name where every landmark on both sides has one of its own,
    else as they stand.

    Raises InputError `points.pairs` if the numbers differ, `points.names` if the names do.
    """
    (fixed_mm, fixed_names), (moving_mm, moving_names) = fixed, moving
    _check_count(fixed_mm, moving_mm)
    own = [len(set(names)) == len(names) == len(fixed_mm) and all(names) for names in (fixed_names, moving_names)]
    if not all(own) or tuple(fixed_names) == tuple(moving_names):
        return fixed_mm, moving_mm
    alone = set(fixed_names) ^ set(moving_names)
    if alone:
        raise InputError(
            f"{len(alone)} of the landmarks' labels are in one of the two lists only",
            code="points.names",
            hint="give partners the same label, or leave the labels out: then the order counts",
        )
    place = {name: n for n, name in enumerate(moving_names)}
    return fixed_mm, moving_mm[[place[name] for name in fixed_names]]


def check_sides(fixed: object | None, moving: object | None, what: str) -> None:
    """Raise UsageError `usage.combination` where only one side of a guide was given."""
    if (fixed is None) != (moving is None):
        side, other = ("fixed", "moving") if moving is None else ("moving", "fixed")
        raise UsageError(
            f"{what} of the {side} image alone guide nothing",
            code="usage.combination",
            hint=f"give those of the {other} image as well (--{other}-{what})",
        )


def _paired_maps(
    labels: tuple[Drawn, Drawn], grids: tuple[Geometry, Geometry]
) -> tuple[tuple[tuple[Volume, ...], tuple[Volume, ...]], list[Notice]]:
    places = tuple(part.geometry if isinstance(part, LabelMap) else grid for part, grid in zip(labels, grids, strict=True))
    sides = [structures_of(part, place) for part, place in zip(labels, places, strict=True)]
    for role, side, place, grid in zip(("fixed", "moving"), sides, places, grids, strict=True):
        if not any(_reaches(one, place, grid) for one in side):
            raise InputError(
                f"the {role} labels do not overlap the {role} image",
                code="overlap.none",
                hint="check that both belong together, and that fixed and moving are not swapped: jrs info",
            )
    pairs, alone = [], []
    for one, other in pairs_of(sides[0], sides[1], "auto"):
        if one and other and _reaches(one, places[0], grids[0]) and _reaches(other, places[1], grids[1]):
            pairs.append((one, other))
        elif any(part is not None and part.box is not None for part in (one, other)):
            alone.append((one or other).number)  # type: ignore[union-attr]
    if not pairs:
        raise InputError(
            "no structure is drawn on both images",
            code="guide.none",
            hint="a structure has to have the same number, or the same name, on both sides",
        )
    said = []
    if alone:
        numbers = ", ".join(map(str, sorted(alone)[:8])) + (" …" if len(alone) > 8 else "")
        said.append(Notice("guide.unpaired", f"drawn on one of the images only, so these guide nothing: {numbers}"))
    fixed, moving = (tuple(_map(pair[side], places[side]) for pair in pairs) for side in (0, 1))
    return (fixed, moving), said


def _reaches(structure: Structure, place: Geometry, image: Geometry) -> bool:
    """Whether the box round a structure meets the image."""
    if structure.box is None:
        return False
    index = image.world_to_index(box_geometry(place, structure.box).corners_mm)
    return bool((index.max(axis=0) > -0.5).all() and (index.min(axis=0) < np.array(image.shape) - 0.5).all())


def _map(structure: Structure, place: Geometry) -> Volume:
    """The mask in a box with a margin of background; along an axis of one voxel there is none."""
    box: Box | None = structure.box
    assert box is not None
    i, j, k = (MARGIN_VOXELS if n > 1 else 0 for n in place.shape)
    mask = np.pad(structure.mask(box).astype(np.uint8), ((i, i), (j, j), (k, k)))
    return Volume(mask, box_geometry(place, box).padded((i, j, k)))


def _points_inside(
    points_mm: tuple[Points, Points], grids: tuple[Geometry, Geometry]
) -> tuple[tuple[Points, Points], list[Notice]]:
    fixed, moving = (np.asarray(points, dtype=np.float64) for points in points_mm)
    _check_count(fixed, moving)
    inside = grids[0].contains(fixed) & grids[1].contains(moving)
    if not inside.any():
        raise InputError(
            "no landmark lies inside both images",
            code="overlap.none",
            hint="coordinates are LPS mm, the fixed image's first; check both with jrs info",
        )
    out = int((~inside).sum())
    said = (
        [Notice("guide.outside", f"{out} of {len(fixed)} landmarks lie outside their image and guide nothing")] if out else []
    )
    return (fixed[inside], moving[inside]), said


def _check_count(fixed: Points, moving: Points) -> None:
    if fixed.shape != moving.shape or fixed.ndim != 2 or fixed.shape[1] != 3 or not len(fixed):
        raise InputError(
            f"{len(fixed)} landmarks in the fixed and {len(moving)} in the moving image where pairs are needed",
            code="points.pairs",
            hint="give both files the same landmarks",
        )
