"""The gate: every row of the table of tolerances, at its limits, and the verdict."""

from dataclasses import replace

import numpy as np
import pytest

from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.field_gates import field_rows, landmark_rows, linear_stage_row
from jrscli.metrics.gate_rules import Rule
from jrscli.metrics.gates import GateRow, Verdict
from jrscli.metrics.structure_gates import disagreement_row, structure_rows, volume_change_row
from jrscli.metrics.tolerances import Organ, Tolerances
from jrscli.metrics.value import Value
from jrscli.metrics.verdict import verdict_of

PLAIN = Tolerances()
V = 2.0


def structure(msd=0.5, dice=0.95, volume=20.0, name="Bladder", flags=(), status="ok"):
    values = (
        Value("dice.v1", dice, "", status),
        Value("msd.v1", msd, "mm", status),
        Value("volume.v1(reference)", volume, "cc"),
        Value("volume.v1(test)", volume, "cc"),
    )
    return Row(name, {value.id: value for value in values}, 1, 1, flags)


def status(rows, id_):
    return next(row.status for row in rows if row.id == id_)


@pytest.mark.parametrize(("msd", "expected"), [(2.0, "pass"), (2.01, "review"), (3.0, "review"), (3.01, "fail")])
def test_mean_surface_distance_against_the_voxel(msd, expected):
    assert status(structure_rows(structure(msd=msd), PLAIN, V), "msd.v1") == expected


def test_organ_uncertainty_widens_the_limit_and_names_its_source():
    known = Tolerances(organs={"Bladder": Organ(uncertainty_mm=4.0, source="readers 2025")})
    row = next(row for row in structure_rows(structure(msd=3.9), known, V) if row.id == "msd.v1")
    assert (row.status, row.limit, row.source) == ("pass", "≤ 4 mm", "readers 2025")
    # a voxel larger than the uncertainty decides
    assert status(structure_rows(structure(msd=4.9), known, 5.0), "msd.v1") == "pass"


@pytest.mark.parametrize(
    ("dice", "expected"), [(0.80, "pass"), (0.799, "review"), (0.70, "review"), (0.699, "fail"), (0, "fail")]
)
def test_dice_of_a_large_structure(dice, expected):
    assert status(structure_rows(structure(dice=dice), PLAIN, V), "dice.v1") == expected


def test_organ_limit_raises_dice_and_never_lowers_it():
    strict, lax = (Tolerances(organs={"Bladder": Organ(dice=dice, source="s")}) for dice in (0.9, 0.5))
    assert status(structure_rows(structure(dice=0.85), strict, V), "dice.v1") == "review"
    assert status(structure_rows(structure(dice=0.75), lax, V), "dice.v1") == "review"


def test_dice_of_a_small_structure_is_shown_not_judged():
    row = next(row for row in structure_rows(structure(dice=0.3, volume=4.9), PLAIN, V) if row.id == "dice.v1")
    assert (row.status, row.value) == ("not_assessed", 0.3)


def test_missing_structure_fails_once():
    rows = structure_rows(structure(msd=None, dice=0.0, status="test_empty"), PLAIN, V)
    assert [(row.id, row.status) for row in rows] == [("contour.v1", "fail")]
    assert "missing in the prediction" in rows[0].sentence


@pytest.mark.parametrize(
    ("flag", "expected", "word"),
    [
        ("swapped", "fail", "left and right"),
        ("gap", "review", "empty slices"),
        ("islands", "review", "pieces"),
        ("cut", "review", "cut off"),
        ("truncated", "review", "ends slices before"),
        ("overlap", "review", "overlaps"),
        ("outside_body", "review", "outside the body"),
        ("fov_cut", "pass", "nothing odd"),
    ],
)
def test_flags_of_a_contour(flag, expected, word):
    row = structure_rows(structure(flags=(flag,)), PLAIN, V)[0]
    assert (row.id, row.status) == ("contour.v1", expected)
    assert word in row.sentence


def landmarks(mean, largest):
    facts = {f"tre.v1({name})": {"value": number} for name, number in (("mean", mean), ("max", largest))}
    return Evaluation("points", (), facts)


@pytest.mark.parametrize(
    ("mean", "largest", "phantom", "expected"),
    [
        (2.0, 9.0, "", "pass"),
        (3.9, 9.0, "", "review"),
        (4.1, 9.0, "", "fail"),
        (2.0, 5.0, "deformable", "pass"),
        (2.0, 5.1, "deformable", "fail"),
        (1.0, 9.0, "rigid", "pass"),
        (2.0, 9.0, "rigid", "review"),
        (2.1, 9.0, "rigid", "fail"),
    ],
)
def test_landmarks(mean, largest, phantom, expected):
    assert landmark_rows(landmarks(mean, largest), PLAIN, V, phantom)[0].status == expected


def test_landmarks_without_a_transform_are_not_assessed():
    assert landmark_rows(Evaluation("points", ()), PLAIN, V)[0].status == "not_assessed"


def region(neg=0.0, volume=0.0, name="whole image", flags=(), p95=None, low=0.9, high=1.1):
    values = [
        Value("neg_jac.v1", neg, "%"),
        Value("ndv.v1", volume, "%"),
        Value("jacobian.v1(p1)", low, ""),
        Value("jacobian.v1(p99)", high, ""),
    ]
    if p95 is not None:
        values.append(Value("inverse_consistency.v1(p95)", p95, "mm"))
    return Row(name, {value.id: value for value in values}, flags=flags)


