"""Two estimates of one contour, carried and found by a model: how far they disagree is a check that needs no truth."""

from __future__ import annotations

from jrscli.metrics.gates import GateRow
from jrscli.metrics.structure_gates import disagreement_row
from jrscli.metrics.tolerances import Tolerances
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.contours import labels_of_structures
from jrscli.workflows.evaluate import evaluate_labels
from jrscli.workflows.propagate import Propagation
from jrscli.workflows.segment_by_model import ModelSegmentation

METRICS = ("dice", "msd", "volume")


def disagreements(carried: Propagation, found: ModelSegmentation, tolerances: Tolerances) -> list[GateRow]:
    """One row for each structure that both estimates have.

    Structures are matched by name; labels without names by number, which are then those of the model's card.
    """
    if carried.labels is not None:
        labels, match = carried.labels, "name" if _named(carried.labels) else "number"
    elif any(roi.closed for roi in carried.structures.rois):
        labels, match = labels_of_structures(carried.structures, found.labels.geometry)[0], "name"
    else:
        return []
    if match == "name" and not set(_lower(labels)) & set(_lower(found.labels)):
        return []
    rows = evaluate_labels(found.labels, labels, metrics=METRICS, match="name" if match == "name" else "number").rows
    v_mm = max(found.labels.geometry.spacing_mm)
    return [disagreement_row(row, tolerances, v_mm) for row in rows if row.number is not None and row.test_number is not None]


def _named(labels: LabelMap) -> bool:
    return any(labels.name(number) != str(number) for number in labels.numbers())


def _lower(labels: LabelMap) -> list[str]:
    return [labels.name(number).lower() for number in labels.numbers()]
