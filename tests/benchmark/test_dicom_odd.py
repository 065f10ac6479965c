"""Real series that readers get wrong, each by the code it has to be refused with or by what has to be read.

JRS_DATA=… pytest -m benchmark tests/benchmark/test_dicom_odd.py
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jrscli.cli import app
from jrscli.io import read_image
from jrscli.io.dicom_pixels import read_stored
from jrscli.io.dicom_series import read_series
from jrscli.io.dicom_slice import slices_of
from jrscli.io.dicom_walk import walk

pytestmark = pytest.mark.benchmark

REFUSED = {
    "gantry-tilt": ("series.tilt", ["series.for_blank"]),
    "missing-slice": ("series.missing", ["series.for_blank"]),
    "mixed-orientation": ("series.mixed", []),
    "transfer-syntaxes": ("series.one", ["series.dup_same"]),
}
READ = {"two-slices": ["series.few"], "enhanced-mr": []}


@pytest.fixture(scope="module")
def data() -> Path:
    """The folder of real data."""
    if not os.environ.get("JRS_DATA"):
        pytest.skip("JRS_DATA does not name the folder with the real images")
    return Path(os.environ["JRS_DATA"]) / "dicom"


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a line that is seen without -s."""

    def line(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(text + "\n")

    return line


@pytest.fixture
def document(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict]:
    """What a command prints under ``--json``, with its exit code."""

    def run(*words: object) -> dict:
        capsys.readouterr()
        code = app([*map(str, words), "--json"])
        return {**json.loads(capsys.readouterr().out), "exit": code}

    return run


def test_every_folder_is_known_here(data: Path) -> None:
    assert {folder.name for folder in (data / "odd").iterdir()} == {*REFUSED, *READ}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(data: Path, document: Callable, say: Callable, tmp_path: Path, name: str) -> None:
    code, before = REFUSED[name]
    found = document("convert", "series", data / "odd" / name, "--to", tmp_path / "a.nii.gz")
    assert (found["exit"], found["code"]) == (4, code)
    assert [notice["code"] for notice in found["notices"]] == before
    say(f"{name}: {found['code']}: {found['message']}")


@pytest.mark.parametrize("name", READ)
def test_read(data: Path, document: Callable, say: Callable, tmp_path: Path, name: str) -> None:
    found = document("convert", "series", data / "odd" / name, "--to", tmp_path / "a.nii.gz")
    assert found["exit"] == 0
    assert set(READ[name]) <= {notice["code"] for notice in found["notices"]}
    say(f"{name}: read, {[notice['code'] for notice in found['notices']]}")


def test_the_enhanced_mr_is_what_its_authors_say_it_is(data: Path) -> None:
    found = read_image(data / "odd" / "enhanced-mr" / "anatomical" / "001")
    truth = read_image(data / "odd" / "enhanced-mr" / "anatomical" / "001_ground_truth.nii.gz")
    assert found.volume.geometry.matches(truth.volume.geometry, 1e-2)
    np.testing.assert_array_equal(found.volume.array, truth.volume.array)
    assert found.series is not None
    assert found.series.frame_numbers == tuple(range(1, 9))


def test_nine_transfer_syntaxes_decode_to_the_same_values(data: Path, say: Callable) -> None:
    hashes = {}
    for number, (source, header) in enumerate(walk(data / "odd" / "transfer-syntaxes").headers):
        for image in slices_of(source, header, number):
            stored = read_stored(image, number).astype("<i4")
            hashes[str(header.file_meta.TransferSyntaxUID), number] = hashlib.sha256(stored.tobytes()).hexdigest()
    say("\n".join(f"{syntax}: {digest[:12]}" for (syntax, _), digest in hashes.items()))
    assert len(hashes) == 9
    assert len(set(hashes.values())) == 1


@pytest.mark.parametrize(("name", "slices"), [("gantry-tilt", 4), ("missing-slice", 5)])
def test_irregular_stacks_are_resampled_on_request(data: Path, say: Callable, name: str, slices: int) -> None:
    volume, _, notices = read_series(data / "odd" / name, resample_irregular=True)
    say(f"{name}: {volume.geometry.shape}, {volume.geometry.spacing_mm}, {notices[-1].message}")
    assert volume.geometry.shape[2] == slices
    assert notices[-1].code == REFUSED[name][0]


@pytest.mark.parametrize("number", [1, 2])
def test_either_orientation_is_picked(data: Path, number: int) -> None:
    volume, _, notices = read_series(data / "odd" / "mixed-orientation", select=f"orientation={number}")
    assert volume.geometry.shape == (288, 288, 2)
    assert "series.few" in [notice.code for notice in notices]


def test_the_phantom_is_160_slices(data: Path) -> None:
    volume, header, notices = read_series(data / "pelvis-phantom" / "CT")
    assert volume.geometry.shape == (512, 512, 160)
    assert volume.geometry.spacing_mm == pytest.approx((0.7421875, 0.7421875, 2.0), abs=1e-6)
    assert header.unit == "HU"
    assert not notices


@pytest.mark.parametrize("patient", ["STS_002", "STS_003", "STS_008"])
def test_the_pet_has_a_slope_for_each_slice_and_is_in_suv(data: Path, say: Callable, patient: str) -> None:
    volume, header, notices = read_series(data / "sarcoma" / patient / "PET" / "image")
    assert header.unit == "SUVbw"
    assert not notices
    slopes = {str(h.RescaleSlope) for _, h in walk(data / "sarcoma" / patient / "PET" / "image").headers}
    say(f"{patient}: {len(slopes)} slopes, SUV up to {volume.array.max():.2f}")
    assert len(slopes) > 1
