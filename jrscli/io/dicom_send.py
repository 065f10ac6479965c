"""Sending DICOM objects by C-STORE (PS3.4 Annex B)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pynetdicom import AE

from jrscli.errors import UsageError
from jrscli.io.dicom_receive import is_title
from jrscli.io.dicom_walk import quiet

_UNCOMPRESSED = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
_SECONDS = 30.0


class UnreachableError(Exception):
    """Nobody answers there, or not to us."""


@dataclass(frozen=True)
class Destination:
    """Where objects go."""

    title: str
    host: str
    port: int

    @staticmethod
    def of(text: str) -> Destination:
        """``TITLE@HOST:PORT`` as a destination.

        Raises UsageError `node.destination`.
        """
        title, at, where = text.rpartition("@")
        host, colon, port = where.rpartition(":")
        if at and colon and host and is_title(title) and port.isdecimal() and 0 < int(port) < 65536:
            return Destination(title.strip(), host.strip("[]"), int(port))
        raise UsageError(
            "a destination has to be an AE title, a host and a port",
            code="node.destination",
            hint="for example PACS@10.1.2.4:104",
        )


@quiet()
def uids_of(path: Path) -> tuple[str, str]:
    """SOP Class UID and SOP Instance UID of an object."""
    header = pydicom.dcmread(path, specific_tags=["SOPClassUID", "SOPInstanceUID"], stop_before_pixels=True)
    return str(header.SOPClassUID), str(header.SOPInstanceUID)


@quiet()
def send(paths: Sequence[Path], to: Destination, title: str) -> list[int | None]:
    """What the destination answered to each object: a status (0 = stored), None where the connection broke before.

    title: our own AE title.

    Raises UnreachableError.
    """
    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
    entity.connection_timeout = _SECONDS
    for one in sorted({uids_of(path)[0] for path in paths}):
        entity.add_requested_context(one, _UNCOMPRESSED)
    try:
        association = entity.associate(to.host, to.port, ae_title=to.title)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnreachableError("no connection") from error
    if not association.is_established:
        raise UnreachableError("the association was rejected" if association.is_rejected else "no connection")
    answers: list[int | None] = []
    try:
        for path in paths:
            if not association.is_established:
                break
            answer = association.send_c_store(pydicom.dcmread(path))
            answers.append(int(answer.Status) if "Status" in answer else None)
    except ValueError:  # the destination takes no objects of this class
        answers.append(0x0122)
    finally:
        if association.is_established:
            association.release()
    return answers + [None] * (len(paths) - len(answers))
