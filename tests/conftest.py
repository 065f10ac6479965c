"""What all tests share: small grids in every orientation, images on them; and what `fixtures` holds: outside tools, models."""

from __future__ import annotations

import os
from collections.abc import Callable
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

pytest_plugins = ["outside_tools", "small_models"]

# Where tests run side by side, each takes one core: read by torch and ITK when they are first imported, and by subprocesses.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

# Examples on shared machines have no steady pace, so no deadline; with CI set, the same examples on every run.
settings.register_profile("jrs", deadline=None, max_examples=40, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("jrs")


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
