"""Stored values of one image: read straight from the file where they lie plain in it, else by a decoder.

Decoders are pydicom's own (RLE), python-gdcm (JPEG), pyjpegls (JPEG-LS) and pylibjpeg-openjpeg (JPEG 2000).
pylibjpeg-libjpeg is under the GPL: it is never asked, not even where it is installed.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pydicom
from jaxtyping import Shaped
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from jrscli.errors import InputError, Notice
from jrscli.io.dicom_slice import Slice, text_of
from jrscli.io.dicom_walk import Source, quiet

PLAIN = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian}
_JPEG = "1.2.840.10008.1.2.4."
DECODERS: dict[str, tuple[str, ...]] = {
    str(RLELossless): ("pydicom",),
    **{_JPEG + end: ("gdcm",) for end in ("50", "51", "57", "70")},
    **{_JPEG + end: ("pyjpegls", "gdcm") for end in ("80", "81")},
    **{_JPEG + end: ("pylibjpeg",) for end in ("90", "91", "201", "202", "203")},
}
"""Which decoder is taken for a transfer syntax, the first one that is there; a syntax that is not here is refused.

gdcm reads JPEG 2000 too, but a damaged stream makes it end the whole process.
"""
_JPEG_EXTENDED = _JPEG + "51"
_MONOCHROME = ("MONOCHROME1", "MONOCHROME2")


def transfer_syntax(header: Dataset) -> str:
    """The UID of the transfer syntax; implicit or explicit little endian where the file does not say it."""
    meta = getattr(header, "file_meta", None)
    named = str(meta.get("TransferSyntaxUID", "") or "") if meta is not None else ""
    if named:
        return named
    implicit, little = header.original_encoding
    return str((ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian) if little else ExplicitVRBigEndian)


def check_decodable(slices: list[Slice]) -> tuple[Notice, ...]:
    """A notice (`pixel.lossy`) where the images lost something in compression.

    Raises InputError `pixel.syntax`, `pixel.colour` from headers alone.
    """
    for header in {id(s.header): s.header for s in slices}.values():
        syntax = transfer_syntax(header)
        extended = syntax == _JPEG_EXTENDED and int(header.get("BitsStored", 8) or 8) > 8
        if extended or (syntax not in PLAIN and syntax not in DECODERS):
            raise _undecodable(syntax)
        if int(header.get("SamplesPerPixel", 1) or 1) != 1 or text_of(header, "PhotometricInterpretation") not in (
            *_MONOCHROME,
            "",
        ):
            raise InputError(
                "the images are in colour", code="pixel.colour", hint="a screen capture is no image: give the scanner's series"
            )
    if any(str(s.get("LossyImageCompression", "") or "") == "01" for s in slices):
        return (Notice("pixel.lossy", "the images were compressed with loss"),)
    return ()


class PixelReader:
    """Reads the stored values of images one after the other; of a file with many frames it keeps what it parsed."""

    def __init__(self) -> None:
        self._source: Source | None = None
        self._dataset: Dataset | None = None

    def read(self, s: Slice, number: int) -> Shaped[np.ndarray, "rows columns"]:
        """Stored values as they are in the file, bits that do not belong to them included where it is uncompressed.

        number: its place in the series, to name it by. Raises InputError `series.cut`, `pixel.syntax`.
        """
        syntax = transfer_syntax(s.header)
        try:
            with quiet():
                stored = _plain(s, syntax) if syntax in PLAIN else self._decoded(s, syntax)
            if stored.shape != s.shape:
                raise ValueError("not the size that the header says")
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"image {number} of the series cannot be read (truncated or damaged)",
                code="series.cut",
                hint="copy or export the series again",
            ) from error
        return stored

    def _decoded(self, s: Slice, syntax: str) -> np.ndarray:
        if self._dataset is None or self._source is not s.source:
            with s.source.open() as stream:
                self._dataset, self._source = pydicom.dcmread(stream, force=True), s.source
        decoder = get_decoder(UID(syntax))
        usable = [name for name in DECODERS[syntax] if name in decoder.available_plugins]
        if not usable:
            raise _undecodable(syntax)
        _hush_gdcm()
        return decoder.as_array(self._dataset, index=s.frame or 0, raw=True, decoding_plugin=usable[0])[0]


def _plain(s: Slice, syntax: str) -> np.ndarray:
    """Uncompressed values, from their place in the file."""
    header = s.header
    bits = int(header.BitsAllocated)
    kind = "i" if int(header.get("PixelRepresentation", 0) or 0) == 1 else "u"
    rows, columns = s.shape
    with s.source.open() as stream:
        stream.seek(s.source.pixels_at or 0)
        start = stream.read(12)
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        tag = tuple(np.frombuffer(start[:4], f"{order}u2").tolist())
        explicit = not header.is_implicit_VR
        if tag == (0x7FE0, 0x0008):
            kind, bits = "f", 32
        elif tag == (0x7FE0, 0x0009):
            kind, bits = "f", 64
        elif tag != (0x7FE0, 0x0010) or bits not in (8, 16, 32):
            raise ValueError("no pixels, or of a size that is not read")
        words = start[4:6] == b"OW"
        if explicit:
            length = int(np.frombuffer(start[8:12], f"{order}u4")[0]) if start[4:6] in (b"OW", b"OB", b"OF", b"OD") else -1
        else:
            length = int(np.frombuffer(start[4:8], f"{order}u4")[0])
        if length < 0:
            raise ValueError("pixels of an unknown kind")
        size = rows * columns * bits // 8
        begin = (s.frame or 0) * size
        if begin + size > length:
            raise ValueError("fewer pixels than the header says")
        stream.seek(int(s.source.pixels_at or 0) + (12 if explicit else 8) + begin)
        data = stream.read(size)
    values = np.frombuffer(data, f"{order}{kind}{bits // 8}", rows * columns).reshape(rows, columns)
    if order == ">" and bits == 8 and words:
        # big-endian words hold two pixels each, the second one first
        values = np.frombuffer(data, "u2").byteswap().view(values.dtype).reshape(rows, columns)
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def true_bits(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """The values without bits that do not belong to them (overlays, garbage; PS3.5 8.1.1), signs extended."""
    allocated = stored.dtype.itemsize * 8
    used = int(header.get("BitsStored", allocated) or allocated)
    high = int(header.get("HighBit", used - 1) or used - 1)
    if stored.dtype.kind == "f" or not 0 < used < allocated or not used - 1 <= high < allocated:
        return stored
    return np.right_shift(np.left_shift(stored, allocated - 1 - high), allocated - used)


def _hush_gdcm() -> None:
    """Keep the C++ library from writing on the terminal: what it says is told by our own error."""
    with contextlib.suppress(ImportError):
        import gdcm

        for silence in (gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff, gdcm.Trace.DebugOff):
            silence()


def _undecodable(syntax: str) -> InputError:
    name = UID(syntax).name if UID(syntax).is_valid else "an unknown transfer syntax"
    return InputError(
        f"the images are compressed ({name}), which is not decoded here",
        code="pixel.syntax",
        hint="unpack them first: dcmdjpeg of DCMTK for JPEG, gdcmconv --raw IN OUT for others",
    )
