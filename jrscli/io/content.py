"""What a path is, told from its first bytes: names and extensions lie."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Literal

from jrscli.errors import InputError

Kind = Literal["nifti", "itk", "dicom", "folder", "zip", "transform", "points", "unknown"]

_TRANSFORM_TEXT = (b"#Insight Transform File", b"(Transform ")


def existing(path: Path | str) -> Path:
    """The path, if something is there.

    Raises InputError `input.missing`.
    """
    path = Path(path)
    try:
        found = path.exists()
    except OSError:
        found = False
    if not found:
        raise InputError(
            f"no such file or folder: {path}", code="input.missing", hint="check the path; relative paths start here"
        )
    return path


def kind_of(path: Path | str) -> Kind:
    """What lies at ``path``; "unknown" for a file whose first bytes say nothing.

    Raises InputError `input.missing`, `input.unreadable`.
    """
    path = existing(path)
    if path.is_dir():
        return "folder"
    head = _head(path)
    if head[:2] == b"\x1f\x8b":
        return "nifti" if _is_nifti(_unzipped(head)) or (path.name.lower().endswith(".nii.gz") and _is_cut(head)) else "unknown"
    if _is_nifti(head) or (path.suffix.lower() == ".img" and path.with_suffix(".hdr").exists()):
        return "nifti"
    if head[128:132] == b"DICM" or _is_bare_dicom(head):
        return "dicom"
    if head.startswith(b"NRRD") or (b"ElementDataFile" in head and b"DimSize" in head):
        return "itk"
    if head.startswith(b"\x89HDF\r\n\x1a\n") or head.lstrip().startswith(_TRANSFORM_TEXT) or path.suffix.lower() == ".mat":
        return "transform"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    return "points" if _is_points(head) else "unknown"


def looks_like_text(path: Path) -> bool:
    """Whether the file is plain text, for a better error message."""
    head = _head(path)
    return bool(head) and b"\0" not in head and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8192)
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened: {error.strerror or 'it is not a regular file'}",
            code="input.unreadable",
            hint="check the permissions of the file",
        ) from error


def _unzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 1024)
    except zlib.error:
        return b""


def _is_cut(head: bytes) -> bool:
    """Whether so little of a gzip file is left that its header cannot be read."""
    return len(_unzipped(head)) < 348


def _is_nifti(head: bytes) -> bool:
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def _is_bare_dicom(head: bytes) -> bool:
    """Whether a file without preamble begins with an element of group 0002 or 0008 (little endian)."""
    return (
        head[:2] in (b"\x02\x00", b"\x08\x00")
        and len(head) > 8
        and ((head[4:6].isalpha() and head[4:6].isupper()) or head[6:8] == b"\0\0")
    )


def _is_points(head: bytes) -> bool:
    text = head.decode("utf-8", "replace").lstrip("\ufeff \r\n\t")
    first = text.splitlines()[0].lower() if text else ""
    return first.startswith("# markups") or "x_lps_mm" in first or (text.startswith("{") and '"markups"' in text)
