"""What all tests share: outside tools, and small grids in every orientation."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    generate_uid,
)

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

# Where tests run side by side, each takes one core: read by torch and ITK when they are first imported, and by subprocesses.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

# Examples on shared machines have no steady pace, so no deadline; with CI set, the same examples on every run.
settings.register_profile("jrs", deadline=None, max_examples=40, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("jrs")


@pytest.fixture(scope="session")
def requires_tool() -> Callable[[str], Path]:
    """``requires_tool("plastimatch")`` gives the path of an outside tool.

    Scripts of Python packages are none (pynetdicom brings a storescu of its own). Where the tool is
    missing the test is skipped with that reason; with JRS_REQUIRE_TOOLS=1 it fails.
    """

    def find(name: str) -> Path:
        own = {Path(sysconfig.get_path("scripts")), Path(sys.executable).parent}
        folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(folder) not in own]
        found = shutil.which(name, path=os.pathsep.join([*folders, "/usr/sbin"]))
        if found is None:
            if os.environ.get("JRS_REQUIRE_TOOLS") == "1":
                pytest.fail(f"{name} is not installed, and JRS_REQUIRE_TOOLS=1 asks for it", pytrace=False)
            pytest.skip(f"{name} is not installed")
        return Path(found)

    return find


@pytest.fixture(scope="session")
def dicom_errors(requires_tool: Callable[[str], Path]) -> Callable[[Path], list[str]]:
    """``dicom_errors(path)`` is what dciodvfy holds against a DICOM object: its lines that start with "Error".

    The validator says some of it on stdout and some on stderr, so both are read. Where it does not name the object (its line
    "CTImage", "RTStructureSet" …), it has validated nothing, and that is an error too.
    """

    def validate(path: Path) -> list[str]:
        tool = requires_tool("dciodvfy")
        done = subprocess.run([tool, path], capture_output=True, text=True, errors="replace", timeout=60, check=False)
        lines = (done.stdout + "\n" + done.stderr).splitlines()
        errors = [line for line in lines if line.startswith("Error")]
        if not any(re.fullmatch(r"[A-Z][A-Za-z0-9_]+", line.strip()) for line in lines):
            errors.append("Error - the validator did not name the object: " + " | ".join(lines)[:500])
        return errors

    return validate


@pytest.fixture(scope="session")
def assert_valid_dicom(dicom_errors: Callable[[Path], list[str]]) -> Callable[[Path], None]:
    """``assert_valid_dicom(path)`` fails unless dciodvfy names the object and finds no error in it."""

    def check(path: Path) -> None:
        errors = dicom_errors(Path(path))
        assert not errors, f"{len(errors)} validator error(s):\n" + "\n".join(errors)

    return check


def _rotation(angles_deg: tuple[float, float, float]) -> np.ndarray:
    a, b, c = np.radians(angles_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def make_geometry(
    axes: np.ndarray, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int] = (14, 12, 10)
) -> Geometry:
    """A grid with these axis directions (columns), away from the world's origin."""
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing_mm)
    affine[:3, 3] = (-31.5, 12.25, 140.0)
    return Geometry(shape, affine)


GEOMETRIES = {
    "lps": make_geometry(np.eye(3), (1.0, 1.0, 1.0)),
    "ras": make_geometry(np.diag([-1.0, -1.0, 1.0]), (1.5, 1.5, 1.5)),
    "las": make_geometry(np.diag([1.0, -1.0, 1.0]), (0.8, 1.2, 3.0)),
    "permuted": make_geometry(np.eye(3)[:, [2, 0, 1]], (2.0, 1.0, 0.7)),
    "oblique": make_geometry(_rotation((12.0, -7.0, 25.0)), (1.0, 1.0, 1.0)),
    "oblique-anisotropic": make_geometry(_rotation((-20.0, 15.0, 33.0)), (0.9, 1.4, 3.1)),
}


@pytest.fixture(scope="session", params=list(GEOMETRIES))
def geometry(request: pytest.FixtureRequest) -> Geometry:
    """A small grid; a test that takes it runs once per orientation, oblique and anisotropic ones included."""
    return GEOMETRIES[request.param]


@pytest.fixture(scope="session")
def oblique() -> Geometry:
    """The one grid that finds most mistakes: oblique and anisotropic."""
    return GEOMETRIES["oblique-anisotropic"]


