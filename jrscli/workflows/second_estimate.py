"""Two estimates of one contour, carried and found by a model: how far they disagree is a check that needs no truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from jrscli.metrics.evaluation import Row
from jrscli.metrics.gates import GateRow, number_of
from jrscli.metrics.organ_names import OrganMatch, matched_organs, organ_key
from jrscli.metrics.structure_gates import disagreement_row
from jrscli.metrics.tolerances import Tolerances
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.evaluate import evaluate_structures
from jrscli.workflows.pairing import structures_of
from jrscli.workflows.propagate import Propagation
from jrscli.workflows.segment_by_model import ModelSegmentation

METRICS = ("dice", "msd", "volume")
CLEARLY = 0.3
"""Two estimates of one organ with a Dice below this are looked at for exchanged sides."""


@dataclass(frozen=True)
class Estimates:
    """What there is of one organ.

    number: of the carried structure, None for an organ that the model alone knows. match: the names on both sides.
    row: Dice, mean surface distance and volumes (reference: the model's, test: carried). gate: what follows.
    exchanged: it lies where the model sees the same organ of the other side.
    """

    number: int | None
    match: OrganMatch
    row: Row | None = None
    gate: GateRow | None = None
    exchanged: bool = False

    def value(self, name: str) -> float | None:
        """A number of the row: "dice.v1", "msd.v1", "volume.v1(reference)", "volume.v1(test)"."""
        return number_of(self.row, name) if self.row else None


@dataclass(frozen=True)
class SecondEstimate:
    """organs: every organ that either side has. labels: the model's number of each carried structure that it knows."""

    organs: tuple[Estimates, ...] = ()
    labels: Mapping[int, int] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[GateRow, ...]:
        """The row of the gate for each structure that both estimates have."""
        return tuple(one.gate for one in self.organs if one.gate)

    @property
    def matches(self) -> tuple[OrganMatch, ...]:
        """Which organs were taken for the same, and what one side lacks."""
        return tuple(one.match for one in self.organs)


def second_estimate(
    carried: Propagation, found: ModelSegmentation, tolerances: Tolerances, *, by_number: bool = False
) -> SecondEstimate:
    """What the model found in the daily image against what was carried there.

    Structures are matched by the names of their organs (`metrics.organ_names`), never by a guess; labels without any name by
    their numbers, which are then those of the card. by_number: in rows a structure is called ``ROI-3`` in place of its name.
    """
    solid = {one.number for one in carried.results if one.how in ("carried", "found")}
    names = {roi.number: roi.name for roi in carried.structures.rois if roi.number in solid}
    given = dict(names)
    named = carried.labels is None or any(carried.labels.name(n) != str(n) for n in carried.labels.numbers())
    found_names = {n: found.labels.name(n) for n in sorted(found.labels.names) if n}
    matches = matched_organs(given.values(), found_names.values()) if named else _by_number(given, found_names)
    numbers = [_taken(given, match.given) for match in matches]
    label_of = {name: number for number, name in found_names.items()}
    labels = {
        number: label_of[match.known]
        for number, match in zip(numbers, matches, strict=True)
        if number is not None and match.known is not None
    }
    rows = _rows(carried, found, labels)
    v_mm = max(found.labels.geometry.spacing_mm)
    organs = []
    for number, match in zip(numbers, matches, strict=True):
        if number is None or number not in labels or number not in rows:
            organs.append(Estimates(number, match))
            continue
        title = f"ROI-{number}" if by_number else names[number]
        row = replace(rows[number], name=title)
        dice = number_of(row, "dice.v1")
        exchanged = dice is not None and dice < CLEARLY and _exchanged(carried, found, number, labels[number], dice)
        gate = disagreement_row(row, tolerances, v_mm, found.agreement.get(match.known or ""))
        organs.append(Estimates(number, match, row, gate, exchanged))
    return SecondEstimate(tuple(organs), labels)


def _taken(given: dict[int, str], name: str | None) -> int | None:
    """The number of a name, taken out: names need not be unique."""
    number = next((number for number, other in given.items() if other == name), None)
    if number is not None:
        del given[number]
    return number


def _by_number(given: Mapping[int, str], known: Mapping[int, str]) -> tuple[OrganMatch, ...]:
    """The match of labels that have no names: equal numbers."""
    both = [OrganMatch(given[n], known[n], "both") for n in known if n in given]
    alone = [OrganMatch(None, name, "known only") for n, name in known.items() if n not in given]
    return (*both, *alone, *(OrganMatch(name, None, "given only") for n, name in given.items() if n not in known))


def renumbered(labels: LabelMap, numbers: Mapping[int, int]) -> LabelMap:
    """Those labels that ``numbers`` names, by the numbers it gives them."""
    table = np.zeros(int(labels.array.max(initial=0)) + 1, np.uint32)
    for number, other in numbers.items():
        if number < len(table):
            table[number] = other
    return LabelMap(table[labels.array], labels.geometry, {other: labels.name(number) for number, other in numbers.items()})


def _rows(carried: Propagation, found: ModelSegmentation, labels: Mapping[int, int]) -> dict[int, Row]:
    """The comparison of each structure that both have, by its number; the model's contour is the reference."""
    if not labels:
        return {}
    reference = renumbered(found.labels, {label: number for number, label in labels.items()})
    prediction = _part_of(carried, labels)
    rows = evaluate_structures(reference, prediction, reference.geometry, metrics=METRICS, match="number").rows
    return {row.number: row for row in rows if row.number is not None and row.test_number is not None}


def _part_of(carried: Propagation, numbers: Mapping[int, int]) -> StructureSet | LabelMap:
    """These of the carried structures."""
    if carried.labels is not None:
        return renumbered(carried.labels, {number: number for number in numbers})
    return replace(carried.structures, rois=tuple(roi for roi in carried.structures.rois if roi.number in numbers))


def _exchanged(carried: Propagation, found: ModelSegmentation, number: int, label: int, dice: float) -> bool:
    """Whether a structure agrees with the model's organ of the other side better than with its own."""
    organ, side = organ_key(found.labels.name(label))
    names = {n: organ_key(found.labels.name(n)) for n in found.labels.names if n}
    partner = next((n for n, key in names.items() if key[0] == organ and side and key[1] not in ("", side)), None)
    if partner is None:
        return False
    (structure,) = structures_of(_part_of(carried, {number: label}), found.labels.geometry)
    if structure.box is None:
        return False
    mask, there = structure.mask(structure.box), found.labels.array[structure.box] == partner
    total = int(np.count_nonzero(mask)) + int(np.count_nonzero(found.labels.array == partner))
    return 2 * int(np.count_nonzero(mask & there)) > max(dice, CLEARLY) * total
