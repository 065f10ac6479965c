"""Time and peak memory of ``jrs register`` and ``jrs propagate-contours`` on a CT pair of 512×512×160 voxels made in code.

    pytest -m benchmark tests/benchmark/test_large_ct.py -s

The pair is the demo's pelvis phantom on a clinical grid (0.742 × 0.742 × 2 mm) and its simulated day. For the contours both are
DICOM series, with an RTSTRUCT of 20 ROIs: the phantom's six and fourteen ellipsoids.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from jrscli.io import write_image
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.spatial.contouring import contours_from_levels
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.volume import Volume
from jrscli.workflows.phantom import Study, pelvis_study
from jrscli.workflows.simulate import deform_study

pytestmark = pytest.mark.benchmark
SHAPE, SPACING_MM = (512, 512, 160), (0.742, 0.742, 2.0)
LIMIT_GB = 4.0
ROIS = 20


@pytest.fixture(scope="module")
def study() -> tuple[Study, Volume]:
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = -(np.array(SHAPE) - 1) * SPACING_MM / 2
    geometry = Geometry(SHAPE, affine)
    planned = pelvis_study(geometry=geometry)
    return planned, deform_study(planned.planning, StructureSet(()), seed=1, geometry=geometry).daily


@pytest.fixture(scope="module")
def pair(study: tuple[Study, Volume], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("large")
    planned, daily = study
    write_image(planned.planning, folder / "planning.nii.gz")
    write_image(daily, folder / "daily.nii.gz")
    return folder / "daily.nii.gz", folder / "planning.nii.gz"


@pytest.fixture(scope="module")
def clinic(study: tuple[Study, Volume], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """PLANNING, CONTOURS and DAILY as a clinic has them."""
    folder = tmp_path_factory.mktemp("clinic")
    planned, daily = study
    header = write_series(planned.planning, folder / "planning", seed="planning")
    write_series(daily, folder / "daily", seed="daily", header_from=header)
    rng = np.random.default_rng(0)
    rois = list(planned.structures.rois)
    for number in range(101, 101 + ROIS - len(rois)):
        middle, radii = rng.uniform((-110, -60, -110), (110, 60, 110)), rng.uniform(8, 25, 3)
        rois.append(Roi(number, f"Ellipsoid_{number}", ellipsoid(planned.planning.geometry, middle, radii)))
    structures = StructureSet(tuple(rois))
    write_rtstruct(structures, header, planned.planning.geometry, folder / "RS.dcm", seed="RS")
    return folder / "planning", folder / "RS.dcm", folder / "daily"


def ellipsoid(geometry: Geometry, middle_mm: np.ndarray, radii_mm: np.ndarray) -> tuple[Contour, ...]:
    """The contours of an ellipsoid on the slices of a grid."""
    ends = geometry.world_to_index(np.stack([middle_mm - radii_mm - 4, middle_mm + radii_mm + 4]))
    low, high = (np.clip(np.rint(end).astype(int), 0, geometry.shape) for end in ends)
    box = geometry.cropped_to((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    places = box.index_to_world(np.moveaxis(np.indices(box.shape), 0, -1).reshape(-1, 3))
    levels = 1 - np.linalg.norm((places - middle_mm) / radii_mm, axis=1).reshape(box.shape)
    return contours_from_levels(levels, box, 0.0)


def watch(pid: int, peaks: list[float]) -> None:
    """Note the high-water mark of a process (GB) until it ends. wait4 would count what this process held when it forked."""
    while True:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return
        marks = [line.split()[1] for line in lines if line.startswith("VmHWM")]
        if not marks:
            return
        peaks.append(int(marks[0]) / 1024**2)
        time.sleep(0.1)


def measured(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, float, list[str]]:
    """(exit code, peak memory in GB, stages of the progress lines) of a command; its time is printed."""
    command = [sys.executable, "-m", "jrscli", *words, "--progress", "json"]
    began = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as child:
        assert child.stderr is not None
        peaks: list[float] = []
        watcher = threading.Thread(target=watch, args=(child.pid, peaks))
        watcher.start()
        heard = [(time.perf_counter() - began, line) for line in child.stderr]
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    seconds, peak_gb = time.perf_counter() - began, max(peaks)
    stages = [json.loads(line)["stage"] for _, line in heard if line.startswith("{")]
    silence = max(b - a for (a, _), (b, _) in zip([(0.0, ""), *heard], [*heard, (seconds, "")], strict=True))
    with capsys.disabled():
        sys.stdout.write(
            f"\n{words[0]} {SHAPE}: {seconds:.0f} s wall, {usage.ru_utime + usage.ru_stime:.0f} s cpu, {peak_gb:.2f} GB peak, "
            f"{len(stages)} progress lines, longest silence {silence:.0f} s\n"
        )
    return child.returncode, peak_gb, stages


def test_large_ct_stays_below_four_gigabytes_and_shows_progress(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, peak_gb, stages = measured(["register", *map(str, pair), "-o", str(tmp_path / "out")], capsys)
    assert code == 0
    assert peak_gb < LIMIT_GB
    assert {"linear", "deformable"} <= set(stages)


def test_twenty_contours_of_a_large_ct(
    clinic: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """RTSTRUCT, report and record, the time of each stage in it."""
    out = tmp_path / "out"
    code, peak_gb, stages = measured(["propagate-contours", *map(str, clinic), "-o", str(out), "--model", "none"], capsys)
    timing = json.loads((out / "run.json").read_text("utf-8"))["timing"]
    with capsys.disabled():
        sys.stdout.write("  ".join(f"{stage} {seconds:.0f} s" for stage, seconds in timing["stages"].items()) + "\n")
    assert code == 0
    assert peak_gb < LIMIT_GB
    assert {"linear", "deformable", "propagate"} <= set(stages)
    assert all((out / name).exists() for name in ("RS_space-fixed_propagated.dcm", "report.html"))
    assert len(json.loads((out / "run.json").read_text("utf-8"))["rois"]) == ROIS
