"""Tolerances: the default table, a site's own, and its mistakes."""

import pytest

from jrscli.errors import UsageError
from jrscli.metrics.tolerances import TG132, Organ, Tolerances, tolerances_from


def test_organs_are_found_whatever_their_spelling():
    known = Tolerances(organs={"SpinalCord": Organ(2.0), "Parotid": Organ(3.0), "Eye_L": Organ(1.0)})
    assert known.organ("spinal_cord") == Organ(2.0)
    assert known.organ("LeftParotid") == Organ(3.0)
    assert known.organ("Eye L") == Organ(1.0)
    assert known.organ("Eye R") is None
    assert known.organ("Bladder") is None


def test_a_site_overrides_and_adds():
    base = Tolerances(organs={"Heart": Organ(7.0, source="Collier"), "Larynx": Organ(3.9, source="Brouwer")})
    site = {"organs": {"Heart": {"uncertainty_mm": 4, "source": "us"}}, "limits": {"dice_pass": 0.85}}
    found = tolerances_from(site, base, digest="ab", source="site.yaml")
    assert found.organ("heart") == Organ(4.0, source="us")
    assert found.organ("larynx") == Organ(3.9, source="Brouwer")
    assert (found.dice_pass, found.digest, found.source) == (0.85, "ab", "site.yaml")
    assert base.source == TG132


def test_an_organ_without_a_source_gets_the_file():
    assert tolerances_from({"organs": {"Heart": {"dice": 0.9}}}, source="site.yaml").organs["Heart"].source == "site.yaml"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"organ": {}}, "tolerances.key"),
        ({"organs": {"Heart": {"uncertainty": 3}}}, "tolerances.key"),
        ({"limits": {"dice": 0.9}}, "tolerances.key"),
        ({"organs": {"Heart": {"dice": "high"}}}, "tolerances.value"),
        ({"organs": {"Heart": {"uncertainty_mm": -1}}}, "tolerances.value"),
        ({"organs": {"Heart": 3}}, "tolerances.value"),
        ([1], "tolerances.value"),
        ({"limits": {"dice_pass": float("nan")}}, "tolerances.value"),
    ],
)
def test_mistakes_are_told(document, code):
    with pytest.raises(UsageError) as caught:
        tolerances_from(document)
    assert caught.value.code == code
    assert caught.value.hint


def test_json_names_what_was_used():
    found = tolerances_from({}, digest="ab").as_json()
    assert found["sha256"] == "ab"
    assert found["dice_pass"] == 0.8
