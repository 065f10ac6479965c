"""Names of organs: one organ under many names, never two organs under one, sides kept apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.metrics.organ_names import matched_organs, organ_key

CARD = ("brainstem", "spinal cord", "right parotid", "left parotid", "mandible", "larynx", "oesophagus")


@pytest.mark.parametrize(
    ("name", "organ"),
    [
        ("Brainstem", "brainstem"),
        ("Brain_Stem", "brainstem"),
        ("SpinalCord", "spinal cord"),
        ("Cord", "spinal cord"),
        ("Parotid_R", "right parotid"),
        ("RightParotid", "right parotid"),
        ("Glnd_Parotid_L", "left parotid"),
        ("parotid gland left", "left parotid"),
        ("Lt Parotid", "left parotid"),
        ("Bone_Mandible", "mandible"),
        ("Esophagus", "oesophagus"),
        ("LARYNX", "larynx"),
    ],
)
def test_one_organ_has_many_names(name, organ):
    assert organ_key(name) == organ_key(organ)
    (found,) = [match for match in matched_organs([name], CARD) if match.kind == "both"]
    assert (found.given, found.known) == (name, organ)


@pytest.mark.parametrize(
    "name",
    [
        "SpinalCord_PRV05",
        "zSpinalCord",
        "Parotids",
        "Parotid",
        "SpinalCanal",
        "Larynx_SG",
        "Esophagus_S",
        "GTV",
        "Lips",
        "Parotid_L+R",
    ],
)
def test_what_is_only_alike_is_no_match(name):
    found = matched_organs([name], CARD)
    assert found[-1].kind == "given only"
    assert found[-1].given == name
    assert {match.kind for match in found[:-1]} == {"known only"}


def test_mirrored_names_stay_on_their_sides():
    names = ["Parotid_L", "Parotid_R"]
    for given_names in (names, names[::-1]):
        for card in (CARD, CARD[::-1]):
            both = {match.given: match.known for match in matched_organs(given_names, card) if match.kind == "both"}
            assert both == {"Parotid_L": "left parotid", "Parotid_R": "right parotid"}


def test_of_several_names_the_one_spelled_alike_is_taken_and_else_none():
    found = matched_organs(["Parotid_L", "Left parotid"], ["left parotid"])
    assert [(match.given, match.kind) for match in found] == [("Left parotid", "both"), ("Parotid_L", "given only")]
    found = matched_organs(["Parotid_L", "LeftParotid"], ["left parotid"])
    assert [(match.given, match.kind) for match in found] == [
        (None, "several"),
        ("Parotid_L", "given only"),
        ("LeftParotid", "given only"),
    ]


@given(st.lists(st.sampled_from([*CARD, "Parotid_L", "Cord", "GTV", "x"]), unique=True))
def test_nothing_is_lost_and_nothing_taken_twice(names):
    found = matched_organs(names, CARD)
    assert sorted(match.given for match in found if match.given) == sorted(names)
    assert [match.known for match in found if match.known] == list(CARD)
