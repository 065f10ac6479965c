"""An archive takes what we write: Orthanc, on this machine alone, stores an RTSTRUCT and gives it back unchanged."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from jrscli.io.dicom_series import read_series
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct import read_rtstruct
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def archive(start_orthanc: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An empty Orthanc that nobody else can reach, stopped at the end."""
    with start_orthanc(tmp_path_factory.mktemp("orthanc"), test=("JRSTEST", 104)) as running:
        yield running


def _send(tool: Path, archive: Any, *files: Path) -> None:
    words = [tool, "-R", "-aet", "JRSTEST", "-aec", "ORTHANC", "127.0.0.1", str(archive.dicom_port), *files]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, done.stdout + done.stderr


def _only_new(archive: Any, before: list[str]) -> bytes:
    (name,) = set(archive.instances()) - set(before)
    return archive.get(f"/instances/{name}/file")


def test_an_rtstruct_comes_back_with_an_equal_data_set(requires_tool, archive, tmp_path):
    """Patient, contours and references of a real study, and a name that needs UTF-8."""
    tool = requires_tool("storescu")
    volume, header, _ = read_series(DATA / "sarcoma-ct" / "image")
    header.template.PatientName = "Jürgens^Zoë"
    structures = read_rtstruct(DATA / "sarcoma-ct" / "structures.dcm", header, volume.geometry)
    write_rtstruct(structures, header, volume.geometry, tmp_path / "rs.dcm")
    before = archive.instances()
    _send(tool, archive, tmp_path / "rs.dcm")
    returned = pydicom.dcmread(io.BytesIO(_only_new(archive, before)))
    written = pydicom.dcmread(tmp_path / "rs.dcm")
    assert returned == written
    del written.RTROIObservationsSequence[0].ROIInterpreter
    assert returned != written  # the comparison goes to the bottom of sequences
    assert sum(len(item.ContourSequence) for item in returned.ROIContourSequence if "ContourSequence" in item) > 10
    assert str(returned.PatientName) == "Jürgens^Zoë"


def test_an_image_comes_back_with_an_equal_data_set(requires_tool, archive, tmp_path):
    tool = requires_tool("storescu")
    pixels = np.random.default_rng(0).integers(-900, 900, (9, 7, 2)).astype(np.int16)
    write_series(Volume(pixels, Geometry((9, 7, 2), np.eye(4))), tmp_path / "ct")
    before = archive.instances()
    _send(tool, archive, tmp_path / "ct" / "CT0001.dcm")
    assert pydicom.dcmread(io.BytesIO(_only_new(archive, before))) == pydicom.dcmread(tmp_path / "ct" / "CT0001.dcm")
