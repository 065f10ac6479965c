"""A node takes objects from whom it knows, within its limits, and hurts itself on nobody's bytes."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from jrscli.cohort.inbox import Inbox
from jrscli.errors import UsageError
from jrscli.io.dicom_receive import Door, Peer, Received, Receiver

KNOWN = "SENDER"


def an_object(size: int = 64, uid: str = "", patient: str = "SECRET^ID") -> Dataset:
    one = Dataset()
    one.SOPClassUID, one.SOPInstanceUID, one.PatientID = CTImageStorage, uid or generate_uid(), patient
    one.PatientName, one.Modality, one.PixelData = "SECRET^NAME", "CT", bytes(size)
    one["PixelData"].VR = "OW"
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return one


@dataclass
class Node:
    """A receiver and what it heard and kept."""

    receiver: Any = None
    kept: list[Received] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def associate(self, title: str = KNOWN, called: str = "JRS") -> Any:
        entity = AE(title)
        entity.dimse_timeout = entity.acse_timeout = 10
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        entity.add_requested_context(Verification)
        return entity.associate("127.0.0.1", self.receiver.port, ae_title=called)

    def send(self, *objects: Dataset) -> list[int | None]:
        association = self.associate()
        assert association.is_established
        found = [getattr(association.send_c_store(one), "Status", None) for one in objects]
        association.release()
        return found


@pytest.fixture
def start() -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def run(peers: tuple[str, ...] = (f"{KNOWN}@127.0.0.1",), keep: Any = None, **limits: int) -> Node:
        node = Node()
        settings = {"object_bytes": 1_000_000, "associations": 64, **limits}
        door = Door("JRS", "127.0.0.1", 0, tuple(Peer.of(one) for one in peers), **settings)

        def own(one: Received) -> bool:
            node.kept.append(one)
            return True

        node.receiver = Receiver(door, keep or own, node.heard.append)
        nodes.append(node)
        return node

    yield run
    for node in nodes:
        node.receiver.close()


def test_an_echo_is_answered_and_an_object_kept_as_it_was_sent(start):
    node, one = start(), an_object()
    association = node.associate()
    assert association.send_c_echo().Status == 0
    assert association.send_c_store(one).Status == 0
    association.release()
    (kept,) = node.kept
    assert (kept.patient, kept.uid) == ("SECRET^ID", one.SOPInstanceUID)
    assert pydicom.dcmread(pydicom.filebase.DicomBytesIO(kept.content)) == one


@pytest.mark.parametrize(("title", "called"), [("STRANGER", "JRS"), (KNOWN, "OTHER")])
def test_an_unknown_title_is_refused(start, title, called):
    node = start()
    association = node.associate(title, called)
    assert association.is_rejected
    assert not association.is_established
    assert node.associate().is_established


def test_a_known_title_from_another_address_is_refused(start):
    node = start((f"{KNOWN}@192.0.2.7", "OTHER@127.0.0.0/8"))
    assert node.associate().is_rejected
    assert node.associate("OTHER").is_established
    assert not start((f"{KNOWN}@192.0.2.0/24",)).associate().is_established


@pytest.mark.parametrize("text", ["TPS", "@127.0.0.1", "TPS@", "TPS@host", "A" * 17 + "@127.0.0.1", "A\\B@127.0.0.1"])
def test_a_peer_needs_title_and_address(text):
    with pytest.raises(UsageError, match="peer"):
        Peer.of(text)


def test_an_object_above_the_limit_is_cut_off_and_the_next_is_taken(start):
    node = start(object_bytes=200_000)
    assert node.send(an_object(300_000)) == [None]
    assert node.send(*[an_object(190_000) for _ in range(3)]) == [0, 0, 0]
    assert len(node.kept) == 3
    assert any("--max-object-mb" in line for line in node.heard)


def test_a_length_that_is_claimed_is_not_read(start):
    """A PDU of 4 GB is announced: the connection is closed at once, not when the memory is full."""
    node = start()
    with socket.create_connection(("127.0.0.1", node.receiver.port), timeout=10) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, 2**32 - 1) + bytes(1000))
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            assert connection.recv(100) == b""
        assert time.monotonic() - began < 8
    assert node.send(an_object()) == [0]


def test_associations_above_the_limit_are_refused(start):
    node = start(associations=2)
    first, second = node.associate(), node.associate()
    assert first.is_established
    assert second.is_established
    assert not node.associate().is_established
    first.release()
    second.release()
    until = time.monotonic() + 10
    while not (third := node.associate()).is_established and time.monotonic() < until:
        time.sleep(0.05)
    assert third.is_established


@pytest.mark.parametrize("bad", [an_object(patient=""), an_object(patient="  ")])
def test_an_object_without_patient_is_not_taken(start, bad):
    node = start()
    assert node.send(bad, an_object()) == [0xC000, 0]


def test_an_object_that_is_another_than_announced_is_not_taken(start, monkeypatch):
    import pynetdicom.association

    node, one = start(), an_object()
    plain = pynetdicom.association.encode
    other = plain(an_object(), False, True)
    monkeypatch.setattr(pynetdicom.association, "encode", lambda *words, **more: other)
    assert node.send(one) == [0xA900]
    monkeypatch.setattr(pynetdicom.association, "encode", lambda *words, **more: b"\x08\x00\x18\x00UI\xff")
    assert node.send(one) == [0xC000]
    assert node.kept == []


def test_what_cannot_be_kept_is_not_acknowledged(start):
    assert start(keep=lambda one: False).send(an_object()) == [0xA700]


def test_a_connection_cut_mid_transfer_keeps_nothing_of_the_object_and_all_before_it(start, tmp_path):
    inbox = Inbox(tmp_path)
    node = start(keep=lambda one: inbox.keep(one.patient, one.uid, one.content))
    association = node.associate()
    assert association.send_c_store(an_object()).Status == 0
    inner = association.dul.socket
    plain, sent = inner.send, []

    def send(data: bytes) -> None:
        sent.append(len(data))
        if len(sent) == 4:  # in the middle of the pixels
            inner.socket.shutdown(socket.SHUT_RDWR)
        plain(data)

    inner.send = send
    big = an_object(900_000)
    association.send_c_store(big)
    assert len(list(tmp_path.glob("incoming/*/*"))) == 1
    assert node.send(big) == [0]
    assert len(list(tmp_path.glob("incoming/*/*.dcm"))) == 2
    inbox.close()


def test_fifty_associations_at_once_lose_nothing(start, tmp_path):
    inbox = Inbox(tmp_path)
    node = start(keep=lambda one: inbox.keep(one.patient, one.uid, one.content), object_bytes=10_000_000)
    with ThreadPoolExecutor(50) as many:
        found = list(many.map(lambda n: node.send(an_object(patient=f"P{n % 5}")), range(50)))
    assert found == [[0]] * 50
    assert len(list(tmp_path.glob("incoming/*/*.dcm"))) == 50
    assert len(inbox.states()) == 5
    assert not list(tmp_path.glob("incoming/*/.*"))
    inbox.close()


def test_nothing_that_is_heard_names_a_patient(start):
    node = start(object_bytes=100_000)
    node.send(an_object(), an_object(patient=""), an_object(300_000))
    assert node.heard
    assert "SECRET" not in " ".join(node.heard)
