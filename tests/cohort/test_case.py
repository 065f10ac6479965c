"""Keys, shards and the choice of cases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.cohort.case import Case, Input, Plan, shard_of, with_keys
from jrscli.errors import UsageError
from jrscli.io.output import is_safe_name


def plan_of(*keys: str) -> Plan:
    return Plan(tuple(Case(key, {}) for key in keys))


@given(st.lists(st.text(max_size=12), max_size=12))
def test_keys_are_unique_plain_names_for_any_names(names: list[str]) -> None:
    cases = with_keys([(name, f"{number} {name}", Case("", {})) for number, name in enumerate(names)])
    keys = [case.key for case in cases]
    assert len(set(keys)) == len(names)
    assert all(is_safe_name(key) for key in keys)


def test_a_name_that_is_plain_and_alone_stays_as_it_is() -> None:
    assert with_keys([("patient001", "x", Case("", {}))])[0].key == "patient001"


def test_what_tells_equal_names_apart_cannot_be_read_back() -> None:
    cases = with_keys([("ct", f"Doe^Jane/{n}", Case("", {})) for n in range(2)])
    assert all(re.fullmatch(r"ct-[0-9a-f]{6}", case.key) for case in cases)


@given(st.sets(st.integers(0, 500), max_size=40), st.integers(1, 6))
def test_shards_share_the_cases_out_without_overlap(numbers: set[int], count: int) -> None:
    plan = plan_of(*(f"case{n}" for n in sorted(numbers)))
    shares = [plan.chosen(shard=(k, count)).cases for k in range(1, count + 1)]
    assert sorted(case.key for share in shares for case in share) == sorted(case.key for case in plan.cases)


def test_cases_are_included_excluded_and_limited_by_their_keys() -> None:
    plan = plan_of("a1", "a2", "a3", "b1")
    assert [case.key for case in plan.chosen(include=["a*"], exclude=["a1"], limit=1).cases] == ["a2"]


@pytest.mark.parametrize("text", ["3/2", "0/2", "x", "1/", "-1/2"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no share") as caught:
        shard_of(text)
    assert caught.value.code == "usage.shard"


def test_a_series_is_told_by_its_folder() -> None:
    paths = tuple(Path("patients/x") / f"{n}.dcm" for n in range(3))
    assert Input(paths, series=True).words == str(Path("patients/x")) + "/ (3 files)"
