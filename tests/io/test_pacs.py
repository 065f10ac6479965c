"""An archive takes what we write: Orthanc, on this machine alone, stores an RTSTRUCT and gives it back unchanged."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Archive:
    """A running Orthanc: its ports on 127.0.0.1."""

    dicom_port: int
    http_port: int

    def get(self, path: str) -> bytes:
        """What its REST interface answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
            return answer.read()

    def instances(self) -> list[str]:
        """Its names of all that it holds."""
        return json.loads(self.get("/instances"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(tool: Path, folder: Path) -> tuple[subprocess.Popen[bytes], Archive]:
    archive = Archive(_free_port(), _free_port())
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [],
        "HttpPort": archive.http_port,
        "DicomPort": archive.dicom_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        # the DICOM port takes no address to listen on, so only this machine, under this name, is let in
        "DicomAlwaysAllowStore": False,
        "DicomCheckModalityHost": True,
        "DicomModalities": {"test": ["JRSTEST", "127.0.0.1", 104]},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([tool, folder / "orthanc.json"], cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            archive.get("/system")
            return process, archive
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    process.kill()
    process.wait()
    raise RuntimeError((folder / "log").read_text(errors="replace")[-2000:])


@pytest.fixture(scope="module")
def archive(requires_tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """An empty Orthanc that nobody else can reach, stopped at the end."""
    tool = requires_tool("Orthanc")
    for attempt in range(3):  # another program may take a free port before Orthanc does
        try:
            process, running = _start(tool, tmp_path_factory.mktemp("orthanc"))
            break
        except RuntimeError:
            if attempt == 2:
                raise
    yield running
    process.terminate()
    process.wait(timeout=30)


def _send(tool: Path, archive: Archive, *files: Path) -> None:
    words = [tool, "-R", "-aet", "JRSTEST", "-aec", "ORTHANC", "127.0.0.1", str(archive.dicom_port), *files]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, done.stdout + done.stderr


def _only_new(archive: Archive, before: list[str]) -> bytes:
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
