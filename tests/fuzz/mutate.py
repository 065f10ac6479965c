"""How a good file is broken: its bytes, its DICOM elements, the fields of its header."""

from __future__ import annotations

import gzip
import io
import random
import re
import struct
import warnings
import zlib

import pydicom
from pydicom.dataset import Dataset

BAD_NUMBERS = (
    "nan", "inf", "-inf", "0", "-1", "1e400", "1e-320", "-0", "999999999999", "65536", "2147483648", "1A", "", "1,5", "0x10",
    "1e30", "1\\2", "-1e308", "9" * 400, "٣", " ",
)  # fmt: skip
_BAD_INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 10**9)
_BAD_FLOATS = (float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e38, 1e-38, 3.5e9, -1e30)
_VRS = b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV ZZ".split()
_ELEMENTS = (
    "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue",
    "PhotometricInterpretation", "Modality", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "SpecificCharacterSet", "ImageType", "PixelData", "PatientName", "InstanceNumber", "SliceThickness", "PlanarConfiguration",
    "ROINumber", "ReferencedROINumber", "ROIName", "ContourData", "NumberOfContourPoints", "ContourGeometricType",
    "ROIDisplayColor", "ContourSequence", "ROIContourSequence", "StructureSetROISequence", "RTROIObservationsSequence",
    "ReferencedFrameOfReferenceUID", "ReferencedSOPInstanceUID", "GridFrameOffsetVector", "DoseGridScaling", "DoseUnits",
    "FrameIncrementPointer", "SegmentSequence", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence",
    "DimensionIndexSequence", "TransferSyntaxUID", "VectorGridData", "FrameOfReferenceTransformationMatrix", "GridDimensions",
)  # fmt: skip


def broken(data: bytes, name: str, rng: random.Random) -> bytes:
    """``data`` with one to three things wrong."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_mutators(data, name))(data, rng)
    return data


def _mutators(data: bytes, name: str) -> list:
    general = [truncated, flipped, integer, copied, removed]
    if data[:2] == b"\x1f\x8b":
        return [*general, _inside_gzip, _inside_gzip, _inside_gzip, _gzip_bomb]
    if data[128:132] == b"DICM" or name.endswith(".dcm"):
        return [*general, wrong_vr, element, element, element, element, nested]
    if data[344:348] in (b"n+1\0", b"ni1\0"):
        return [*general, nifti_field, nifti_field, nifti_field, nifti_field]
    if name.endswith((".csv", ".fcsv", ".json", ".tfm")):
        return [truncated, flipped, removed, number, number, number, line]
    if name.endswith((".mha", ".mhd", ".nrrd", ".nhdr")):
        return [*general, header_line, header_line, header_line, header_line]
    return general


def truncated(data: bytes, rng: random.Random) -> bytes:
    """Cut off somewhere."""
    return data[: rng.randrange(len(data) + 1)]


def flipped(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, mostly near the start, where headers are."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if out:
            out[min(int(rng.random() ** rng.choice((1, 3)) * len(out)), len(out) - 1)] = rng.randrange(256)
    return bytes(out)


def integer(data: bytes, rng: random.Random) -> bytes:
    """An extreme number written over two or four bytes."""
    size = rng.choice((2, 4))
    value = rng.choice(_BAD_INTEGERS) & (2 ** (8 * size) - 1)
    at = rng.randrange(max(len(data) - size, 1))
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def copied(data: bytes, rng: random.Random) -> bytes:
    """A stretch of it once more, at another place."""
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.randint(1, 400)] * rng.choice((1, 1, 50))
    at = rng.randrange(len(data) + 1)
    return data[:at] + part + data[at:]


def removed(data: bytes, rng: random.Random) -> bytes:
    """A stretch of it left out."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.randint(1, 200) :]


def wrong_vr(data: bytes, rng: random.Random) -> bytes:
    """The letters of a value representation replaced."""
    places = [m.start() for m in re.finditer(rb"(?<=[\x00-\xff]{4})(?:" + b"|".join(_VRS) + rb")", data[132:20_000], re.DOTALL)]
    if not places:
        return flipped(data, rng)
    at = 132 + rng.choice(places)
    return data[:at] + rng.choice(_VRS) + data[at + 2 :]


