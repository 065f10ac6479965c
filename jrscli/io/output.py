"""Outputs that appear when they are complete, and not before: everything is written in a `Partial` and renamed at the end."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from jrscli.errors import WriteError
from jrscli.io.partial import Partial, unwritable
from jrscli.io.run_record import RUN_FILE, recorded_outputs, sha256_of

Exist = Literal["suffix", "skip", "overwrite", "error"]
_FORBIDDEN = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))}
_DOUBLE_ENDINGS = (".nii.gz", ".mrk.json")


class OutputFolder:
    """A result folder under construction: ``with OutputFolder(folder) as out: write(out.path("warped.nii.gz"))``.

    folder: where the results are (to be). A folder that holds a result already (run.json) gives way to NAME-2, NAME-3 … with
        ``exist="suffix"``, and is replaced with "overwrite"; files that are not ours are replaced with "overwrite" only.
    skipped: with ``exist="skip"``, whether a result was there already; then nothing is to be done.

    Raises WriteError `output.unwritable` on entering (before anything is computed), `output.exists`.
    """

    def __init__(self, folder: Path | str, *, exist: Exist = "suffix") -> None:
        self.wanted = Path(folder)
        self.folder = self.wanted
        self.exist: Exist = exist
        self.skipped = False
        self._partial: Partial | None = None

    def __enter__(self) -> Self:
        if _holds_result(self.wanted):
            if self.exist == "error":
                raise _exists(self.wanted)
            if self.exist == "suffix":
                self.folder = _next_free(self.wanted, _holds_result)
            self.skipped = self.exist == "skip"
        if not self.skipped:
            self._partial = Partial(self.folder)
            if self.folder.exists() and not self.folder.is_dir():
                self._partial.discard()
                raise unwritable(self.folder, FileExistsError())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._partial is None:
            return
        try:
            if kind is None:
                self._commit(self._partial)
        finally:
            self._partial.discard()
            self._partial = None

    def path(self, name: str) -> Path:
        """Where to write the output called ``name``; it appears as ``folder / name`` at the end.

        Raises ValueError for a name that is no plain file name.
        """
        if self._partial is None:
            raise RuntimeError("the output folder is not open")
        if not is_safe_name(name):
            raise ValueError(f"not a plain file name: {name!r}")
        return self._partial.folder / name

    def final(self, name: str) -> Path:
        """Where the output called ``name`` is to be found afterwards."""
        return self.folder / name

    def names(self) -> list[str]:
        """What has been written so far."""
        return sorted(file.name for file in self._partial.folder.iterdir()) if self._partial else []

    def _commit(self, partial: Partial) -> None:
        names = self.names()

        def taken(folder: Path) -> bool:
            return any((folder / name).exists() for name in (*names, RUN_FILE))

        if self.exist != "overwrite" and taken(self.folder):  # files of others, or of a run that was quicker
            if self.exist != "suffix":
                raise _exists(self.folder)
            self.folder = _next_free(self.wanted, taken)
        partial.open_up()
        try:
            if self.folder.is_dir():
                self._move_in(partial.folder, names)
            else:
                partial.folder.rename(self.folder)
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def _move_in(self, partial: Path, names: list[str]) -> None:
        """Rename file by file into a folder; run.json, the mark of a complete result, goes first and comes last."""
        replaced = recorded_outputs(self.folder)
        (self.folder / RUN_FILE).unlink(missing_ok=True)
        for name, digest in replaced.items():
            old = self.folder / name
            if name not in names and is_safe_name(name) and old.is_file() and sha256_of(old) == digest:
                old.unlink()  # an untouched file of the replaced result would pass for one of the new result
        for name in sorted(names, key=lambda name: name == RUN_FILE):
            _replace(partial / name, self.folder / name)


@contextlib.contextmanager
def atomic_path(path: Path | str, *, exist: Exist = "suffix") -> Iterator[tuple[Path, Path]]:
    """A place to write one file or folder, and where it will be: ``with atomic_path(p) as (temporary, final): …``.

    Files written beside it (a .json) appear with it. exist: "suffix" gives way to NAME-2.EXT; "skip" acts as "error" here.

    Raises WriteError `output.unwritable` on entering, `output.exists`.
    """
    final = Path(path)
    if final.exists() and exist != "overwrite":
        if exist != "suffix":
            raise _exists(final)
        final = _next_free(final, Path.exists)
    partial = Partial(final.parent / final.name) if not final.is_dir() else Partial(final.parent / f"{final.name}.new")
    try:
        yield partial.folder / final.name, final
        partial.open_up()
        try:
            for entry in sorted(partial.folder.iterdir(), key=lambda file: file.name == final.name):
                _replace(entry, final.parent / entry.name)
        except OSError as error:
            raise unwritable(final, error) from error
    finally:
        partial.discard()


def write_bytes(data: bytes, path: Path) -> None:
    """Write a file.

    Raises WriteError `output.unwritable`.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise unwritable(path, error) from error


def is_safe_name(name: str) -> bool:
    """Whether a name is plain on any system: ``[A-Za-z0-9._-]``, at most 80 characters, no leading dot or dash."""
    stem = name.split(".")[0].lower()
    return bool(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", name)) and stem not in _FORBIDDEN


def safe_stem(text: str) -> str:
    """``text`` as a name that is plain on any system."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:60].rstrip(".-")
    return name if is_safe_name(name) else f"x-{name}" if name else "result"


def _holds_result(folder: Path) -> bool:
    return (folder / RUN_FILE).exists()


def _next_free(path: Path, taken: Callable[[Path], bool]) -> Path:
    """``path``, or the first of NAME-2, NAME-3 … that is not taken."""
    name = path.name or path.resolve().name
    ending = "" if path.is_dir() else next((end for end in _DOUBLE_ENDINGS if name.lower().endswith(end)), path.suffix)
    stem = name[: len(name) - len(ending)]
    candidate, number = path, 2
    while taken(candidate):
        candidate = (path if path.name else path.resolve()).with_name(f"{stem}-{number}{ending}")
        number += 1
    return candidate


def _replace(source: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    source.replace(target)


def _exists(path: Path) -> WriteError:
    return WriteError(
        f"{path} exists already", code="output.exists", hint="choose another -o, or --exist overwrite, or --exist suffix"
    )