@st.composite
def _any_geometry(draw: st.DrawFn) -> Geometry:
    spacing = draw(st.tuples(*[st.floats(0.2, 8.0)] * 3))
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    axes = _rotation(draw(st.tuples(*[st.floats(-180.0, 180.0)] * 3))) * draw(st.sampled_from([1.0, -1.0]))
    affine = np.eye(4)
    affine[:3, :3] = axes[:, list(draw(st.permutations(range(3))))] * np.array(spacing)
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500.0, 500.0)] * 3))
    return Geometry(shape, affine)


@pytest.fixture(scope="session")
def any_geometry() -> st.SearchStrategy[Geometry]:
    """A Hypothesis strategy: grids of 1–9 voxels per axis, of any direction, handedness, spacing (0.2–8 mm) and place."""
    return _any_geometry()


@pytest.fixture(scope="session")
def blob() -> Callable[[Geometry], Volume]:
    """``blob(geometry)`` is a smooth float32 image with a lopsided bright ellipsoid, between 0 and 1000."""

    def draw(geometry: Geometry) -> Volume:
        size = np.array(geometry.shape)
        index = np.moveaxis(np.indices(geometry.shape, dtype=np.float64), 0, -1)
        offset = (index - (size - 1) * (0.55, 0.45, 0.5)) / (size * (0.22, 0.30, 0.26))
        return Volume((1000 * np.exp(-0.5 * (offset**2).sum(-1))).astype(np.float32), geometry)

    return draw


@pytest.fixture(scope="session")
def dicom_slices() -> Callable[..., list[Dataset]]:
    """``dicom_slices(volume, modality="MR")`` is the volume as image objects in memory, one per slice."""

    def make(volume: Volume, modality: str = "MR") -> list[Dataset]:
        series, frame, study = (generate_uid() for _ in range(3))
        axes, spacing = volume.geometry.axes, volume.geometry.spacing_mm
        found = []
        for k in range(volume.geometry.shape[2]):
            one = Dataset()
            one.SOPClassUID = {"MR": MRImageStorage, "CT": CTImageStorage}.get(modality, PositronEmissionTomographyImageStorage)
            one.SOPInstanceUID, one.SeriesInstanceUID, one.StudyInstanceUID = generate_uid(), series, study
            one.FrameOfReferenceUID, one.Modality, one.PatientID, one.InstanceNumber = frame, modality, "SECRET", k + 1
            one.ImagePositionPatient = [f"{x:.6f}" for x in volume.geometry.index_to_world(np.array([[0.0, 0.0, k]]))[0]]
            one.ImageOrientationPatient = [f"{x:.10f}" for x in (*axes[:, 0], *axes[:, 1])]
            one.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
            one.Columns, one.Rows = volume.geometry.shape[:2]
            one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
            one.BitsAllocated = one.BitsStored = volume.array.dtype.itemsize * 8
            one.HighBit, one.PixelRepresentation = one.BitsStored - 1, int(volume.array.dtype.kind == "i")
            one.PixelData = np.ascontiguousarray(volume.array[:, :, k].T).tobytes()
            one["PixelData"].VR = "OW"
            found.append(one)
        return found

    return make


