"""Added path length: how much of the reference contour a person still has to draw, slice by slice.

Source: Vaassen et al. 2020, doi:10.1016/j.phro.2019.12.001. The mirrored count, what a person has to erase, is the deleted path
length.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from jrscli.metrics.value import Value, emptiness

Mask = Bool[np.ndarray, "i j k"]
SQUARE = 0.01
"""Pixels whose sides differ by a larger share are not square: then only the polyline has a length."""


def added_path(reference: Mask, test: Mask, spacing_mm: tuple[float, float, float], name: str = "apl") -> tuple[Value, ...]:
    """``apl.v1`` in mm, in pixels and in % of the reference contour, and ``apl.v1(1px)``, in the planes of axes 0 and 1.

    A contour pixel has one of its four neighbours outside the mask; one of R counts if T has no contour pixel there (or within
    one pixel). On pixels that are not square these are ``not_assessed``: see `added_polyline`.
    None if both masks are empty, 0 if only the reference is.
    """
    status = emptiness(int(reference.any()), int(test.any()))
    ids = (f"{name}.v1", f"{name}.v1(pixels)", f"{name}.v1(%)", f"{name}.v1(1px)")
    units = ("mm", "pixels", "%", "mm")
    width, height = spacing_mm[:2]
    if abs(width - height) > SQUARE * max(width, height):
        return tuple(Value(id_, None, unit, "not_assessed") for id_, unit in zip(ids, units, strict=True))
    if status == "both_empty":
        return tuple(Value(id_, None, unit, status) for id_, unit in zip(ids, units, strict=True))
    ours, theirs = contour_pixels(reference), contour_pixels(test)
    side = float(np.sqrt(width * height))
    added = int(np.count_nonzero(ours & ~theirs))
    far = int(np.count_nonzero(ours & ~_within_one(theirs)))
    whole = int(np.count_nonzero(ours))
    numbers = (added * side, added, 100 * added / whole if whole else None, far * side)
    return tuple(Value(id_, number, unit, status) for id_, number, unit in zip(ids, numbers, units, strict=True))


def deleted_path(reference: Mask, test: Mask, spacing_mm: tuple[float, float, float]) -> tuple[Value, ...]:
    """``dpl.v1``: `added_path` with the roles exchanged; in % of the test's contour."""
    swapped = {"ref_empty": "test_empty", "test_empty": "ref_empty"}
    return tuple(
        Value(value.id, value.value, value.unit, swapped.get(value.status, value.status))  # type: ignore[arg-type]
        for value in added_path(test, reference, spacing_mm, "dpl")
    )


def added_polyline(reference: Mask, test: Mask, spacing_mm: tuple[float, float, float]) -> tuple[Value, Value]:
    """``apl_poly.v1`` in mm and in %: length of R's outline, drawn between pixel centres, where T has none; for any pixels."""
    status = emptiness(int(reference.any()), int(test.any()))
    if status == "both_empty":
        return Value("apl_poly.v1", None, "mm", status), Value("apl_poly.v1(%)", None, "%", status)
    ours, theirs = _corner_codes(reference), _corner_codes(test)
    length = _lengths(spacing_mm)[ours]
    there = (theirs > 0) & (theirs < 15)
    added, whole = float(length[~there].sum()), float(length.sum())
    return (
        Value("apl_poly.v1", added, "mm", status),
        Value("apl_poly.v1(%)", 100 * added / whole if whole else None, "%", status),
    )


def contour_pixels(mask: Mask) -> Mask:
    """Pixels of a mask that have one of their four neighbours in the slice (axes 0, 1) outside it."""
    padded = np.pad(mask, ((1, 1), (1, 1), (0, 0)))
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _within_one(pixels: Mask) -> Mask:
    """The pixels and their four neighbours: what lies within a distance of one pixel."""
    wide = pixels.copy()
    wide[1:] |= pixels[:-1]
    wide[:-1] |= pixels[1:]
    wide[:, 1:] |= pixels[:, :-1]
    wide[:, :-1] |= pixels[:, 1:]
    return wide


def _corner_codes(mask: Mask) -> np.ndarray:
    """For each corner between four pixels of a slice which of them are inside, as four bits."""
    bits = np.pad(mask, ((1, 1), (1, 1), (0, 0))).view(np.uint8)
    return bits[:-1, :-1] | bits[1:, :-1] << np.uint8(1) | bits[:-1, 1:] << np.uint8(2) | bits[1:, 1:] << np.uint8(3)


def _lengths(spacing_mm: tuple[float, float, float]) -> Float[np.ndarray, "16"]:
    """Length in mm of the outline that marching squares draws for each code; edges are cut in the middle."""
    width, height = spacing_mm[:2]
    diagonal = float(np.hypot(width, height)) / 2
    table = np.zeros(16)
    for code in range(1, 15):
        if code in (6, 9):  # two opposite corners: two lines
            table[code] = 2 * diagonal
        elif code.bit_count() == 2:
            table[code] = height if code in (5, 10) else width
        else:
            table[code] = diagonal
    return table
