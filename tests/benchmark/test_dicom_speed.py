"""How long reading a large CT takes, beside SimpleITK in the same run.

    pytest -m benchmark tests/benchmark/test_dicom_speed.py

The CT is made here; with JRS_DATA the real one of the pelvis phantom is read as well.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from jrscli.io.dicom_series import read_series
from jrscli.io.dicom_write import write_series
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

pytestmark = pytest.mark.benchmark

ROUNDS = 3
FACTOR = 1.5
GRID = Geometry((512, 512, 160), np.diag((0.75, 0.75, 2.0, 1.0)))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a line that is seen without -s."""

    def line(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(text + "\n")

    return line


def by_itk(folder: Path) -> tuple[float, sitk.Image]:
    """Seconds of ImageSeriesReader alone, once the files are known and sorted, and the image."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    start = time.perf_counter()
    image = reader.Execute()
    return time.perf_counter() - start, image


def by_us(folder: Path) -> tuple[float, Volume]:
    """Seconds from the folder to the volume, and the volume."""
    start = time.perf_counter()
    volume = read_series(folder)[0]
    return time.perf_counter() - start, volume


def compare(name: str, folder: Path, say: Callable[[str], None]) -> float:
    """How many times as long as ImageSeriesReader we take, best of three each, in turns; the values are the same."""
    itk, ours = [], []
    for _ in range(ROUNDS):
        seconds, image = by_itk(folder)
        itk.append(seconds)
        seconds, volume = by_us(folder)
        ours.append(seconds)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayViewFromImage(image).transpose(2, 1, 0))
    ratio = min(ours) / min(itk)
    say(f"{name}: SimpleITK ImageSeriesReader {min(itk):.3f} s, jrs {min(ours):.3f} s (headers included): {ratio:.2f}×")
    return ratio


def test_a_made_ct_of_160_slices(tmp_path: Path, say: Callable) -> None:
    noise = np.random.default_rng(0).integers(-1000, 2000, GRID.shape, dtype=np.int16)
    write_series(Volume(noise, GRID), tmp_path / "ct", seed="speed")
    assert compare("made CT, 160 × 512²", tmp_path / "ct", say) < FACTOR


def test_the_ct_of_the_phantom(say: Callable) -> None:
    if not os.environ.get("JRS_DATA"):
        pytest.skip("JRS_DATA does not name the folder with the real images")
    folder = Path(os.environ["JRS_DATA"]) / "dicom" / "pelvis-phantom" / "CT"
    assert compare("pelvis phantom, 160 × 512²", folder, say) < FACTOR
