"""How much a file may claim to hold: looked at in its header, before memory is given to it."""

from __future__ import annotations

from pathlib import Path

from jrscli.errors import InputError

MAX_VOXELS = 2_000_000_000
MAX_BYTES = 8_000_000_000
MAX_RATIO = 200
MAX_TEXT = 50_000_000
"""Bytes: a million points, a spline of any size."""
MAX_TABLE = 5_000_000
"""Bytes of a .json beside a file."""
FREE_BYTES = 512_000_000
"""Up to this size any ratio is believed: a label map is mostly zeros, and those pack a thousandfold."""
_DEFLATE_RATIO = 1040
"""More than this no deflate stream can unpack to."""


def check_text(path: Path, limit: int = MAX_TEXT) -> None:
    """Raise InputError `input.too_big` for a file of text that is longer than anybody writes."""
    size = path.stat().st_size
    if size > limit:
        raise InputError(
            f"{path.name} holds {size / 1e6:.0f} MB of text", code="input.too_big", hint=f"at most {limit // 1_000_000} MB"
        )


def check_voxels(count: float, path: Path) -> None:
    """Raise InputError `input.too_big` for more voxels than are read."""
    if not count <= MAX_VOXELS:
        raise InputError(
            f"{path.name} claims {count:.3g} voxels", code="input.too_big", hint="at most 2·10⁹ voxels; crop the image first"
        )


def check_claim(
    size: int, path: Path, *, packed: bool, in_memory: int = 0, stored: int | None = None, code: str = "image.unreadable"
) -> None:
    """Refuse a file whose header claims more than the file can hold, or more than is given to any file.

    size: bytes that the header claims, unpacked. packed: whether they are compressed. in_memory: bytes they take when read, if
    that is more. stored: bytes that they take in the file; the size of the file without.

    Raises InputError `input.too_big`, and ``code`` for more than the file can hold.
    """
    stored = path.stat().st_size if stored is None else stored
    if size < 0 or size > (_DEFLATE_RATIO * stored if packed else stored):
        raise InputError(
            f"{path.name} cannot be read: it is cut off or damaged (its header claims {size / 1e6:.3g} MB)",
            code=code,
            hint="copy or download the file again (gzip -t FILE tests a .gz)",
        )
    needed = max(size, in_memory)
    if needed > MAX_BYTES or (packed and size > MAX_RATIO * stored and needed > FREE_BYTES):
        raise InputError(
            f"{path.name} unpacks to {needed / 1e9:.1f} GB"
            + (f", more than {MAX_RATIO} times its size" if needed <= MAX_BYTES else ""),
            code="input.too_big",
            hint="at most 8 GB; crop the image first, or unpack it by hand",
        )
