"""The places of a case in the output folder: its result, its lock, its links, its quarantine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from jrscli.cohort.case import Case, Input
from jrscli.errors import JrsError
from jrscli.io.output import atomic_path

LINKS = ".inputs"
LOCK = ".lock"
QUARANTINE = "quarantine"
REASON = "reason.json"
_WAIT_SECONDS = 10.0


class BusyError(Exception):
    """Another process works at this case."""


@contextlib.contextmanager
def claimed(output: Path, key: str) -> Iterator[None]:
    """Hold the case: of two processes, on whatever shard, one does it. The hold ends with the process, however that ends.

    One byte of one file is locked for each case, so that no lock has to be cleaned up.

    Raises BusyError where another process keeps the case for longer than a dying worker would.
    """
    output.mkdir(parents=True, exist_ok=True)
    place = int(hashlib.sha256(key.encode()).hexdigest()[:7], 16)
    with (output / LOCK).open("r+b" if (output / LOCK).exists() else "a+b") as file:
        until = time.monotonic() + _WAIT_SECONDS
        while not _locked(file, place):
            if time.monotonic() > until:
                raise BusyError(key)
            time.sleep(0.05)
        yield


def _locked(file: BinaryIO, place: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(place)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def staged(output: Path, case: Case) -> Iterator[Mapping[str, tuple[Path, ...]]]:
    """The paths of each input: a series as a folder of numbered links to its slices, whatever else lies beside them.

    So no other file counts, and what a command says of its input names no patient.
    """
    links = output / LINKS / case.key
    shutil.rmtree(links, ignore_errors=True)  # what a killed process left
    try:
        yield {role: _linked(one, links / role) for role, one in case.inputs.items()}
    finally:
        shutil.rmtree(links, ignore_errors=True)
        with contextlib.suppress(OSError):
            links.parent.rmdir()


def _linked(one: Input, folder: Path) -> tuple[Path, ...]:
    if not one.series:
        return one.paths
    folder.mkdir(parents=True)
    for number, path in enumerate(one.paths, start=1):
        link = folder / f"{number:05d}.dcm"
        try:
            link.symlink_to(path.resolve())
        except OSError:  # a system without links for everybody
            shutil.copyfile(path, link)
    return (folder,)


def quarantine(output: Path, key: str, error: JrsError, paths: Mapping[str, int], fingerprint: str = "") -> None:
    """Write why a case cannot be done. paths: how many files each role has; their names are left out."""
    folder = output / QUARANTINE / key
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "case": key,
        "code": error.code,
        "exit": int(error.exit_code),
        "message": error.message,
        "hint": error.hint,
        "inputs": dict(paths),
        "fingerprint": fingerprint,
    }
    with atomic_path(folder / REASON, exist="overwrite") as (temporary, _):
        temporary.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def release(output: Path, key: str) -> None:
    """Take a case that was done out of quarantine."""
    shutil.rmtree(output / QUARANTINE / key, ignore_errors=True)
    with contextlib.suppress(OSError):
        (output / QUARANTINE).rmdir()


def reason_of(output: Path, key: str) -> dict[str, Any] | None:
    """Why a case is in quarantine; None where it is not."""
    try:
        found = json.loads((output / QUARANTINE / key / REASON).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
