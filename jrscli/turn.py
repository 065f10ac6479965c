"""Turns at the device: of the processes that share one, one computes while the others read and write."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

FILE = "JRS_TURN_FILE"
"""Names the file that the processes take turns by, in the environment of each; without it nobody waits."""
_LOOK_SECONDS = 0.01
_holds = 0
_waited = 0.0


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Hold the device: wait until no other process does. The hold ends with the process, however that ends.

    Inside another turn of this process it asks for nothing. Processes, not threads, take turns.
    """
    global _holds, _waited
    path = os.environ.get(FILE)
    if not path or _holds:
        yield
        return
    with Path(path).open("r+b") as file:
        since = time.monotonic()
        while not _locked(file):
            time.sleep(_LOOK_SECONDS)  # a signal that ends the process is heard here
        _waited += time.monotonic() - since
        _holds += 1
        try:
            yield
        finally:
            _holds -= 1


def waited() -> float:
    """Seconds that this process has waited for its turns so far."""
    return _waited


def _locked(file: BinaryIO) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
    except OSError:
        return False
    return True
