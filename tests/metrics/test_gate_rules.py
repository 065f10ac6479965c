"""A user's own rules: reading them, and saying what was meant."""

import pytest

from jrscli.errors import UsageError
from jrscli.metrics.evaluation import Evaluation, Row
from jrscli.metrics.gate_rules import Rule, check_rules
from jrscli.metrics.value import Value
from jrscli.metrics.verdict import rule_row


def row(name="Bladder", status="ok", **values):
    found = [Value(id_, number, "mm", status) for id_, number in values.items()]
    return Row(name, {value.id: value for value in found})


def labels(*rows):
    return Evaluation("labels", rows)


BLADDER = row(**{"msd.v1": 1.5, "hd95.v1": 4.0, "volume_diff.v1": 3.0, "volume_diff.v1(%)": 12.0})


def test_rule_is_read():
    assert Rule.parse("msd.Bladder<=3") == Rule("msd", "Bladder", "<=", 3.0)
    assert Rule.parse(" nsd.Femoral Head L >= 0.9 ") == Rule("nsd", "Femoral Head L", ">=", 0.9)
    assert Rule.parse("volume_diff(%).PTV.1<1e1") == Rule("volume_diff(%)", "PTV.1", "<", 10.0)


@pytest.mark.parametrize("text", ["msd<=3", "msd.Bladder", "msd.Bladder=3", "msd.Bladder<=x", "", "msd.Bladder<=1e"])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(UsageError) as caught:
        Rule.parse(text)
    assert caught.value.code == "gate.rule"


@pytest.mark.parametrize(("text", "status"), [("msd.Bladder<=1.5", "pass"), ("msd.Bladder<1.5", "fail"), ("hd95.*>5", "fail")])
def test_rule_passes_or_fails(text, status):
    rule = Rule.parse(text)
    assert rule.fitting(labels(BLADDER)) == [BLADDER]
    assert rule_row(rule, BLADDER, 2.0).status == status


def test_part_of_a_metric_can_be_meant():
    assert Rule.parse("volume_diff.Bladder<1").value_of(BLADDER).value == 3.0
    assert Rule.parse("volume_diff(%).Bladder<1").value_of(BLADDER).value == 12.0


def test_missing_structure_breaks_every_rule():
    missing = row(status="test_empty", **{"msd.v1": None})
    assert rule_row(Rule.parse("msd.Bladder<=3"), missing, 2.0).status == "fail"
    unknown = row(status="both_empty", **{"msd.v1": None})
    assert rule_row(Rule.parse("msd.Bladder<=3"), unknown, 2.0).status == "not_assessed"


@pytest.mark.parametrize(
    ("text", "code", "meant"),
    [
        ("msf.Bladder<=3", "gate.metric", "msd"),
        ("msd.Blader<=3", "gate.structure", "Bladder"),
        ("volume_diff(x).Bladder<1", "gate.metric", "(%)"),
    ],
)
def test_rule_that_fits_nothing_is_refused_with_what_was_meant(text, code, meant):
    with pytest.raises(UsageError) as caught:
        check_rules([Rule.parse(text)], [labels(BLADDER)])
    assert caught.value.code == code
    assert meant in caught.value.hint


def test_rule_for_one_of_several_evaluations_is_enough():
    check_rules([Rule.parse("msd.Bladder<=3")], [labels(row("Liver", **{"msd.v1": 1.0})), labels(BLADDER)])
