"""MetaImage and NRRD headers, looked at before ITK reads them: its readers believe what a header says, and fall over it."""

from __future__ import annotations

import re
from math import isfinite, prod
from pathlib import Path

from jrscli.errors import InputError
from jrscli.io.caps import check_claim, check_voxels

_HEADER_BYTES = 65_536
_FAR = 1e12
_META_BYTES = {
    "CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 8, "ULONG": 8, "LONG_LONG": 8,
    "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip
_META_LISTS = {"DimSize", "ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation"}
_META_MATRICES = {"TransformMatrix", "Rotation", "Orientation"}
_META_TRUTHS = {"BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData"}
_META_WORDS = {
    "ObjectType", "ObjectSubType", "Comment", "AnatomicalOrientation", "DistanceUnits", "Modality", "Name", "ID", "ParentID",
    "TransformType", "AcquisitionDate", "ElementMin", "ElementMax", "ElementToIntensityFunctionSlope",
    "ElementToIntensityFunctionOffset", "ITK_InputFilterName", "Color", "CompressionLevel",
}  # fmt: skip
_NRRD_BYTES = {
    1: ("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"),
    2: ("short", "short int", "signed short", "signed short int", "int16", "int16_t",
        "ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    4: ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"),
    8: ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t",
        "ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t", "double"),
}  # fmt: skip
_NRRD_PER_AXIS = {"sizes", "spacings", "thicknesses", "axis mins", "axismins", "axis maxs", "axismaxs"}
_NRRD_WORDS_PER_AXIS = {"kinds", "centers", "centerings", "labels", "units"}
_NRRD_OTHER = {
    "type", "dimension", "space", "space dimension", "encoding", "endian", "content", "space directions", "space origin",
    "space units", "measurement frame", "data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip", "min", "max",
    "old min", "oldmin", "old max", "oldmax", "number", "sample units", "sampleunits",
}  # fmt: skip
_NRRD_PACKED = {"gzip", "gz"}
_SPACES = {"left-posterior-superior", "lps", "right-anterior-superior", "ras", "left-anterior-superior", "las"}


