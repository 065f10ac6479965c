"""The gate for structures: presence, checks of the contour, distance, overlap, volume, and two estimates of one contour."""

from __future__ import annotations

from collections.abc import Sequence

from jrscli.metrics.evaluation import Row
from jrscli.metrics.gates import GateRow, GateStatus, graded, graded_up, number_of
from jrscli.metrics.tolerances import AGREEMENT, Tolerances

_FLAG_WORDS = {
    "swapped": "lies on the side of its partner: left and right are exchanged",
    "gap": "has empty slices inside it",
    "islands": "is in more than three separate pieces",
    "cut": "is cut off by the field of view",
    "truncated": "ends slices before the reference does",
    "overlap": "overlaps another structure as it does not in the reference",
    "outside_body": "lies partly outside the body",
}
_FAILING_FLAGS = ("swapped",)


def structure_rows(row: Row, tolerances: Tolerances, v: float) -> list[GateRow]:
    """Presence, checks of the contour, mean surface distance and Dice of one structure."""
    organ = tolerances.organ(row.name)
    reach = max(v, organ.uncertainty_mm or 0.0) if organ else v
    why = organ.source if organ and reach > v else tolerances.source
    rows = [contour_row(row.title, row.status, row.flags, v)]
    if row.status == "test_empty":
        return rows
    msd, title = row.values.get("msd.v1"), row.title
    review = tolerances.msd_review * reach
    rows.append(graded("msd.v1", title, msd, v, why, "mean surface distance", reach, review))
    least = max(tolerances.dice_pass, (organ.dice or 0.0) if organ else 0.0)
    dice, volume = row.values.get("dice.v1"), _volume(row)
    if volume is not None and volume < tolerances.dice_volume_cc:
        words = f"{title}: Dice is shown, not judged: {volume:.2g} cc is less than {tolerances.dice_volume_cc:g} cc"
        number = dice.value if dice else None
        rows.append(GateRow("dice.v1", title, "not_assessed", words, number, "", "", v, tolerances.source))
    else:
        source = organ.source if organ and organ.dice else tolerances.source
        rows.append(graded_up("dice.v1", title, dice, v, source, "Dice", least, tolerances.dice_review))
    return rows


def volume_change_row(
    title: str, before_cc: float | None, after_cc: float | None, tolerances: Tolerances, lost: bool = False
) -> GateRow:
    """A carried structure against the volume of its source: lost fails, a change beyond 20 % has to be looked at."""
    limit = f"within ±{tolerances.volume_change_percent:g} %"
    source = "volume of the source ROI"
    if lost or (before_cc and not after_cc):
        return GateRow("volume_change.v1", title, "fail", f"{title}: nothing of it is left", None, "%", limit, None, source)
    if not before_cc or after_cc is None:
        return GateRow("volume_change.v1", title, "not_assessed", f"{title}: it has no volume", None, "%", limit, None, source)
    change = 100 * (after_cc / before_cc - 1)
    status: GateStatus = "pass" if abs(change) <= tolerances.volume_change_percent else "review"
    words = f"{title}: volume {before_cc:.4g} -> {after_cc:.4g} cc ({round(change):+d} %)"
    return GateRow("volume_change.v1", title, status, words, change, "%", limit, None, source)


def disagreement_row(row: Row, tolerances: Tolerances, v: float, agreement: float | None = None) -> GateRow:
    """Two estimates of one contour, propagated and found by a network, against each other.

    agreement: the Dice from which on contours that were right agreed with this model's, measured: it takes the place of both
    limits (a coarse network is never near to a contour), unless the site sets its own; and then nothing fails by a doubt alone.
    """
    measured = agreement if tolerances.disagreement_dice is None else None
    least = measured if measured is not None else tolerances.disagreement_dice or AGREEMENT
    msd, dice, volume = number_of(row, "msd.v1"), number_of(row, "dice.v1"), _volume(row)
    limit = f"Dice ≥ {least:g}" if measured is not None else f"MSD ≤ {v:.3g} mm and Dice ≥ {least:g}"
    source = "two estimates of one contour" if measured is None else "as right contours agreed with the model's (its card)"
    if msd is None or dice is None or (volume or 0.0) < tolerances.dice_volume_cc:
        words = f"{row.title}: the two estimates are not judged (less than {tolerances.dice_volume_cc:g} cc, or one is missing)"
        return GateRow("disagreement.v1", row.title, "not_assessed", words, msd, "mm", limit, v, source)
    agree = dice >= least and (measured is not None or msd <= v)
    failing = measured is None and dice < tolerances.dice_review
    status: GateStatus = "pass" if agree else "fail" if failing else "review"
    words = f"{row.title}: the two estimates lie {msd:.2f} mm apart, Dice {dice:.2f}"
    return GateRow("disagreement.v1", row.title, status, words, msd, "mm", limit, v, source)


def contour_row(title: str, status_: str, flags: Sequence[str], v: float) -> GateRow:
    """Whether a structure is there, and what is odd about its contour: flags of `contour_checks`."""
    if status_ == "test_empty":
        return GateRow(
            "contour.v1", title, "fail", f"{title}: missing in the prediction", None, "", "present", v, "contour check"
        )
    if status_ == "ref_empty":
        words = f"{title}: only in the prediction; there is nothing to compare it with"
        return GateRow("contour.v1", title, "review", words, None, "", "present in both", v, "contour check")
    if status_ == "both_empty":
        return GateRow("contour.v1", title, "not_assessed", f"{title}: empty in both", None, "", "present", v, "contour check")
    found = [flag for flag in _FLAG_WORDS if flag in flags]
    if not found:
        return GateRow("contour.v1", title, "pass", f"{title}: nothing odd", None, "", "nothing odd", v, "contour check")
    status: GateStatus = "fail" if set(found) & set(_FAILING_FLAGS) else "review"
    words = f"{title}: it {' and '.join(_FLAG_WORDS[flag] for flag in found)}"
    return GateRow("contour.v1", title, status, words, None, "", "nothing odd", v, "contour check")


def _volume(row: Row) -> float | None:
    of_reference, of_test = number_of(row, "volume.v1(reference)"), number_of(row, "volume.v1(test)")
    return of_reference or of_test
