"""Receiving DICOM objects by C-STORE: who may send, how much, and what is taken (PS3.4 Annex B, PS3.8)."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from jrscli.errors import UsageError
from jrscli.io.dicom_deflate import plain
from jrscli.io.dicom_slice import text_of
from jrscli.io.dicom_walk import read_header
from jrscli.io.rtstruct_write import RTSTRUCT_CLASS

_IMAGES = "1.2.840.10008.5.1.4.1.1."
TAKEN = (*(_IMAGES + end for end in ("2", "2.1", "2.2", "4", "4.1", "4.4", "128", "128.1", "130")), RTSTRUCT_CLASS)
"""CT, MR and PET images, multi-frame and converted ones too, and structure sets."""
_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
_LOSSLESS = tuple("1.2.840.10008.1.2." + end for end in ("1.99", "5", "4.57", "4.70", "4.80", "4.90"))

SUCCESS, NO_ROOM, MISMATCH, UNREADABLE = 0x0000, 0xA700, 0xA900, 0xC000
_REJECTED_TITLE = (0x01, 0x01, 0x03)
"""Rejected for good, by the service user: calling AE title not recognised (PS3.8 table 9-21)."""
_PDU_ANNOUNCED = 2**17
_PDU_LONGEST = 2**20
"""Requests for an association may be longer than what we announce, but not without end."""
_BESIDES, _ROUND = 1024, 64
"""What a message carries beside its object, at most: its command, and a part of it for the heads of PDUs."""
_ALL_TOGETHER = 4
"""Objects on their way lie in memory: all together may take so many times what one may."""
_SILENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Peer:
    """Who may send: an AE title, from an address or network."""

    title: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network

    @staticmethod
    def of(text: str) -> Peer:
        """``TITLE@ADDRESS`` or ``TITLE@NETWORK/BITS`` as a peer.

        Raises UsageError `node.peer`.
        """
        title, at, where = text.rpartition("@")
        try:
            if not at or not is_title(title):
                raise ValueError
            return Peer(title.strip(), ipaddress.ip_network(where))
        except ValueError:
            raise UsageError(
                "a peer to accept has to be an AE title and an address",
                code="node.peer",
                hint="for example TPS@10.1.2.3, or TPS@10.1.2.0/24 for a network",
            ) from None


@dataclass(frozen=True)
class Door:
    """Where objects come in. port: 0 for any free one. object_bytes, associations: limits."""

    title: str
    host: str
    port: int
    peers: tuple[Peer, ...]
    object_bytes: int
    associations: int


@dataclass(frozen=True)
class Received:
    """An object as it came, with file meta information. patient, uid: from its own header; never shown to anybody."""

    patient: str
    uid: str
    content: bytes


Keep = Callable[[Received], bool]
"""Puts an object in its place for good; whether there was room."""


def is_title(text: str) -> bool:
    """Whether a text can be an AE title: 1–16 printable characters, no backslash (PS3.5 6.2)."""
    return 0 < len(text.strip()) <= 16 and text.isascii() and text.isprintable() and "\\" not in text


class Receiver:
    """A listening node; `close` ends it. keep: called for each object, by several threads. hear: gets lines for a log.

    An object is acknowledged after ``keep`` came back, and not before. Raises OSError where the port cannot be had.
    """

    def __init__(self, door: Door, keep: Keep, hear: Callable[[str], None]) -> None:
        self._door, self._keep, self._hear = door, keep, hear
        self._on_the_way: dict[int, int] = {}
        self._lock = threading.Lock()
        entity = AE(door.title)
        entity.maximum_pdu_size = _PDU_ANNOUNCED
        entity.maximum_associations = door.associations
        entity.require_called_aet = True
        entity.acse_timeout, entity.dimse_timeout, entity.network_timeout = 30, _SILENCE_SECONDS, _SILENCE_SECONDS
        entity.add_supported_context(Verification)
        for one in TAKEN:
            entity.add_supported_context(one, [*_UNCOMPRESSED, *_LOSSLESS])
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_CONN_CLOSE, self._closed),
            (evt.EVT_REQUESTED, self._asked),
            (evt.EVT_C_STORE, self._store),
        ]
        self._server: Any = entity.make_server(
            (door.host, door.port), evt_handlers=handlers, server_class=_server_for(door.peers, 2 * door.associations, hear)
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="jrs-node", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Listen no more; what is on its way is cut off, and was not acknowledged."""
        with contextlib.suppress(ValueError):  # it looks for itself in a list where only servers of another kind are
            self._server.shutdown()
        for one in self._server.active_associations:
            one.abort()
        self._thread.join(5)

    def _opened(self, event: Any) -> None:
        """Put the limits in front of the reading of bytes: a length that a peer claims must not become memory."""
        inner = event.assoc.dul.socket
        inner.socket.settimeout(_SILENCE_SECONDS)
        read, number = inner.recv, id(event.assoc)

        def recv(size: int) -> bytearray:
            with self._lock:
                mine = self._on_the_way.get(number, 0) + size
                most = self._door.object_bytes + self._door.object_bytes // _ROUND + _BESIDES
                others = sum(self._on_the_way.values()) - self._on_the_way.get(number, 0)
                over = size > _PDU_LONGEST or mine > most
                full = mine + others > _ALL_TOGETHER * self._door.object_bytes
                if not (over or full):
                    self._on_the_way[number] = mine
            if over or full:
                self._hear(
                    "cut off: an object above --max-object-mb" if over else "cut off: too much at once, to be sent again"
                )
                with contextlib.suppress(OSError):
                    inner.socket.shutdown(socket.SHUT_RDWR)
                raise ConnectionAbortedError
            return read(size)

        inner.recv = recv

    def _closed(self, event: Any) -> None:
        with self._lock:
            self._on_the_way.pop(id(event.assoc), None)

    def _asked(self, event: Any) -> None:
        """Refuse a title that may not send from its address."""
        title = str(event.assoc.requestor.primitive.calling_ae_title).strip()
        where = _address(event.assoc.requestor.address)
        if not any(one.title == title and where in one.network for one in self._door.peers):
            self._hear(f"refused: AE title {title if is_title(title) else '(none)'!s} from {where}")
            event.assoc.acse.send_reject(*_REJECTED_TITLE)
            event.assoc.kill()

    def _store(self, event: Any) -> int:
        try:
            return self._stored(event)
        except Exception as error:  # whatever a hostile object makes of the parser: its sender hears of it, nobody else is hurt
            self._hear(f"refused: an object that cannot be read ({type(error).__name__})")
            return UNREADABLE
        finally:
            with self._lock:
                size = event.request.DataSet.getbuffer().nbytes
                left = self._on_the_way.get(id(event.assoc), 0) - size - size // _ROUND - _BESIDES
                if id(event.assoc) in self._on_the_way:
                    self._on_the_way[id(event.assoc)] = max(0, left)

    def _stored(self, event: Any) -> int:
        content = event.encoded_dataset()
        header = read_header(plain(io.BytesIO(content)))
        uid, patient = text_of(header, "SOPInstanceUID"), text_of(header, "PatientID")
        said = event.request
        if uid != str(said.AffectedSOPInstanceUID) or text_of(header, "SOPClassUID") != str(said.AffectedSOPClassUID):
            self._hear("refused: an object that is another than was announced")
            return MISMATCH
        if not patient:
            self._hear("refused: an object without Patient ID")
            return UNREADABLE
        return SUCCESS if self._keep(Received(patient, uid, content)) else NO_ROOM


def _address(text: str) -> Any:
    found = ipaddress.ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def _server_for(peers: Sequence[Peer], connections: int, hear: Callable[[str], None]) -> type[ThreadedAssociationServer]:
    """A server that answers nobody from elsewhere: not one byte of theirs is read."""

    class Server(ThreadedAssociationServer):
        request_queue_size = 128  # of connections that wait to be taken up

        def verify_request(self, request: Any, client_address: Any) -> bool:
            where = _address(client_address[0])
            if not any(where in one.network for one in peers):
                hear(f"refused: a connection from {where}")
                return False
            return len(self.active_associations) < connections

    return Server
