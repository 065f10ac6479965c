"""What can be seen to be wrong with a contour without knowing the truth: gaps, islands, ends cut off, sides swapped."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import generate_binary_structure, label

from jrscli.metrics.pair import Pair

MOST_ISLANDS = 3
END_SLICES = 2
END_MM = 6.0
OVERLAP_SHARE = 0.05

Mask = Bool[np.ndarray, "i j k"]

# a word of its own in any letters (lung_left, L Parotid), or one that only its capital sets off (LeftParotid, FemoralHeadL)
_SIDE = re.compile(
    r"(?:^|(?<=[\W_]))((?i:left|right|lt|rt|l|r))(?=$|[\W_])|^(Left|Right|left|right)(?=[A-Z])|(?<=[a-z])(Left|Right|L|R)$"
)
_BODY = {"body", "external", "skin", "outline", "patient", "bodyoutline", "patientoutline", "bodycontour"}


def contour_flags(pair: Pair) -> tuple[str, ...]:
    """Flags of the test mask that the reference does not share.

    "gap": slices inside it are empty. "islands": more than 3 separate parts (and more than the reference has).
    "cut": it touches the border of the image where the reference does not. "truncated": at one end it lacks more than two
    slices and 6 mm that the reference has.
    """
    test, reference = pair.test, pair.reference
    if not test.any():
        return ()
    flags = []
    if missing_slices(test) > missing_slices(reference):
        flags.append("gap")
    parts = islands(test)
    if parts > MOST_ISLANDS and parts > islands(reference):
        flags.append("islands")
    if pair.touches_border(test) and reference.any() and not pair.touches_border(reference):
        flags.append("cut")
    if reference.any():
        ends = [np.flatnonzero(mask.any(axis=(0, 1)))[[0, -1]] for mask in (reference, test)]
        lacking = max(int(ends[1][0] - ends[0][0]), int(ends[0][1] - ends[1][1]))
        if lacking > END_SLICES and lacking * pair.spacing_mm[2] > END_MM:
            flags.append("truncated")
    return tuple(flags)


def overlapping(pairs: Mapping[str, Pair]) -> tuple[str, ...]:
    """Names of structures that share more than 5 % of the smaller one's voxels in the test, and less than half of that in the
    reference."""
    found: list[str] = []
    names = list(pairs)
    for n, one in enumerate(names):
        for other in names[n + 1 :]:
            shares = [_shared(pairs[one], pairs[other], part) for part in ("test", "reference")]
            if shares[0] > OVERLAP_SHARE and shares[1] < shares[0] / 2:
                found += [one, other]
    return tuple(dict.fromkeys(found))


def _shared(one: Pair, other: Pair, part: str) -> float:
    """The share of the smaller mask that lies in the larger one."""
    low = np.maximum(one.lower, other.lower)
    high = np.minimum(*(np.array(pair.lower) + pair.test.shape for pair in (one, other)))
    smaller = min(int(np.count_nonzero(getattr(pair, part))) for pair in (one, other))
    if (low >= high).any() or not smaller:
        return 0.0
    cuts = [
        getattr(pair, part)[tuple(slice(a - o, b - o) for a, b, o in zip(low, high, pair.lower, strict=True))]
        for pair in (one, other)
    ]
    return float(np.count_nonzero(cuts[0] & cuts[1])) / smaller


def is_target(name: str, kind: str = "") -> bool:
    """Whether an ROI is a target volume, which lies in organs by its nature."""
    return kind.upper() in ("PTV", "CTV", "GTV", "TREATED_VOLUME") or bool(re.match(r"(?i)(i?gtv|ctv|itv|ptv)", name))


def missing_slices(mask: Mask) -> int:
    """Empty slices (last axis) between the first and the last that are not."""
    held = np.flatnonzero(mask.any(axis=(0, 1)))
    return int(held[-1] - held[0] + 1 - len(held)) if len(held) else 0


def islands(mask: Mask) -> int:
    """Parts of a mask that do not touch each other, not even at a corner."""
    return int(label(mask, generate_binary_structure(3, 3))[1]) if mask.any() else 0


def is_body(name: str, kind: str = "") -> bool:
    """Whether an ROI is the outline of the patient, by its type (EXTERNAL) or its name."""
    return kind.upper() == "EXTERNAL" or re.sub(r"[\W_]", "", name).lower() in _BODY


def side_of(name: str) -> tuple[str, str] | None:
    """("L" or "R", the name without the side) of an organ that comes in pairs, by its name; None for others."""
    found = _SIDE.search(name)
    if not found:
        return None
    word = next(part for part in found.groups() if part)
    rest = re.sub(r"[\W_]", "", name[: found.start()] + name[found.end() :]).lower()
    return (word[0].upper(), rest) if rest else None


def swapped_sides(
    test_mm: Mapping[str, Float[np.ndarray, "3"]], reference_mm: Mapping[str, Float[np.ndarray, "3"]]
) -> tuple[str, ...]:
    """Names of left and right organs whose centres (LPS mm) lie the other way round than the reference's.

    A pair that the reference does not have is judged by the patient's left, which is + in LPS.
    """
    places: dict[str, dict[str, str]] = {}
    for name in test_mm:
        side = side_of(name)
        if side:
            places.setdefault(side[1], {})[side[0]] = name
    wrong: list[str] = []
    for pair in places.values():
        if len(pair) != 2:
            continue
        left, right = pair["L"], pair["R"]
        apart = float(test_mm[left][0] - test_mm[right][0])
        known = left in reference_mm and right in reference_mm
        expected = float(reference_mm[left][0] - reference_mm[right][0]) if known else 1.0
        if apart * expected < 0:
            wrong += [left, right]
    return tuple(wrong)