def check_itk_header(path: Path) -> None:
    """Refuse what the header of a MetaImage or NRRD file must not say.

    That is: numbers that are none, lists of the wrong length, more voxels than the data can hold, and voxels in another folder.

    Raises InputError `image.unreadable`, `input.too_big`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
        (_check_nrrd if head.startswith(b"NRRD") else _check_meta)(head, path)
    except (ValueError, KeyError, IndexError, OverflowError, OSError) as error:
        raise InputError(
            f"{path.name} cannot be read: it is cut off or damaged",
            code="image.unreadable",
            hint="copy or download the file again",
        ) from error


def _check_meta(head: bytes, path: Path) -> None:
    fields: dict[str, str] = {}
    for line in head.split(b"\n"):
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    unknown = set(fields) - _META_LISTS - _META_MATRICES - _META_TRUTHS - _META_WORDS
    if unknown - {"NDims", "ElementType", "ElementDataFile", "ElementNumberOfChannels", "HeaderSize", "CompressedDataSize", ""}:
        raise ValueError("unknown field")
    dimensions = int(fields["NDims"])
    if not 1 <= dimensions <= 4 or fields.get("ObjectType", "Image") != "Image":
        raise ValueError("not an image")
    for key in _META_LISTS & set(fields):
        _numbers(fields[key].split(), dimensions)
    for key in _META_MATRICES & set(fields):
        _numbers(fields[key].split(), dimensions**2)
    for key in _META_TRUTHS & set(fields):
        if fields[key].lower() not in ("true", "false", "1", "0"):
            raise ValueError(key)
    sizes, channels = [int(n) for n in fields["DimSize"].split()], int(fields.get("ElementNumberOfChannels", "1"))
    element = fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
    packed = fields.get("CompressedData", "false").lower() in ("true", "1")
    if int(fields.get("HeaderSize", "0")) < -1 or int(fields.get("CompressedDataSize", "0")) < 0:
        raise ValueError("a negative size")
    ascii_numbers = fields.get("BinaryData", "true").lower() in ("false", "0")
    _check_data(path, fields["ElementDataFile"], sizes, channels, _META_BYTES[element], packed or ascii_numbers)


def _check_nrrd(head: bytes, path: Path) -> None:
    fields: dict[str, str] = {}
    lines = head.split(b"\n")
    for line in lines[1:]:
        text = line.decode("latin-1").rstrip("\r")
        if not text:
            break
        if not text.startswith("#") and ":=" not in text:
            key, separator, value = text.partition(": ")
            if not separator or key.strip().lower() in fields:
                raise ValueError("a line without meaning")
            fields[key.strip().lower()] = value.strip()
    if set(fields) - _NRRD_PER_AXIS - _NRRD_WORDS_PER_AXIS - _NRRD_OTHER:
        raise ValueError("unknown field")
    dimensions = int(fields["dimension"])
    if not 1 <= dimensions <= 5:
        raise ValueError("not an image")
    for key in _NRRD_PER_AXIS & set(fields):
        _numbers(fields[key].split(), dimensions, nan=key != "sizes")
    for key in _NRRD_WORDS_PER_AXIS & set(fields):
        words = re.findall(r'"[^"]*"' if key in ("labels", "units") else r"[\w?*-]+", fields[key])
        if len(words) != dimensions:
            raise ValueError(key)
    if fields.get("space", "lps").lower() not in _SPACES or {"space", "space dimension"} <= set(fields):
        raise ValueError("space")
    space = int(fields.get("space dimension", "3"))
    if "space directions" in fields:
        vectors = re.findall(r"none|\([^)]*\)", fields["space directions"])
        if len(vectors) != dimensions or vectors.count("none") != max(dimensions - space, 0):
            raise ValueError("space directions")
        for vector in vectors:
            if vector != "none":
                _numbers(vector.strip("()").split(","), space)
    for key in {"space origin", "measurement frame"} & set(fields):
        for vector in re.findall(r"\([^)]*\)", fields[key]):
            _numbers(vector.strip("()").split(","), space)
    for key in {"line skip", "lineskip", "byte skip", "byteskip"} & set(fields):
        if not -1 <= int(fields[key]) <= 2**31:
            raise ValueError(key)
    if fields.get("endian", "little").lower() not in ("little", "big"):
        raise ValueError("endian")
    encoding = fields["encoding"].lower()
    if encoding not in ("raw", *_NRRD_PACKED):
        raise InputError(
            f"{path.name} is encoded as {encoding[:12]}, which is not read",
            code="image.unreadable",
            hint="save it again as raw or gzip",
        )
    size = {name: each for each, names in _NRRD_BYTES.items() for name in names}[fields["type"].lower()]
    sizes = [int(n) for n in fields["sizes"].split()]
    data = fields.get("data file", fields.get("datafile", "LOCAL"))
    _check_data(path, data, sizes, 1, size, encoding in _NRRD_PACKED)


def _check_data(path: Path, data: str, sizes: list[int], channels: int, each: int, packed: bool) -> None:
    if min(sizes) < 1 or not 1 <= channels <= 1000:
        raise ValueError("a size below one")
    check_voxels(prod(sizes), path)
    file = path
    if data != "LOCAL":
        # only a plain name beside the header: a path could lead to any file of this machine
        if not re.fullmatch(r"[^/\\%:\s][^/\\%:]*", data) or data.split()[0] in ("LIST", "..") or data.startswith("."):
            raise InputError(
                f"{path.name} takes its voxels from a list of files or from another folder, which is not read",
                code="image.unreadable",
                hint="save it as one file (.mha, .nrrd)",
            )
        file = path.with_name(data)
        if file.resolve().parent != path.resolve().parent:
            raise ValueError("a link that leads elsewhere")
    check_claim(prod(sizes) * channels * each, path, packed=packed, stored=file.stat().st_size)


def _numbers(words: list[str], count: int, *, nan: bool = False) -> None:
    # beyond any patient: products of such numbers are no longer finite, and ITK decomposes matrices of them for ever
    if len(words) != count or not all(abs(float(word)) < _FAR or (nan and not isfinite(float(word))) for word in words):
        raise ValueError("not the numbers that belong here")
