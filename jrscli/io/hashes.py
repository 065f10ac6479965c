"""Hashes of inputs, computed once per file and process as long as the file stays as it was."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def input_sha256(path: Path) -> str:
    """The hash of a file, or of the sorted hashes of all files in a folder (their names do not count).

    Raises OSError.
    """
    if path.is_dir():
        hashes = sorted(input_sha256(file) for file in path.rglob("*") if file.is_file())
        return hashlib.sha256("".join(hashes).encode()).hexdigest()
    real = path.resolve()
    found = real.stat()
    return _of_file(str(real), found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=65536)
def _of_file(path: str, inode: int, size: int, changed: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
