"""Dose in the structures of two contour sets, or two doses in the same structures. Pure: no files, no printing."""

from __future__ import annotations

import numpy as np

from jrscli.metrics.dose import DoseSamples, dose_difference, dose_samples, dvh_values
from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.pair import box_geometry
from jrscli.progress import Progress, silent
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.pairing import Match, Structure, pairs_of, structures_of


def evaluate_dose(
    reference: StructureSet | LabelMap,
    prediction: StructureSet | LabelMap,
    geometry: Geometry,
    dose: Volume,
    prediction_dose: Volume | None = None,
    *,
    levels_gy: tuple[float, ...] = (),
    match: Match = "auto",
    progress: Progress = silent,
) -> Evaluation:
    """One row per structure with its points of the dose–volume histogram in reference and prediction, and their difference.

    geometry: the grid that structure sets are rasterised on. dose: in Gy, on any grid.
    prediction_dose: the dose of the prediction (a warped one, say), by default the same; with it ``dose_diff.v1`` compares both
    doses in the structure of the reference. levels_gy: doses whose volume is asked for.
    """
    pairs = pairs_of(structures_of(reference, geometry), structures_of(prediction, geometry), match)
    theirs = prediction_dose or dose
    rows = []
    for done, (one, other) in enumerate(pairs):
        progress("dose", done, len(pairs))
        known = one or other
        if known is None or not known.drawn:
            continue
        ours, test = _samples(one, geometry, dose), _samples(other, geometry, theirs)
        values = list(dvh_values(ours, test, levels_gy))
        if prediction_dose is not None:
            values += dose_difference(ours, _samples(one, geometry, prediction_dose))
        rows.append(
            Row(known.name, {value.id: value for value in values}, one.number if one else None, other.number if other else None)
        )
    progress("dose", len(pairs), len(pairs))
    facts: dict[str, object] = {
        "dose_spacing_mm": list(dose.geometry.spacing_mm),
        "dose_max_gy": float(np.max(dose.array)),
        "two_doses": prediction_dose is not None,
    }
    return Evaluation("dose", tuple(rows), facts)


def _samples(structure: Structure | None, geometry: Geometry, dose: Volume) -> DoseSamples | None:
    if structure is None or structure.box is None:
        return None
    return dose_samples(structure.mask(structure.box), box_geometry(geometry, structure.box), dose)