def element(data: bytes, rng: random.Random) -> bytes:
    """One element, at any depth, given a senseless value, emptied, doubled, moved into a sequence or deleted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            at, keyword = rng.choice(_places(dataset))
            if rng.random() < 0.15:
                del at[keyword]
            else:
                _spoil(at, keyword, rng)
            out = io.BytesIO()
            dataset.save_as(out, enforce_file_format=False)
            return out.getvalue()
        except Exception:  # what pydicom cannot read or write any more is broken enough in another way
            return flipped(data, rng)


def _places(dataset: Dataset) -> list[tuple[Dataset, str]]:
    meta = getattr(dataset, "file_meta", None)
    found = [(meta, "TransferSyntaxUID")] if meta is not None and "TransferSyntaxUID" in meta else []
    stack = [dataset]
    while stack and len(found) < 2000:
        inner = stack.pop()
        for one in inner:
            if one.keyword in _ELEMENTS:
                found.append((inner, one.keyword))
            if one.VR == "SQ":
                stack.extend(one.value)
    return found or [(dataset, "Rows")]


def _spoil(dataset: Dataset, keyword: str, rng: random.Random) -> None:
    one = dataset[keyword]
    if one.VR == "SQ":
        one._value = pydicom.Sequence([] if rng.random() < 0.5 else [*one.value, *one.value[:1], Dataset()])
    elif one.VR in ("US", "SS", "UL", "SL"):
        one._value = rng.choice((0, 1, 7, 12, 255, 32767, *([65535] * 3)))
    elif one.VR == "UI":
        syntaxes = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.99")
        one._value = rng.choice(("", "1.2", "x", "9" * 200, *syntaxes, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"))
    elif one.VR in ("OB", "OW", "OF", "UN"):
        value = bytes(one.value or b"")
        one._value = rng.choice((b"", value[: len(value) // 2], value + b"\0" * 99, value[1:], b"\xff" * len(value)))
    elif rng.random() < 0.7 and one.VR in ("DS", "IS", "FD", "FL"):
        count = rng.choice((0, 1, 2, 3, 4, 6, 7, 300)) if rng.random() < 0.3 else max(one.VM, 1)
        value = "\\".join(rng.choice(BAD_NUMBERS) if rng.random() < 0.5 else "1" for _ in range(count))
        dataset[keyword] = pydicom.DataElement(one.tag, "LT", value)  # a VR that holds any text: written as it is
        if one.VR in ("DS", "IS") and rng.random() < 0.8:
            dataset[keyword] = pydicom.dataelem.RawDataElement(
                one.tag, one.VR, len(value), (value + " " * (len(value) % 2)).encode(), 0, False, True
            )
    else:
        dataset[keyword] = pydicom.DataElement(
            one.tag, "LT", rng.choice(("", "\\", "ISO 2022 IR 87", "x" * 70_000, "\x1b$B", "../.."))
        )


def nested(data: bytes, rng: random.Random) -> bytes:
    """Sequences in sequences in sequences, of undefined length, at the end."""
    depth = rng.choice((5, 17, 100, 1000, 20_000))
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    tag = rng.choice((b"\x06\x30\x39\x00", b"\x08\x00\x40\x11", b"\x00\x52\x30\x92"))
    opened = (tag + b"SQ\0\0" if rng.random() < 0.5 else tag) + b"\xff\xff\xff\xff" + item
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return data + opened * depth + closed * rng.choice((0, depth))


_NIFTI = {
    "h": (40, 42, 44, 46, 48, 50, 52, 54, 70, 72, 252, 254),
    "f": (76, 80, 84, 88, 92, 96, 108, 112, 116, 256, 260, 264, 268, 272, 276, *range(280, 328, 4)),
    "b": (123, 344, 345, 346, 347, 348),
    "i": (0, 348, 352),
}


def nifti_field(data: bytes, rng: random.Random) -> bytes:
    """Fields of the header: sizes, type, spacing, offsets, orientation."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        code = rng.choice("hhfffbi")
        at = rng.choice(_NIFTI[code])
        if at + 4 > len(out):
            continue
        if code == "f":
            struct.pack_into("<f", out, at, rng.choice(_BAD_FLOATS))
        else:
            small = (0, 1, 2, 3, 4, 7, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1536, 1792, 2304, -1, -32768, 32767)
            limit = {"h": 2**15, "b": 2**7, "i": 2**31}[code]
            value = rng.choice((*small, 2**31 - 1, -(2**31)))
            struct.pack_into(f"<{code}", out, at, max(-limit, min(limit - 1, value)))
    return bytes(out)


def _inside_gzip(data: bytes, rng: random.Random) -> bytes:
    try:
        inner = zlib.decompressobj(wbits=31).decompress(data, 1_000_000)
    except zlib.error:
        return flipped(data, rng)
    return gzip.compress(broken(inner, "", rng), 1, mtime=0)


