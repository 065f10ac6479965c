"""Partial: a private hidden folder ``.NAME.….partial`` in which outputs are written before they appear."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import secrets
import shutil
from pathlib import Path

from jrscli.errors import WriteError

_OWN: set[str] = set()


class Partial:
    """The place where the outputs for ``target`` are written until they are complete.

    It lies in the target where that is a folder already (which may be the only place we may write to), else beside it, so
    that a rename suffices at the end. What a killed process left there for the same target is removed.

    Raises WriteError `output.unwritable`.
    """

    def __init__(self, target: Path) -> None:
        target = target.resolve() if target.name in ("", "..") else target.parent.resolve() / target.name
        parent = target if target.is_dir() else target.parent
        self._made = [folder for folder in (parent, *parent.parents) if not _is_there(folder)]
        prefix = f".{target.name[:120]}.{_host()}"
        self.folder = parent / f"{prefix}-{os.getpid()}-{secrets.token_hex(3)}.partial"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _clean_up_after_the_dead(parent, prefix)
            _OWN.add(self.folder.name)
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            self.discard()
            raise unwritable(target, error) from error

    def open_up(self) -> None:
        """Give what is about to appear the permissions that the user's umask gives to new files."""
        mask = os.umask(0)
        os.umask(mask)
        with contextlib.suppress(OSError):
            for entry in (self.folder, *self.folder.rglob("*")):
                entry.chmod((0o777 if entry.is_dir() else 0o666) & ~mask)

    def discard(self) -> None:
        """Remove the folder, and the parents made for it where nothing was written into them."""
        shutil.rmtree(self.folder, ignore_errors=True)
        _OWN.discard(self.folder.name)
        for parent in self._made:
            with contextlib.suppress(OSError):
                parent.rmdir()


def sweep(parent: Path) -> None:
    """Remove what killed processes of this machine left half-written in a folder, for whatever target."""
    pattern = re.compile(rf"\..*\.{_host()}-(\d+)-[0-9a-f]{{6}}\.partial")
    for entry in list(parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match and entry.name not in _OWN and not _is_alive(int(match[1])):
            shutil.rmtree(entry, ignore_errors=True)


def sweep_target(target: Path) -> None:
    """Remove what was left half-written for a target, by whatever machine: for one who alone may write there.

    What a process of this machine that lives is writing stays.
    """
    pattern = re.compile(rf"\.{re.escape(target.name[:120])}\.([0-9a-f]{{6}})-(\d+)-[0-9a-f]{{6}}\.partial")
    for parent in (target.parent, target):
        for entry in list(parent.iterdir()) if parent.is_dir() else []:
            match = pattern.fullmatch(entry.name)
            if match and (match[1] != _host() or not _is_alive(int(match[2]))):
                shutil.rmtree(entry, ignore_errors=True)


def unwritable(path: Path, error: OSError) -> WriteError:
    """The error for a place that cannot be written, with the system's reason."""
    reasons = {FileExistsError: "a file of that name is in the way", NotADirectoryError: "a part of the path is a file"}
    reason = reasons.get(type(error), (error.strerror or "unknown reason").lower())
    return WriteError(f"{path} cannot be written: {reason}", code="output.unwritable", hint="choose another place with -o")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True


def _clean_up_after_the_dead(parent: Path, prefix: str) -> None:
    """Remove partial folders whose process, on this machine, is gone."""
    pattern = re.compile(rf"{re.escape(prefix)}-(\d+)-[0-9a-f]{{6}}\.partial")
    for entry in list(parent.iterdir()):
        match = pattern.fullmatch(entry.name)
        if match and entry.name not in _OWN and (int(match[1]) == os.getpid() or not _is_alive(int(match[1]))):
            shutil.rmtree(entry, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end a process there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]
