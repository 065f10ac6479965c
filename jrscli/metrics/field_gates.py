"""The gate for landmarks, fields and the linear stage of a registration."""

from __future__ import annotations

from collections.abc import Mapping

from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.gates import GateRow, GateStatus, graded, number_of
from jrscli.metrics.tolerances import TG132, Tolerances
from jrscli.metrics.value import Value


def landmark_rows(evaluation: Evaluation, tolerances: Tolerances, v: float, phantom: str = "") -> list[GateRow]:
    """The mean target registration error against the voxel size, or against the limits of a phantom."""
    values = {name: _fact(evaluation, f"tre.v1({name})") for name in ("mean", "max")}
    mean = values["mean"]
    if mean is None:
        words = "landmarks: no transform was given, so only the error before registration is known"
        return [GateRow("tre.v1(mean)", "", "not_assessed", words, None, "mm", "", v, tolerances.source)]
    value = Value("tre.v1(mean)", mean, "mm")
    if phantom == "deformable":
        largest = values["max"] or 0.0
        good = mean <= 2 and largest <= 5
        words = f"landmarks of the deformable phantom: mean {mean:.2f} mm (limit 2), largest {largest:.2f} mm (limit 5)"
        limit = "mean ≤ 2 mm, max ≤ 5 mm"
        return [GateRow("tre.v1(mean)", "", "pass" if good else "fail", words, mean, "mm", limit, v, "TG-132, phantom")]
    reach, review = (v / 2, v) if phantom == "rigid" else (v, tolerances.tre_review_v * v)
    name = "mean landmark error"
    return [graded("tre.v1(mean)", "", value, v, tolerances.source, name, reach, review)]


def field_rows(row: Row, tolerances: Tolerances, v: float) -> list[GateRow]:
    """Folding, volume change and inverse consistency of one region of a field."""
    title = "" if row.name == "whole image" else row.title
    where = title or "the whole image"
    gated = bool(title) and "body" not in row.flags
    neg, volume = number_of(row, "neg_jac.v1"), number_of(row, "ndv.v1")
    source = tolerances.source
    rows = []
    if neg is None:
        rows.append(
            GateRow("neg_jac.v1", title, "not_assessed", f"folding in {where}: not assessed", None, "%", "0 %", v, source)
        )
    else:
        folds = neg > 0 or (volume or 0.0) > tolerances.ndv_pass_percent
        worse = neg > tolerances.neg_jac_review_percent or (gated and neg > 0)
        status: GateStatus = "fail" if worse else "review" if folds else "pass"
        share = f"{neg:.2g} % of its voxels" + (f", {volume:.2g} % of its volume turned inside out" if volume else "")
        words = f"the field folds in {where}: {share}" if folds else f"the field folds nowhere in {where}"
        rows.append(GateRow("neg_jac.v1", title, status, words, neg, "%", "0 %", v, source))
    low, high = number_of(row, "jacobian.v1(p1)"), number_of(row, "jacobian.v1(p99)")
    if title and low is not None and high is not None:
        usual = tolerances.jacobian_low <= low and high <= tolerances.jacobian_high
        words = f"{where}: local volume changes by factors of {low:.2f} to {high:.2f} (1st to 99th percentile)"
        limit = f"{tolerances.jacobian_low:g} … {tolerances.jacobian_high:g}"
        rows.append(GateRow("jacobian.v1(p1, p99)", title, "pass" if usual else "review", words, high, "", limit, v, source))
    p95 = row.values.get("inverse_consistency.v1(p95)")
    if p95 is not None:
        review = tolerances.consistency_review_v * v
        name = f"inverse consistency (95th percentile) in {where}"
        rows.append(graded("inverse_consistency.v1(p95)", title, p95, v, source, name, v, review, named=True))
    return rows


def unmeasured_row() -> GateRow:
    """That nothing was given which would tell how well the anatomy fits: a smooth field alone says nothing of that."""
    words = "no landmarks or known contours were given: how well the anatomy fits was not measured"
    return GateRow("tre.v1(mean)", "", "not_assessed", words, None, "mm", "", None, TG132)


def linear_stage_row(failed: str | None, doubtful: str | None = None) -> GateRow:
    """What the linear stage of a registration says of itself."""
    status: GateStatus = "fail" if failed else "review" if doubtful else "pass"
    reason = failed or doubtful
    words = f"the linear stage is not to be trusted: {reason}" if reason else "the linear stage found nothing wrong with itself"
    return GateRow("linear_stage", "", status, words, None, "", "sure", None, "the registration's own checks")


def _fact(evaluation: Evaluation, name: str) -> float | None:
    found = evaluation.facts.get(name)
    number = found.get("value") if isinstance(found, Mapping) else None
    return float(number) if isinstance(number, int | float) else None