def _gzip_bomb(data: bytes, rng: random.Random) -> bytes:
    """A NIfTI header that claims what its compressed zeros then hold."""
    try:
        inner = bytearray(zlib.decompressobj(wbits=31).decompress(data, 352))
    except zlib.error:
        return flipped(data, rng)
    side = rng.choice((256, 640, 1000, 1200))
    if len(inner) >= 352:
        struct.pack_into("<4h", inner, 40, 3, side, side, side)
        struct.pack_into("<2h", inner, 70, *rng.choice(((2, 8), (4, 16), (16, 32), (64, 64))))
    squeeze = zlib.compressobj(1, wbits=31)
    block = bytes(1_000_000)
    out = [squeeze.compress(bytes(inner))] + [squeeze.compress(block) for _ in range(min(side**3 // 1_000_000, 300))]
    return b"".join(out) + squeeze.flush()


def number(data: bytes, rng: random.Random) -> bytes:
    """One number of a text replaced."""
    places = list(re.finditer(rb"-?\d[\d.eE+-]*", data[:100_000]))
    if not places:
        return flipped(data, rng)
    at = rng.choice(places)
    return data[: at.start()] + rng.choice(BAD_NUMBERS).encode() + data[at.end() :]


def line(data: bytes, rng: random.Random) -> bytes:
    """A line of a text doubled, emptied, moved, or thousands of times longer."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    how = rng.randrange(4)
    if how == 0:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif how == 1:
        lines[at] = b""
    elif how == 2:
        lines[at] = lines[at][:20_000] * 3000
    else:
        lines[at] = rng.choice((b"\xff\xfe\x00", b'"', b"{" * 5000, b"," * 5000, b"null", b"[]", b"NaN"))
    return b"\n".join(lines)


_HEADER_LINES = (
    b"DimSize = 99999 99999 99999", b"DimSize = -1 8 4", b"DimSize = 0 0 0", b"NDims = 0", b"NDims = 100", b"NDims = -3",
    b"ElementType = MET_DOUBLE", b"ElementType = MET_NONE", b"ElementNumberOfChannels = 1000000", b"ElementSpacing = 0 nan -1",
    b"TransformMatrix = nan 0 0 0 0 0 0 0 1", b"Offset = inf 0 1e400", b"ElementDataFile = /etc/hostname",
    b"ElementDataFile = ../../../../etc/hostname", b"ElementDataFile = LIST", b"ElementDataFile = %d.raw 1 999999999 1",
    b"CompressedData = True", b"CompressedDataSize = -5", b"CompressedDataSize = 99999999999", b"HeaderSize = -7",
    b"BinaryDataByteOrderMSB = maybe", b"sizes: 99999 99999 99999", b"sizes: 0 8 4", b"sizes: -1", b"dimension: 17",
    b"dimension: 0", b"type: double", b"type: block", b"encoding: gzip", b"encoding: bzip2", b"encoding: hex",
    b"encoding: text",
    b"data file: /etc/hostname", b"data file: ../../etc/hostname", b"data file: %03d.raw 1 999999999 1", b"data file: LIST",
    b"space directions: (nan,0,0) (0,0,0) none", b"space directions: (0,0,0) (0,0,0) (0,0,0)", b"space origin: (inf,0,0)",
    b"line skip: 99999999", b"byte skip: -9", b"byte skip: 99999999999", b"kinds: vector domain domain", b"endian: middle",
    b"space dimension: 900", b"block size: 99999999999",
)  # fmt: skip


def header_line(data: bytes, rng: random.Random) -> bytes:
    """A line of a MetaImage or NRRD header replaced by a hostile one of the same key, or added; or one number of it."""
    end = min((data + b"\n\n").find(b"\n\n"), 4000) if data[:4] == b"NRRD" else min(data.find(b"ElementDataFile"), 4000)
    end = max(end, 0)
    if rng.random() < 0.4:
        return number(data[:end], rng) + data[end:]
    new = rng.choice([text for text in _HEADER_LINES if (b": " in text) == (data[:4] == b"NRRD")])
    key = re.split(rb" = |: ", new)[0]
    lines = data.split(b"\n")
    for at, old in enumerate(lines[:40]):
        if old.startswith(key):
            lines[at] = new
            return b"\n".join(lines)
    return data[:end] + b"\n" * (data[:4] == b"NRRD") + new + b"\n" * (data[:4] != b"NRRD") + data[end:]
