"""Two estimates of one contour, carried and found by a model: how far they disagree is a check that needs no truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jrscli.metrics.gates import GateRow
from jrscli.metrics.organ_names import OrganMatch
from jrscli.metrics.structure_gates import disagreement_row
from jrscli.metrics.tolerances import Tolerances
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.contours import labels_of_structures
from jrscli.workflows.evaluate import evaluate_labels
from jrscli.workflows.organs import named_as, organ_matches
from jrscli.workflows.propagate import Propagation
from jrscli.workflows.segment_by_model import ModelSegmentation

METRICS = ("dice", "msd", "volume")


@dataclass(frozen=True)
class SecondEstimate:
    """rows: one for each structure that both estimates have. matches: which organs were taken for the same, and what one lacks.
    numbers: of the carried structures, by name.

    Labels without names are matched by their numbers, which are then those of the card; then there are no matches to tell.
    """

    rows: tuple[GateRow, ...] = ()
    matches: tuple[OrganMatch, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)


def second_estimate(carried: Propagation, found: ModelSegmentation, tolerances: Tolerances) -> SecondEstimate:
    """What the model found in the daily image against what was carried there.

    Structures are matched by the names of their organs (`metrics.organ_names`).
    """
    if carried.labels is not None:
        labels, named = carried.labels, _named(carried.labels)
    elif any(roi.closed for roi in carried.structures.rois):
        labels, named = labels_of_structures(carried.structures, found.labels.geometry)[0], True
    else:
        return SecondEstimate()
    names = ["background", *(found.labels.name(number) for number in sorted(found.labels.names))]
    matches = organ_matches(labels, names) if named else ()
    numbers = {labels.name(number): number for number in labels.numbers()}
    if named and not any(match.kind == "both" for match in matches):
        return SecondEstimate((), matches, numbers)
    other = named_as(found.labels, matches)
    rows = evaluate_labels(other, labels, metrics=METRICS, match="name" if named else "number").rows
    v_mm = max(found.labels.geometry.spacing_mm)
    both = {match.given for match in matches if match.kind == "both"}
    judged = [row for row in rows if row.number is not None and row.test_number is not None and (not named or row.name in both)]
    return SecondEstimate(tuple(disagreement_row(row, tolerances, v_mm) for row in judged), matches, numbers)


def _named(labels: LabelMap) -> bool:
    return any(labels.name(number) != str(number) for number in labels.numbers())
