"""A ring drawn in every way that systems write one, on series along each axis of the patient: right, or told by its code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jrscli.io import read_labels
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.io.series_header import SeriesHeader
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.volume import Volume

OUTER, INNER = 21.0, 10.5
# axes of rows, columns and slices; spacing; number of slices; slices that hold contours
SERIES = {
    "axial": (np.eye(3), (0.9, 0.9, 2.0), 14, range(2, 12)),
    "sagittal": (np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]]), (1.1, 0.8, 3.0), 11, range(1, 9)),
    "coronal": (np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), (0.7, 0.7, 1.5), 16, range(3, 15)),
}


@dataclass(frozen=True)
class Study:
    folder: Path
    header: SeriesHeader
    grid: Geometry
    drawn: range


@pytest.fixture(scope="module", params=list(SERIES))
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    axes, spacing, count, drawn = SERIES[request.param]
    shape = (64, 72, count)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2) + (13.7, -20.2, 55.1)
    grid = Geometry(shape, affine)
    folder = tmp_path_factory.mktemp(request.param)
    header = write_series(Volume(np.zeros(shape, np.int16), grid), folder, modality="MR", seed=request.param)
    return Study(folder, header, grid, drawn)


def circle(grid: Geometry, radius: float, k: float, backwards: bool = False) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False) * (-1 if backwards else 1)
    # elsewhere between the pixel centres on each slice, as nothing real repeats them
    centre = (np.array(grid.shape[:2]) - 1) / 2 + (0.37 * k % 1, 0.61 * k % 1)
    flat = centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1) / grid.spacing_mm[:2]
    return grid.index_to_world(np.column_stack([flat, np.full(len(angle), float(k))]))


def ring(study: Study, way: str) -> tuple[Contour, ...]:
    contours = []
    for k in study.drawn:
        outer, inner = circle(study.grid, OUTER, k), circle(study.grid, INNER, k, backwards=True)
        if way == "keyhole":
            contours.append(Contour(np.concatenate([outer, outer[:1], inner, inner[:1]])))
        elif way in ("nested", "xor"):
            kind = "CLOSEDPLANAR_XOR" if way == "xor" else "CLOSED_PLANAR"
            contours += [Contour(outer, kind), Contour(inner, kind)]  # type: ignore[arg-type]
        elif way == "offplane":
            contours.append(Contour(circle(study.grid, OUTER, k) + 0.45 * study.grid.affine[:3, 2]))
        elif way == "solid" or (k - study.drawn[0]) % 2 == 0:
            contours.append(Contour(outer))
    return tuple(contours)


@pytest.mark.parametrize("way", ["keyhole", "nested", "xor", "solid", "offplane", "skip"])
def test_each_way_of_drawing_a_ring(way: str, study: Study, jrs: Callable, tmp_path: Path) -> None:
    write_rtstruct(StructureSet((Roi(1, "RING", ring(study, way)),)), study.header, study.grid, tmp_path / "rs.dcm")
    said = jrs("convert", "contours", tmp_path / "rs.dcm", "--reference", study.folder, "--to", tmp_path / "a.nii.gz", "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    told = {notice["code"]: notice["message"] for notice in document["notices"] if notice["code"].startswith("rs.")}
    mask = read_labels(tmp_path / "a.nii.gz").mask(1)
    hole = INNER if way in ("keyhole", "nested", "xor") else 0.0
    planes = sum(1 for k in study.drawn if way != "skip" or (k - study.drawn[0]) % 2 == 0)
    assert int(mask.any(axis=(0, 1)).sum()) == planes
    expected = np.pi * (OUTER**2 - hole**2) * planes * study.grid.spacing_mm[2]
    assert mask.sum() * study.grid.voxel_volume_mm3 == pytest.approx(expected, rel=0.006)
    (roi,) = document["rois"]
    assert roi["voxels"] == mask.sum()
    assert roi["contour_cc"] * 1000 == pytest.approx(expected, rel=0.002)
    assert set(roi["codes"]) == set(told)
    assert set(told) == {"offplane": {"rs.offplane"}, "skip": {"rs.gap"}}.get(way, set())
    if way == "offplane":
        assert f"{0.45 * study.grid.spacing_mm[2]:.2f} mm" in told["rs.offplane"]
    if way == "skip":
        assert f"{planes - 1} slice" in told["rs.gap"]
