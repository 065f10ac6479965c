"""Deflated DICOM files, unpacked with a limit: a small file must not become a large memory."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

from pydicom.filereader import read_dataset

from jrscli.errors import InputError
from jrscli.io.caps import MAX_BYTES, MAX_RATIO

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT = b"1.2.840.10008.1.2.1".ljust(len(_DEFLATED), b"\0")


def plain(stream: BinaryIO) -> BinaryIO:
    """The stream at its first byte; in place of a deflated data set the same one in explicit VR little endian.

    Raises InputError `input.too_big` where it unpacks to over 200 times its size or to more than 8 GB, zlib.error.
    """
    start = stream.read(2048)
    stream.seek(0)
    if _DEFLATED not in start:
        return stream
    # a file may lack the preamble and begin with its meta information
    stream.seek(132 if start[128:132] == b"DICM" else 0)
    meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag.group != 2)
    begin = stream.tell()
    if str(meta.get("TransferSyntaxUID", "")) != _DEFLATED.decode():
        stream.seek(0)
        return stream
    stream.seek(0)
    head, packed = stream.read(begin), stream.read()
    stream.close()
    limit = min(MAX_BYTES, MAX_RATIO * max(len(packed), 1))
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    data = unpacker.decompress(packed, limit)
    if unpacker.unconsumed_tail:
        raise InputError(
            f"a deflated image unpacks to over {MAX_RATIO} times its size or above 8 GB",
            code="input.too_big",
            hint="unpack it by hand: gdcmconv --raw IN OUT",
        )
    return io.BytesIO(head.replace(_DEFLATED, _EXPLICIT) + data)