@pytest.mark.parametrize(
    ("neg", "volume", "name", "flags", "expected"),
    [
        (0.0, 0.0, "whole image", (), "pass"),
        (0.0, 0.02, "whole image", (), "review"),
        (0.05, 0.0, "whole image", (), "review"),
        (0.11, 0.0, "whole image", (), "fail"),
        (0.001, 0.0, "Bladder", (), "fail"),
        (0.001, 0.0, "Body", ("body",), "review"),
    ],
)
def test_folding(neg, volume, name, flags, expected):
    assert status(field_rows(region(neg, volume, name, flags), PLAIN, V), "neg_jac.v1") == expected


@pytest.mark.parametrize(("low", "high", "expected"), [(0.5, 2.0, "pass"), (0.49, 1.0, "review"), (1.0, 2.1, "review")])
def test_volume_change_of_an_organ_is_never_worse_than_review(low, high, expected):
    rows = field_rows(region(name="Liver", low=low, high=high), PLAIN, V)
    assert status(rows, "jacobian.v1(p1, p99)") == expected


@pytest.mark.parametrize(("p95", "expected"), [(2.0, "pass"), (3.0, "review"), (3.1, "fail")])
def test_inverse_consistency(p95, expected):
    assert status(field_rows(region(p95=p95), PLAIN, V), "inverse_consistency.v1(p95)") == expected


@pytest.mark.parametrize(
    ("msd", "dice", "volume", "expected"),
    [
        (2.0, 0.85, 20, "pass"),
        (2.1, 0.9, 20, "review"),
        (1.0, 0.8, 20, "review"),
        (1.0, 0.69, 20, "fail"),
        (9.0, 0.1, 4, "not_assessed"),
    ],
)
def test_disagreement_of_two_estimates(msd, dice, volume, expected):
    assert disagreement_row(structure(msd, dice, volume), PLAIN, V).status == expected


@pytest.mark.parametrize(("dice", "expected"), [(0.61, "pass"), (0.59, "review"), (0.1, "review")])
def test_what_a_model_says_of_agreement_goes_before_the_usual_limits(dice, expected):
    row = disagreement_row(structure(9.0, dice, 20), PLAIN, V, agreement=0.6)
    assert row.status == expected
    assert "card" in row.source


def test_what_a_site_says_of_agreement_goes_before_the_model():
    strict = replace(PLAIN, disagreement_dice=0.9)
    assert disagreement_row(structure(1.0, 0.89, 20), strict, V, agreement=0.6).status == "review"
    assert disagreement_row(structure(1.0, 0.91, 20), strict, V, agreement=0.95).status == "pass"


@pytest.mark.parametrize(
    ("before", "after", "lost", "expected"),
    [
        (10.0, 12.0, False, "pass"),
        (10.0, 13.0, False, "review"),
        (10.0, 5.0, False, "review"),
        (10.0, 0.0, False, "fail"),
        (10.0, 9.0, True, "fail"),
        (None, 9.0, False, "not_assessed"),
    ],
)
def test_volume_against_the_source(before, after, lost, expected):
    assert volume_change_row("PTV", before, after, PLAIN, lost).status == expected


def row(status_, id_="msd.v1"):
    return GateRow(id_, "x", status_, f"{status_} it is")


def test_worst_assessed_row_decides():
    assert Verdict((row("pass"), row("review"), row("not_assessed"))).status == "review"
    assert Verdict((row("pass"), row("fail"), row("review"))).status == "fail"
    assert Verdict((row("pass"), row("not_assessed"))).status == "pass"


def test_nothing_assessed_is_no_pass():
    assert Verdict(()).status == "not_assessed"
    assert Verdict((row("not_assessed"),)).status == "not_assessed"


def test_the_linear_stage_lowers_a_verdict_and_never_makes_it():
    sure, doubtful, failed = linear_stage_row(None), linear_stage_row(None, "starts differ"), linear_stage_row("no overlap")
    assert Verdict((sure,)).status == "not_assessed"
    assert Verdict((sure, row("pass"))).status == "pass"
    assert Verdict((row("pass"), doubtful)).status == "review"
    assert Verdict((row("pass"), failed)).status == "fail"


def test_reasons_begin_with_the_worst():
    assert Verdict((row("review"), row("fail"), row("pass"))).reasons == ("fail it is", "review it is")


def test_verdict_over_structures_and_rules():
    found = Evaluation("labels", (structure(), structure(msd=1.5, name="Rectum")))
    assert verdict_of([found], PLAIN, V).status == "pass"
    judged = verdict_of([found], PLAIN, V, [Rule.parse("msd.Rectum<=1")])
    assert judged.status == "fail"
    assert judged.rows[-1].source == "--gate-rule"


def test_radiosurgery_replaces_the_voxel():
    found = Evaluation("labels", (structure(msd=1.2),))
    assert verdict_of([found], Tolerances(voxel_mm=1.0), V).status == "review"


def test_json_has_value_limit_v_and_source():
    found = verdict_of([Evaluation("labels", (structure(),))], PLAIN, np.float64(V)).as_json()["rows"][1]
    assert {"id", "structure", "value", "limit", "v_mm", "status", "source", "sentence"} <= set(found)
