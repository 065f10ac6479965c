"""The queue of a node forgets nothing that was acknowledged, and no name in it comes from outside."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jrscli.cohort.inbox import Inbox


@pytest.fixture
def inbox(tmp_path: Path):
    found = Inbox(tmp_path / "node")
    yield found
    found.close()


def result(inbox: Inbox, key: str, name: str = "RS.dcm") -> Path:
    path = inbox.results(key) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    return path


def state(inbox: Inbox) -> tuple[str, str]:
    (found,) = inbox.states().values()
    return found


@settings(max_examples=8)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True), st.text(min_size=1))
def test_no_path_comes_from_a_uid_or_a_patient(tmp_path_factory, uids, patient):
    folder = tmp_path_factory.mktemp("hostile") / "node"
    inbox = Inbox(folder)
    for uid in ("../../../escaped", "/etc/passwd", "a\0b", "CON", *uids):
        assert inbox.keep(f"../{patient}", uid, b"x")
    inbox.close()
    found = [path.relative_to(folder) for path in folder.rglob("*.dcm")]
    assert len(found) == len({"../../../escaped", "/etc/passwd", "a\0b", "CON", *uids})
    assert {path.parts[0] for path in found} == {"incoming"}
    assert all(set("".join(path.parts[1:])) <= set("N-0123456789abcdef.dcm") for path in found)
    assert {path.name for path in folder.parent.iterdir()} == {"node"}


def test_a_patient_goes_through_all_states(inbox):
    assert inbox.keep("one", "1.2", b"x")
    assert state(inbox) == ("received", "")
    assert inbox.take(60) is None
    key, mark = inbox.take(0)
    assert state(inbox) == ("running", "")
    assert inbox.take(0) is None
    inbox.finish(key, mark, [(result(inbox, key), "aa", "1.9")])
    assert state(inbox) == ("sending", "")
    (one,) = inbox.due()
    inbox.later(one, 60)
    assert (inbox.due(), inbox.unsent()) == ([], 1)
    inbox.sent(one)
    assert inbox.settle() == [(key, "done", "")]
    assert state(inbox) == ("done", "")


def test_what_arrives_during_a_run_is_not_forgotten(inbox):
    inbox.keep("one", "1.2", b"x")
    key, mark = inbox.take(0)
    inbox.keep("one", "1.3", b"x")
    inbox.finish(key, mark, [])
    assert state(inbox) == ("received", "")


def test_a_restart_keeps_the_queue(inbox):
    """A patient at work waits again, an object waits to be sent, and names stay the same."""
    inbox.keep("one", "1.2", b"x")
    key, mark = inbox.take(0)
    inbox.finish(key, mark, [(result(inbox, key), "aa", "1.9")])
    inbox.keep("two", "1.3", b"x")
    inbox.take(0)
    (inbox.incoming(key) / ".half.part").write_bytes(b"x")
    again = Inbox(inbox.folder)  # as after a kill: nobody closed the queue
    try:
        assert sorted(words for words, _ in again.states().values()) == ["received", "sending"]
        assert [one.path for one in again.due()] == [result(inbox, key)]
        assert again.keep("one", "1.2", b"y")
        assert [path.read_bytes() for path in again.incoming(key).iterdir()] == [b"y"]
    finally:
        again.close()


def test_what_came_back_of_our_own_is_no_new_object(inbox):
    inbox.keep("one", "1.2", b"x")
    key, mark = inbox.take(0)
    inbox.finish(key, mark, [(result(inbox, key), "aa", "1.9")])
    assert inbox.keep("one", "1.9", b"ours")
    assert len(list(inbox.incoming(key).iterdir())) == 1
    assert state(inbox) == ("sending", "")


def test_the_same_result_is_sent_once(inbox):
    for _ in range(2):
        inbox.keep("one", "1.2", b"x")
        key, mark = inbox.take(0)
        inbox.finish(key, mark, [(result(inbox, key), "aa", "1.9")])
        for one in inbox.due():
            inbox.sent(one)
        inbox.settle()
    assert inbox.due() == []
    assert state(inbox) == ("done", "")


def test_a_bad_case_or_a_refused_object_is_quarantine(inbox):
    inbox.keep("one", "1.2", b"x")
    key, mark = inbox.take(0)
    inbox.finish(key, mark, [], "pair.missing")
    assert state(inbox) == ("quarantine", "pair.missing")
    inbox.keep("one", "1.3", b"x")
    key, mark = inbox.take(0)
    inbox.finish(key, mark, [(result(inbox, key), "aa", "1.9")])
    (one,) = inbox.due()
    inbox.sent(one, "refused")
    assert inbox.settle() == [(key, "quarantine", "node.refused")]


def test_a_full_disk_takes_nothing(inbox, monkeypatch):
    monkeypatch.setattr("jrscli.cohort.inbox._KEPT_FREE", 2**62)
    assert not inbox.keep("one", "1.2", b"x")
    assert inbox.states() == {}


def test_a_failing_disk_takes_nothing(inbox, monkeypatch):
    def fail(number: int) -> None:
        raise OSError

    monkeypatch.setattr(os, "fsync", fail)
    assert not inbox.keep("one", "1.2", b"x")
    assert inbox.states() == {}
    assert [path for path in (inbox.folder / "incoming").rglob("*") if path.is_file()] == []


def test_what_was_received_goes_after_its_time(inbox):
    inbox.keep("one", "1.2", b"x")
    assert inbox.forget(0) == []
    key, mark = inbox.take(0)
    inbox.finish(key, mark, [])
    time.sleep(0.01)
    assert inbox.forget(60) == []
    assert inbox.forget(0) == [key]
    assert not inbox.incoming(key).exists()