@pytest.fixture(scope="session")
def save_slices() -> Callable[..., Path]:
    """``save_slices(objects, folder)`` is the folder after writing the objects into it, in explicit VR little endian."""

    def save(objects: list[Dataset], folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        start = len(list(folder.iterdir()))
        for n, one in enumerate(objects):
            one.file_meta = FileMetaDataset()
            one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            one.file_meta.MediaStorageSOPClassUID = one.get("SOPClassUID", "1.2")
            one.file_meta.MediaStorageSOPInstanceUID = one.get("SOPInstanceUID") or "1.2.3"
            one.save_as(folder / f"image{start + n}", enforce_file_format=True)
        return folder

    return save


def _graph_file(inputs: dict[str, int], output: str, weights: np.ndarray, bias: np.ndarray, dims: int = 3) -> bytes:
    """An ONNX graph: the inputs side by side through one 1³ convolution."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Concat", list(inputs), ["all"], axis=1),
        helper.make_node("Conv", ["all", "weights", "bias"], [output]),
    ]
    stored = [
        numpy_helper.from_array(weights.astype(np.float32).reshape(*weights.shape, *dims * [1]), "weights"),
        numpy_helper.from_array(bias.astype(np.float32), "bias"),
    ]
    takes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, *"ijk"[:dims]])
        for name, channels in inputs.items()
    ]
    gives = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, len(bias), *"ijk"[:dims]])]
    graph = helper.make_graph(nodes, "graph", takes, gives, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Path]:
    """``make_model(folder, shift=(1, 0, 0), levels=(0.3, 0.7), **card)`` writes a small model and gives the path of its card.

    Its field is ``shift`` voxels everywhere; its labels are the image's grey values (0 … 1) above each of ``levels``.
    card: keys that are to be otherwise; ``grid`` as its own keys. Without ``levels`` it does not segment.
    """
    import dataclasses
    import hashlib

    from jrscli.runtime.card import USE, Card, Golden, Graph, Grid, Input, Output, Statistics, Window
    from jrscli.runtime.golden import golden_run
    from jrscli.runtime.session import Session
    from jrscli.runtime.store import read_model

    def make(
        folder: Path,
        name: str = "tiny",
        *,
        shift: tuple[float, float, float] = (1.0, 0.0, 0.0),
        levels: tuple[float, ...] = (0.3, 0.7),
        spec: Input = Input(window=Window(percentiles=(0, 100))),
        grid: Grid = Grid(multiple=(4, 4, 4)),
        **card: object,
    ) -> Path:
        steep = 40.0 * np.arange(len(levels) + 1)
        field, pair = np.array(shift[: grid.dims]), {"fixed": 1, "moving": 1}
        built = {"register": _graph_file(pair, "displacement", np.zeros((grid.dims, 2)), field, grid.dims)}
        if levels:
            below = -40.0 * np.cumsum([0.0, *levels])
            built["segment"] = _graph_file({"image": 1}, "logits", steep[:, None], below, grid.dims)
        roles = {
            "register": ({"fixed": spec, "moving": spec}, {"displacement": Output("voxels", grid.dims)}),
            "segment": ({"image": spec}, {"logits": Output("logits", len(levels) + 1)}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        graphs = {}
        for graph, data in built.items():
            (folder / f"{name}-{graph}.onnx").write_bytes(data)
            graphs[graph] = Graph(f"{name}-{graph}.onnx", hashlib.sha256(data).hexdigest(), *roles[graph])
        shape = grid.size if grid.is_static and grid.size else (8, 12, 8 if grid.dims == 3 else 1)
        nothing = {graph: dict.fromkeys(roles[graph][1], Statistics(0, 0, 0, 0)) for graph in graphs}
        labels = ("background", *(f"level-{n}" for n in range(1, len(levels) + 1))) if levels else ()
        settings = {"labels": labels, "golden": Golden(7, shape, nothing), "version": "1.0", "licence": "MIT", **card}
        made = Card(name=name, method="test", grid=grid, graphs=graphs, use=USE, **settings)  # type: ignore[arg-type]
        path = folder / f"{name}.yaml"
        made.write(path)
        if "golden" not in card:
            model = read_model(path)
            expected = {graph: golden_run(Session(model, graph, "cpu", 1)) for graph in graphs}
            dataclasses.replace(made, golden=Golden(7, shape, expected)).write(path)
        return path

    return make


@dataclass(frozen=True)
class Archive:
    """A running Orthanc: its ports on 127.0.0.1."""

    dicom_port: int
    http_port: int

    def get(self, path: str) -> bytes:
        """What its REST interface answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=10) as answer:
            return answer.read()

    def post(self, path: str, content: bytes) -> bytes:
        """What its REST interface answers to something new."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", data=content)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def instances(self) -> list[str]:
        """Its names of all that it holds."""
        return json.loads(self.get("/instances"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(tool: Path, folder: Path, modalities: dict[str, tuple[str, int]]) -> tuple[subprocess.Popen[bytes], Archive]:
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
        # the DICOM port takes no address to listen on, so only this machine, under these names, is let in
        "DicomAlwaysAllowStore": False,
        "DicomCheckModalityHost": True,
        "DicomModalities": {name: [title, "127.0.0.1", port] for name, (title, port) in modalities.items()},
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


@pytest.fixture(scope="session")
def start_orthanc(requires_tool: Callable[[str], Path]) -> Callable[..., AbstractContextManager[Archive]]:
    """``with start_orthanc(folder, name=(AE title, port)) as archive:`` is an empty Orthanc that knows these modalities."""

    @contextmanager
    def start(folder: Path, **modalities: tuple[str, int]) -> Iterator[Archive]:
        tool = requires_tool("Orthanc")
        for attempt in range(3):  # another program may take a free port before Orthanc does
            try:
                process, running = _start(tool, folder, modalities)
                break
            except RuntimeError:
                if attempt == 2:
                    raise
        try:
            yield running
        finally:
            process.terminate()
            process.wait(timeout=30)

    return start
