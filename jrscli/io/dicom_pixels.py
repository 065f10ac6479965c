"""The pixels of a series, slice by slice into one array, in scanner units."""

from __future__ import annotations

import numpy as np
import pydicom
from jaxtyping import Shaped
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from jrscli.errors import InputError
from jrscli.io.dicom_geometry import Slice
from jrscli.io.dicom_walk import quiet

UNCOMPRESSED = {
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    "1.2.840.10008.1.2.2",  # explicit big endian
    "1.2.840.10008.1.2.1.99",  # deflated
    RLELossless,
}
CT_BACKGROUND = -1024


def check_decodable(slices: list[Slice]) -> None:
    """Raise InputError `pixel.syntax` or `pixel.colour`, from headers alone."""
    for s in slices:
        meta = getattr(s.header, "file_meta", None)
        syntax = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
        if syntax and syntax not in UNCOMPRESSED:
            raise InputError(
                f"the images are compressed ({pydicom.uid.UID(syntax).name}), which this version does not decode",
                code="pixel.syntax",
                hint="unpack them first: gdcmconv --raw IN OUT, or dcmdjpeg of DCMTK for JPEG",
            )
        if int(s.header.get("SamplesPerPixel", 1) or 1) != 1:
            raise InputError(
                "the images are in colour", code="pixel.colour", hint="a screen capture is no image: give the scanner's series"
            )


def read_stored(s: Slice, number: int) -> tuple[Shaped[np.ndarray, "rows columns"], Dataset]:
    """Stored values of one image and its full header.

    number: its place in the series, to name it by. Raises InputError `series.cut`.
    """
    try:
        with quiet(), s.source.open() as stream:
            dataset = pydicom.dcmread(stream, force=True)
            if "TransferSyntaxUID" not in dataset.file_meta:
                implicit, _ = dataset.original_encoding
                dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            stored = dataset.pixel_array
    except Exception as error:
        raise InputError(
            f"image {number} of the series cannot be read (truncated or damaged)",
            code="series.cut",
            hint="copy or export the series again",
        ) from error
    if stored.shape != s.shape:
        raise InputError(
            f"image {number} holds {stored.ndim}-D pixels where one plane is expected",
            code="series.cut",
            hint="multi-frame objects are not supported by this version",
        )
    return stored, dataset


def read_stack(slices: list[Slice]) -> Shaped[np.ndarray, "columns rows slices"]:
    """Scanner units (HU for CT) of the sorted slices, first axis fastest.

    Each slice has its own slope and intercept (PET varies them from slice to slice); padding becomes background. Whole numbers
    that fit stay int16, everything else is float32.
    """
    rows, columns = slices[0].shape
    whole = all(_is_whole(s.header) for s in slices)
    # one slice is one piece of memory, as it is in the file; the array is turned round without a copy at the end
    stack = np.empty((len(slices), rows, columns), np.int16 if whole else np.float32)
    for k, s in enumerate(slices):
        stored, dataset = read_stored(s, k + 1)
        if stack.dtype == np.float32:
            stack[k] = _rescaled(stored, dataset)
            continue
        values = stored.astype(np.int32) + int(float(dataset.get("RescaleIntercept", 0) or 0))
        values[_padding(stored, dataset)] = _background(dataset)
        if values.min() < -32768 or values.max() > 32767:
            stack = stack.astype(np.float32)
        stack[k] = values
    return stack.transpose(2, 1, 0)


def _is_whole(header: Dataset) -> bool:
    slope, intercept = header.get("RescaleSlope", 1), header.get("RescaleIntercept", 0)
    slope, intercept = float(1 if slope is None else slope), float(intercept or 0)
    return (
        slope == 1 and intercept == int(intercept) and "ModalityLUTSequence" not in header and int(header.BitsAllocated) <= 16
    )


def _rescaled(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    slope = dataset.get("RescaleSlope")
    if "ModalityLUTSequence" in dataset:
        values = np.asarray(apply_modality_lut(stored, dataset), np.float32)
    else:
        values = stored.astype(np.float32) * np.float32(1 if slope is None else slope)
        values += np.float32(dataset.get("RescaleIntercept", 0) or 0)
    values[_padding(stored, dataset)] = _background(dataset)
    return values


def _padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    value = dataset.get("PixelPaddingValue")
    if value is None or isinstance(value, bytes):
        return np.zeros(stored.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit", value)
    # writers take US for SS and the reverse: the 16 bits count, read in the type of the pixels
    low, high = sorted(int(np.array(int(v) & 0xFFFF, np.uint16).astype(stored.dtype)) for v in (value, limit))
    return (stored >= low) & (stored <= high)


def _background(dataset: Dataset) -> int:
    return CT_BACKGROUND if dataset.get("Modality") == "CT" else 0
