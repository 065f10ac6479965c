"""The pixels of a series, slice by slice into one array, in scanner units."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut

from jrscli.io.dicom_decode import PixelReader, true_bits
from jrscli.io.dicom_slice import Slice

CT_BACKGROUND = -1024


def read_stored(s: Slice, number: int, reader: PixelReader | None = None) -> Shaped[np.ndarray, "rows columns"]:
    """Stored values of one image.

    number: its place in the series, to name it by. Raises InputError `series.cut`.
    """
    return true_bits((reader or PixelReader()).read(s, number), s.header)


def read_stack(slices: list[Slice]) -> Shaped[np.ndarray, "columns rows slices"]:
    """Scanner units (HU for CT) of the sorted slices, first axis fastest.

    Each slice has its own slope and intercept (PET varies them from slice to slice); padding becomes background. Whole numbers
    that fit stay int16, everything else is float32. Raises InputError `series.cut`, `pixel.syntax`.
    """
    rows, columns = slices[0].shape
    whole = all(_is_whole(s) for s in slices)
    # one slice is one piece of memory, as it is in the file; the array is turned round without a copy at the end
    stack = np.empty((len(slices), rows, columns), np.int16 if whole else np.float32)
    reader = PixelReader()
    for k, s in enumerate(slices):
        raw = reader.read(s, k + 1)
        stored = true_bits(raw, s.header)
        padding = _padding(raw, stored, s)
        if stack.dtype == np.int16:
            intercept = int(_intercept(s))
            if int(stored.min()) + intercept < -32768 or int(stored.max()) + intercept > 32767:
                stack = stack.astype(np.float32)
            else:
                # the sum fits 16 bits, so it comes out right where the numbers wrap round on the way
                np.add(stored.astype(np.uint16, copy=False), np.uint16(intercept % 65536), out=stack[k].view(np.uint16))
        if stack.dtype == np.float32:
            stack[k] = _rescaled(stored, s)
        if padding is not None:
            stack[k][padding] = background_of(s.header)
    return stack.transpose(2, 1, 0)


def background_of(header: Dataset) -> int:
    """What padding becomes: air in CT, else nothing."""
    return CT_BACKGROUND if header.get("Modality") == "CT" else 0


def _slope(s: Slice) -> float:
    slope = s.get("RescaleSlope")
    return 1.0 if slope is None or slope == "" else float(slope)


def _intercept(s: Slice) -> float:
    return float(s.get("RescaleIntercept", 0) or 0)


def _is_whole(s: Slice) -> bool:
    intercept = _intercept(s)
    return (
        _slope(s) == 1
        and intercept.is_integer()
        and "ModalityLUTSequence" not in s.header
        and int(s.header.get("BitsAllocated", 16) or 16) <= 16
    )


def _rescaled(stored: np.ndarray, s: Slice) -> np.ndarray:
    if "ModalityLUTSequence" in s.header:
        return np.asarray(apply_modality_lut(stored, s.header), np.float32)
    return stored.astype(np.float32) * np.float32(_slope(s)) + np.float32(_intercept(s))


def _padding(raw: np.ndarray, stored: np.ndarray, s: Slice) -> np.ndarray | None:
    """Where there is no image; None where all of it is."""
    value = s.header.get("PixelPaddingValue")
    if value is None or isinstance(value, bytes):
        return None
    limit = s.header.get("PixelPaddingRangeLimit", value)
    limit = value if limit is None or isinstance(limit, bytes) else limit
    found = _between(raw, value, limit)
    if raw is not stored:
        # the value may use bits that are said to be unused (−2000 in 12 bits), or be what is left without them
        found |= _between(stored, value, limit)
    return found if found.any() else None


def _between(values: np.ndarray, one: int, other: int) -> np.ndarray:
    if values.dtype.kind == "f":
        return np.zeros(values.shape, bool)
    # writers take US for SS and the reverse: the 16 bits count, read in the type of the pixels
    mask = (1 << 8 * min(values.dtype.itemsize, 2)) - 1
    unsigned = np.dtype(f"u{min(values.dtype.itemsize, 2)}")
    signed = np.dtype(f"i{min(values.dtype.itemsize, 2)}")
    kind = signed if values.dtype.kind == "i" else unsigned
    low, high = sorted(int(np.array(int(v) & mask, unsigned).astype(kind)) for v in (one, other))
    return (values >= low) & (values <= high)
