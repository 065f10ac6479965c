"""Pseudonyms: steady on one account, useless without its salt."""

from __future__ import annotations

import re
import stat

import pytest

from jrscli.io import pseudonym as module
from jrscli.io.pseudonym import pseudonym


@pytest.fixture
def account(tmp_path, monkeypatch):
    def use(name):
        module._salt.cache_clear()
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / name))
        return tmp_path / name / "jrscli" / "salt"

    yield use
    module._salt.cache_clear()


def test_looks_as_promised_and_stays(account):
    account("one")
    first = pseudonym("MRN 12345")
    module._salt.cache_clear()
    assert pseudonym("MRN 12345 ") == first
    assert re.fullmatch(r"P-[0-9a-f]{6}", first)
    assert pseudonym("MRN 12346") != first


def test_another_account_gives_another_name(account):
    account("one")
    first = pseudonym("MRN 12345")
    account("two")
    assert pseudonym("MRN 12345") != first


def test_the_salt_is_private(account):
    salt = account("one")
    pseudonym("x")
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600


def test_without_a_state_folder_names_still_come(account, tmp_path):
    salt = account("one")
    salt.parent.parent.write_text("in the way")
    assert pseudonym("x") == pseudonym("x")
