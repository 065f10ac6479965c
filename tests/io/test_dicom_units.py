"""What the numbers mean: Hounsfield units, uptake of a PET where it can be computed, and what padding becomes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from jrscli.io.dicom_series import read_series
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

GRID = Geometry((8, 7, 5), np.diag((4.0, 4.0, 3.0, 1.0)))
ARRAY = np.random.default_rng(0).integers(0, 30000, GRID.shape).astype(np.uint16)


@pytest.fixture
def read(tmp_path: Path, dicom_slices: Callable, save_slices: Callable) -> Callable:
    """Reads the array as a series whose elements are set, by value or by a function of the slice number; None is left out."""

    def run(modality: str, array: np.ndarray = ARRAY, **elements: object) -> tuple:
        images = dicom_slices(Volume(array, GRID), modality)
        for n, one in enumerate(images):
            for keyword, value in elements.items():
                made = value(n) if callable(value) else value
                if made is not None:
                    setattr(one, keyword, made)
        found, header, notices = read_series(save_slices(images, tmp_path / "series"))
        return found.array, header.unit, [notice.code for notice in notices]

    return run


def tracer(**changes: object) -> list[Dataset]:
    one = Dataset()
    elements = {
        "RadionuclideTotalDose": "370000000",
        "RadionuclideHalfLife": "6588",
        "RadiopharmaceuticalStartTime": "100000.00",
        **changes,
    }
    for keyword, value in elements.items():
        if value is not None:
            setattr(one, keyword, value)
    return [one]


PET = {
    "Units": "BQML",
    "DecayCorrection": "START",
    "CorrectedImage": ["ATTN", "DECY", "SCAT"],
    "PatientWeight": "74",
    "SeriesDate": "20260102",
    "SeriesTime": "114948.00",  # one half-life after the injection
    "AcquisitionDate": "20260102",
    "AcquisitionTime": lambda n: f"1150{n:02d}",
    "RescaleSlope": lambda n: str(0.5 + n),
    "RescaleIntercept": "0",
}
ACTIVITY = ARRAY * (0.5 + np.arange(5))


def test_a_ct_is_in_hounsfield_units_unless_it_says_otherwise(read: Callable) -> None:
    assert read("CT")[1:] == ("HU", [])


@pytest.mark.parametrize("kind", ["US", "OD"])
def test_a_ct_of_another_kind_is_not_taken_for_hounsfield_units(read: Callable, kind: str) -> None:
    array, unit, codes = read("CT", RescaleType=kind, RescaleSlope="1", RescaleIntercept="-1024")
    assert (unit, codes) == ("", ["value.cbct"])
    np.testing.assert_array_equal(array, ARRAY.astype(int) - 1024)


def test_an_mr_has_no_unit(read: Callable) -> None:
    assert read("MR")[1:] == ("", [])


def test_uptake_of_a_pet_with_all_that_it_takes(read: Callable) -> None:
    array, unit, codes = read("PT", **PET, RadiopharmaceuticalInformationSequence=tracer())
    assert (unit, codes) == ("SUVbw", [])
    # 74 kg over half of 370 MBq, per gram: 0.0004 per Bq/ml
    np.testing.assert_allclose(array, ACTIVITY * 74_000 / 185e6, rtol=1e-6)


def test_dose_that_was_decayed_by_the_scanner_is_taken_as_it_is(read: Callable) -> None:
    array = read("PT", **{**PET, "DecayCorrection": "ADMIN"}, RadiopharmaceuticalInformationSequence=tracer())[0]
    np.testing.assert_allclose(array, ACTIVITY * 74_000 / 370e6, rtol=1e-6)


def test_an_injection_before_midnight(read: Callable) -> None:
    times = {"SeriesTime": "001948", "AcquisitionTime": "002000"}
    given = tracer(RadiopharmaceuticalStartTime="223000")
    array = read("PT", **{**PET, **times}, RadiopharmaceuticalInformationSequence=given)[0]
    np.testing.assert_allclose(array, ACTIVITY * 74_000 / 185e6, rtol=1e-6)


@pytest.mark.parametrize(
    ("missing", "changes"),
    [
        ({"PatientWeight": None}, {}),
        ({"PatientWeight": "0"}, {}),
        ({"DecayCorrection": "NONE"}, {}),
        ({"CorrectedImage": ["DECY"]}, {}),
        ({"SeriesTime": None}, {}),
        ({"SeriesTime": "120000"}, {}),  # rewritten after the acquisition: not what the images are corrected to
        ({}, {"RadionuclideTotalDose": None}),
        ({}, {"RadionuclideHalfLife": None}),
        ({}, {"RadiopharmaceuticalStartTime": None}),
    ],
)
def test_without_one_of_them_it_stays_in_becquerels(read: Callable, missing: dict, changes: dict) -> None:
    array, unit, codes = read("PT", **{**PET, **missing}, RadiopharmaceuticalInformationSequence=tracer(**changes))
    assert (unit, codes) == ("BQML", ["value.suv"])
    np.testing.assert_allclose(array, ACTIVITY, rtol=1e-6)


@pytest.mark.parametrize(("kind", "unit"), [(None, "SUVbw"), ("BW", "SUVbw"), ("LBM", "SUVlbm"), ("BSA", "SUVbsa")])
def test_grams_per_millilitre_are_uptake_already(read: Callable, kind: str | None, unit: str) -> None:
    array, found, codes = read("PT", Units="GML", SUVType=kind)
    assert (found, codes) == (unit, [])
    np.testing.assert_array_equal(array, ARRAY)


def test_counts_are_no_uptake(read: Callable) -> None:
    assert read("PT", Units="CNTS")[1:] == ("CNTS", ["value.suv"])


def test_a_table_takes_the_place_of_slope_and_intercept(read: Callable) -> None:
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [256, 10, 16], "US"
    table.add_new("LUTData", "OW", (np.arange(256) ** 2).astype("<u2").tobytes())
    array = read("MR", np.full(GRID.shape, 17, np.uint16), ModalityLUTSequence=[table])[0]
    assert (array == 49).all()


@pytest.mark.parametrize(("modality", "background"), [("CT", -1024), ("MR", 0)])
def test_a_range_of_padding_becomes_background(read: Callable, modality: str, background: int) -> None:
    array = np.where(np.arange(8)[:, None, None] < 3, np.uint16(63535) + (ARRAY % 3).astype(np.uint16), ARRAY)
    found = read(modality, array, PixelPaddingValue=63535, PixelPaddingRangeLimit=63537)[0]
    assert (found[:3] == background).all()
    np.testing.assert_array_equal(found[3:], ARRAY[3:])


def test_padding_that_uses_unused_bits_becomes_background(read: Callable) -> None:
    """−2000 as 16 bits in pixels that are said to have 12."""
    array = np.where(np.arange(8)[:, None, None] < 3, np.uint16(63536), ARRAY % 4096).astype(np.uint16)
    found = read("CT", array, PixelPaddingValue=63536, BitsStored=12, HighBit=11, RescaleSlope="1", RescaleIntercept="-1000")[0]
    assert (found[:3] == -1024).all()
    np.testing.assert_array_equal(found[3:], ARRAY[3:].astype(int) % 4096 - 1000)
