"""``jrs node``: from the words of its settings to an object that comes back."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import DeformableSpatialRegistrationStorage, RTStructureSetStorage
from scipy.ndimage import gaussian_filter

from jrscli.cohort.inbox import Inbox
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.contours import structures_of_labels

WORDS = "--model tiny --refine 0 --no-report --no-both"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One core, no models but those a test makes, pseudonyms of this test only."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    monkeypatch.setenv("JRS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    """A planning CT, its contours and a daily CT of one patient who did not move."""
    grid = Geometry((28, 24, 16), np.diag((2.0, 2.0, 3.0, 1.0)))
    smooth = gaussian_filter(np.random.default_rng(1).normal(size=grid.shape), 2.0)
    image = Volume((smooth * 6000).astype(np.int16), grid)
    ball = np.linalg.norm(np.moveaxis(np.indices(grid.shape), 0, -1) - (14, 12, 8), axis=-1) < 5
    header = write_series(image, tmp_path / "plan", seed="plan")
    write_series(image, tmp_path / "daily", seed="daily")
    structures = structures_of_labels(LabelMap(ball.astype(np.uint32), grid, {1: "Ball"}))
    write_rtstruct(structures, header, grid, tmp_path / "plan" / "RS.dcm", label="PLAN", seed="plan")
    folder = tmp_path / "study"
    folder.mkdir()
    for number, source in enumerate(sorted([*(tmp_path / "plan").iterdir(), *(tmp_path / "daily").iterdir()])):
        one = pydicom.dcmread(source)
        one.PatientID, one.PatientName = "SECRET-ID", "SECRET^NAME"
        one.save_as(folder / f"{number}.dcm")
    return sorted(folder.iterdir())


@pytest.fixture
def destination() -> Iterator[Callable[..., list[Any]]]:
    """``destination(port)`` listens there and gives the list of what arrives; status: what it answers."""
    servers = []

    def listen(port: int, status: int = 0) -> list[Any]:
        found: list[Any] = []

        def store(event: Any) -> int:
            found.append(event.dataset)
            return status

        entity = AE("PACS")
        entity.add_supported_context(RTStructureSetStorage)
        servers.append(entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]))
        return found

    yield listen
    for server in servers:
        server.shutdown()


def fill(folder: Path, study: list[Path]) -> None:
    """Put objects into the queue as the receiver does."""
    inbox = Inbox(folder)
    for path in study:
        one = pydicom.dcmread(path)
        assert inbox.keep(str(one.PatientID), str(one.SOPInstanceUID), path.read_bytes())
    inbox.close()


def states(folder: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(folder / "node.sqlite") as database:
        return database.execute("SELECT state, code FROM patients").fetchall()


def prepare(folder: Path, study: list[Path]) -> None:
    """A queue in which a structure set waits to be sent."""
    fill(folder, study[:1])
    source = next(path for path in study if pydicom.dcmread(path).SOPClassUID == RTStructureSetStorage)
    inbox = Inbox(folder)
    key, mark = inbox.take(0) or ("", 0)
    inbox.results(key).mkdir(parents=True)
    path = inbox.results(key) / "RS.dcm"
    path.write_bytes(source.read_bytes())
    inbox.finish(key, mark, [(path, hashlib.sha256(path.read_bytes()).hexdigest(), "1.2")])
    inbox.close()


def once(out: Path, port: int) -> tuple[object, ...]:
    words = ("node", "-o", out, "--accept", "X@127.0.0.1", "--send-to", f"PACS@127.0.0.1:{port}", "--once", "--quiet-for", "0")
    return (*words, "--retry-every", "0.1", "--options", WORDS)


def test_results_wait_for_a_destination_that_is_away_and_are_sent_once(jrs, study, destination, make_model, tmp_path):
    make_model(tmp_path / "models", "tiny")
    out, port = tmp_path / "node", free_port()
    prepare(out, study)
    said = jrs(*once(out, port))
    assert said.code == 0, said.err
    assert "[node.unreachable]" in said.err
    assert states(out) == [("sending", "")]
    found = destination(port)
    for _ in range(2):
        time.sleep(0.3)
        assert jrs(*once(out, port)).code == 0
    assert states(out) == [("done", "")]
    assert [one.PatientID for one in found] == ["SECRET-ID"]


def test_an_object_that_is_always_refused_ends_in_quarantine(jrs, study, destination, make_model, tmp_path):
    make_model(tmp_path / "models", "tiny")
    out, port = tmp_path / "node", free_port()
    found = destination(port, 0xA700)
    prepare(out, study)
    for _ in range(6):
        assert jrs(*once(out, port)).code == 0
        with sqlite3.connect(out / "node.sqlite") as database:
            database.execute("UPDATE outgoing SET due = 0")
    assert len(found) == 5
    assert states(out) == [("quarantine", "node.refused")]


def test_what_cannot_be_done_is_quarantined_and_done_once_the_rest_is_there(jrs, study, destination, make_model, tmp_path):
    make_model(tmp_path / "models", "tiny", shift=(0.0, 0.0, 0.0))
    out, port = tmp_path / "node", free_port()
    found = destination(port)
    late = [path for path in study if pydicom.dcmread(path).SOPClassUID == RTStructureSetStorage]
    fill(out, [path for path in study if path not in late])
    assert jrs(*once(out, port)).code == 0
    assert states(out) == [("quarantine", "pair.contours")]
    fill(out, late)
    said = jrs(*once(out, port))
    assert (said.code, states(out)) == (0, [("done", "")]), said.err
    assert len(found) == len(list(out.glob("results/*/*/run.json"))) == 1
    names = " ".join(str(path.relative_to(out)) for path in out.rglob("*"))
    assert "SECRET" not in said.err + said.out + names


def test_a_stop_signal_leaves_the_case_in_the_queue(jrs, study, make_model, tmp_path, monkeypatch):
    from jrscli.cli import batch_run

    def stopped(*words: Any) -> None:
        raise KeyboardInterrupt

    make_model(tmp_path / "models", "tiny")
    monkeypatch.setattr(batch_run, "one_pass", stopped)
    fill(tmp_path / "node", study[:1])
    said = jrs(*once(tmp_path / "node", 1))
    assert said.code == 0
    assert "1 patients and 0 objects wait" in said.err
    assert states(tmp_path / "node") == [("received", "")]


def test_from_orthanc_and_back(start_orthanc, study, make_model, assert_valid_dicom, tmp_path):
    """Planning CT, contours and daily CT are sent by a real archive; RTSTRUCT and REG arrive there. SIGTERM ends the node."""
    make_model(tmp_path / "models", "tiny", shift=(0.0, 0.0, 0.0))
    out, port, log = tmp_path / "node", free_port(), tmp_path / "log"
    (tmp_path / "orthanc").mkdir()
    with start_orthanc(tmp_path / "orthanc", node=("JRS", port)) as archive:
        config = tmp_path / "node.yaml"
        config.write_text(
            f"output: node\nport: {port}\naccept: [ORTHANC@127.0.0.1]\nsend_to: ORTHANC@127.0.0.1:{archive.dicom_port}\n"
            f'quiet_for: 0.5\noptions: "{WORDS} --write-reg deformable"\n'
        )
        with log.open("wb") as file:
            node = subprocess.Popen(
                [sys.executable, "-m", "jrscli", "node", "--config", config], stderr=file, env={**os.environ}
            )
        try:
            wait_for(lambda: b"listens on" in log.read_bytes(), log)
            for path in study:
                archive.post("/instances", path.read_bytes())
            before = archive.instances()
            answer = archive.post("/modalities/node/store", str(before).replace("'", '"').encode())
            assert b'"FailedInstancesCount" : 0' in answer
            wait_for(lambda: states(out) == [("done", "")], log)
            node.send_signal(signal.SIGTERM)
            assert node.wait(timeout=20) == 0, log.read_text()
        finally:
            node.kill()
            node.wait()
        for number, name in enumerate(set(archive.instances()) - set(before)):
            (tmp_path / f"back{number}.dcm").write_bytes(archive.get(f"/instances/{name}/file"))
    assert "stopped; 0 patients and 0 objects" in log.read_text()
    assert "SECRET" not in log.read_text()
    paths = {str(pydicom.dcmread(path).SOPClassUID): path for path in tmp_path.glob("back*.dcm")}
    assert set(paths) == {RTStructureSetStorage, DeformableSpatialRegistrationStorage}
    for path in paths.values():
        assert pydicom.dcmread(path).PatientID == "SECRET-ID"
        assert_valid_dicom(path)
    back = pydicom.dcmread(paths[RTStructureSetStorage])
    planning = next(one for one in map(pydicom.dcmread, study) if one.SOPClassUID == RTStructureSetStorage)
    assert [roi.ROIName for roi in back.StructureSetROISequence] == [roi.ROIName for roi in planning.StructureSetROISequence]
    grid = pydicom.dcmread(paths[DeformableSpatialRegistrationStorage]).DeformableRegistrationSequence[0]
    named = {one.ReferencedSOPInstanceUID for one in grid.ReferencedImageSequence}
    assert named
    assert named <= {one.SOPInstanceUID for one in map(pydicom.dcmread, study)}


def wait_for(happened: Callable[[], bool], log: Path) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until, log.read_text()
        assert b"error:" not in log.read_bytes(), log.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        ((), 2, "usage.missing"),
        (("--accept", "TPS", "--send-to", "PACS@127.0.0.1:104"), 2, "node.peer"),
        (("--accept", "TPS@127.0.0.1", "--send-to", "127.0.0.1:104"), 2, "node.destination"),
        (("--accept", "TPS@127.0.0.1", "--send-to", "PACS@127.0.0.1:0"), 2, "node.destination"),
        (("--accept", "T@127.0.0.1", "--send-to", "P@127.0.0.1:104", "--title", "A" * 17), 2, "node.title"),
        (("--accept", "T@127.0.0.1", "--send-to", "P@127.0.0.1:104", "--options", "--output x"), 2, "node.options"),
        (("--accept", "T@127.0.0.1", "--send-to", "P@127.0.0.1:104", "--options", "--nothing"), 2, "usage.option"),
        (("--config", "nowhere.yaml"), 4, "node.config"),
    ],
)
def test_wrong_settings_are_said_before_anything_starts(jrs, tmp_path, words, code, name):
    jrs("node", "-o", tmp_path / "node", *words).failed_with(code, name)
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize("text", ["ports: 1", "port: many", "port: 70000", "accept: TPS@127.0.0.1", "- a", "a: [", "title:"])
def test_a_wrong_file_is_said(jrs, tmp_path, text):
    (tmp_path / "node.yaml").write_text(text)
    jrs("node", "--config", tmp_path / "node.yaml").failed_with(4, "node.config")


def test_a_port_that_is_taken_is_said(jrs, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ("--accept", "T@127.0.0.1", "--send-to", "P@127.0.0.1:104", "--port", taken.getsockname()[1])
        jrs("node", "-o", tmp_path / "node", *words).failed_with(2, "node.port")


def test_without_pynetdicom_the_extra_is_named(jrs, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("jrscli.io.dicom_receive")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    said = jrs("node", "-o", tmp_path / "node", "--accept", "T@127.0.0.1", "--send-to", "P@127.0.0.1:104")
    said.failed_with(5, "extra.missing")
    assert "jrscli[node]" in said.err
