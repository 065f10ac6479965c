"""However the pixels are packed, the values are the same."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import compress
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    RLELossless,
)

from jrscli.errors import InputError
from jrscli.io.dicom_decode import DECODERS
from jrscli.io.dicom_series import read_series
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

GRID = Geometry((40, 36, 3), np.diag((1.5, 0.8, 2.0, 1.0)))
BY_GDCM = ("JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless")


def values(dtype: str, bits: int) -> np.ndarray:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if dtype.startswith("i") else (0, 2**bits)
    return np.random.default_rng(bits).integers(low, high, GRID.shape).astype(dtype)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, dicom_slices: Callable, save_slices: Callable) -> tuple:
    """The array, and a folder of it in explicit VR little endian."""
    dtype, bits = request.param
    array = values(dtype, bits)
    images = dicom_slices(Volume(array, GRID))
    for one in images:
        one.BitsStored, one.HighBit = bits, bits - 1
        if one.BitsAllocated == 8:
            one["PixelData"].VR = "OB"
    return array, save_slices(images, tmp_path / "series")


KINDS = [("uint8", 8), ("uint16", 12), ("uint16", 16), ("int16", 16)]


def rewrite(folder: Path, syntax: str, preamble: bool = True) -> None:
    """The files in another uncompressed transfer syntax, by pydicom."""
    for path in folder.iterdir():
        read = pydicom.dcmread(path)
        one = Dataset({element.tag: element for element in read})
        one.file_meta = read.file_meta
        one.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian and one.BitsAllocated == 16:
            one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
        one.save_as(
            path,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
            enforce_file_format=preamble,
        )


def packed_by_gdcm(folder: Path, name: str) -> None:
    for path in folder.iterdir():
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()


@pytest.mark.parametrize("folder", KINDS, indirect=True)
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_uncompressed(folder: tuple, syntax: str) -> None:
    array, path = folder
    rewrite(path, syntax)
    np.testing.assert_array_equal(read_series(path)[0].array, array)


@pytest.mark.parametrize("folder", KINDS, indirect=True)
@pytest.mark.parametrize("name", BY_GDCM)
def test_compressed_by_gdcm(folder: tuple, name: str) -> None:
    array, path = folder
    packed_by_gdcm(path, name)
    assert pydicom.dcmread(next(path.iterdir())).file_meta.TransferSyntaxUID in DECODERS
    np.testing.assert_array_equal(read_series(path)[0].array, array)


@pytest.mark.parametrize("folder", KINDS, indirect=True)
@pytest.mark.parametrize(("syntax", "encoder"), [(JPEG2000Lossless, "pylibjpeg"), (RLELossless, "pydicom")])
def test_compressed_by_pydicom(folder: tuple, syntax: str, encoder: str) -> None:
    array, path = folder
    for file in path.iterdir():
        one = pydicom.dcmread(file)
        compress(one, syntax, encoding_plugin=encoder, generate_instance_uid=False)
        one.save_as(file)
    np.testing.assert_array_equal(read_series(path)[0].array, array)


def test_the_decoder_under_the_gpl_is_never_asked() -> None:
    """pydicom calls pylibjpeg-libjpeg "pylibjpeg" too, for the JPEGs that openjpeg does not do."""
    for syntax, plugins in DECODERS.items():
        if "pylibjpeg" in plugins:
            assert syntax.endswith((".90", ".91", ".201", ".202", ".203"))


@pytest.mark.parametrize("folder", [("uint16", 12)], indirect=True)
def test_unused_bits_do_not_count(folder: tuple) -> None:
    """Overlays of old lie in the four bits that the twelve of the image leave."""
    array, path = folder
    for file in path.iterdir():
        one = pydicom.dcmread(file)
        one.PixelData = (np.frombuffer(one.PixelData, "<u2") | 0x8000).tobytes()
        one.save_as(file)
    np.testing.assert_array_equal(read_series(path)[0].array, array)


@pytest.mark.parametrize("folder", [("int16", 12)], indirect=True)
def test_signs_are_extended(folder: tuple) -> None:
    """Twelve bits with a sign, in sixteen whose upper four were left at zero."""
    array, path = folder
    for file in path.iterdir():
        one = pydicom.dcmread(file)
        one.PixelData = (np.frombuffer(one.PixelData, "<u2") & 0x0FFF).tobytes()
        one.save_as(file)
    np.testing.assert_array_equal(read_series(path)[0].array, array)


@pytest.mark.parametrize("folder", [("uint16", 12)], indirect=True)
def test_jpeg_of_12_bits_is_refused_with_the_tool_that_reads_it(folder: tuple) -> None:
    _, path = folder
    for file in path.iterdir():
        one = pydicom.dcmread(file)
        one.file_meta.TransferSyntaxUID = JPEGExtended12Bit
        one.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        one["PixelData"].VR = "OB"
        one["PixelData"].is_undefined_length = True
        one.save_as(file)
    with pytest.raises(InputError) as caught:
        read_series(path)
    assert caught.value.code == "pixel.syntax"
    assert "dcmdjpeg" in caught.value.hint


@pytest.mark.parametrize("folder", [("uint16", 12)], indirect=True)
@pytest.mark.parametrize("name", BY_GDCM)
@pytest.mark.parametrize("left", [0.3, 0.9, 0.995])
def test_truncated_compressed_pixels_are_no_image(folder: tuple, name: str, left: float) -> None:
    """Decoders fill up what is missing, some without a word."""
    _, path = folder
    packed_by_gdcm(path, name)
    file = sorted(path.iterdir())[2]
    one = pydicom.dcmread(file)
    frame = pydicom.encaps.get_frame(one.PixelData, 0, number_of_frames=1)
    one.PixelData = pydicom.encaps.encapsulate([frame[: int(len(frame) * left / 2) * 2]])
    one["PixelData"].VR = "OB"
    one["PixelData"].is_undefined_length = True
    one.save_as(file)
    with pytest.raises(InputError, match="image 3 of the series") as caught:
        read_series(path)
    assert caught.value.code == "series.cut"


@pytest.mark.parametrize("folder", [("uint16", 16)], indirect=True)
def test_damaged_compressed_pixels_are_named(folder: tuple, capfd: pytest.CaptureFixture[str]) -> None:
    _, path = folder
    packed_by_gdcm(path, "JPEGLosslessProcess14_1")
    file = sorted(path.iterdir())[1]
    one = pydicom.dcmread(file)
    one.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\0\0 rubbish \xff\xd9 "])
    one["PixelData"].VR = "OB"
    one["PixelData"].is_undefined_length = True
    one.save_as(file)
    with pytest.raises(InputError, match="image 2 of the series") as caught:
        read_series(path)
    assert caught.value.code == "series.cut"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("folder", [("uint8", 8)], indirect=True)
@pytest.mark.parametrize("preamble", [True, False])
def test_a_deflated_bomb_is_refused_while_it_is_small(folder: tuple, preamble: bool) -> None:
    _, path = folder
    rewrite(path, DeflatedExplicitVRLittleEndian, preamble)
    file = next(path.iterdir())
    data = file.read_bytes()
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(b"\0" * 30_000_000) + packer.flush()
    file.write_bytes(data[: data.index(b"PYDICOM") + 14] + packed)
    with pytest.raises(InputError) as caught:
        read_series(path)
    assert caught.value.code == "input.too_big"
