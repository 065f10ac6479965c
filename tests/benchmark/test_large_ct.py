"""Time and peak memory of ``jrs register`` on a CT pair of 512×512×160 voxels made in code.

    pytest -m benchmark tests/benchmark/test_large_ct.py -s

The pair is the demo's pelvis phantom on a clinical grid (0.742 × 0.742 × 2 mm) and its simulated day.
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
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.structures import StructureSet
from jrscli.workflows.phantom import pelvis_study
from jrscli.workflows.simulate import deform_study

pytestmark = pytest.mark.benchmark
SHAPE, SPACING_MM = (512, 512, 160), (0.742, 0.742, 2.0)
LIMIT_GB = 4.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("large")
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = -(np.array(SHAPE) - 1) * SPACING_MM / 2
    geometry = Geometry(SHAPE, affine)
    planning = pelvis_study(geometry=geometry).planning
    daily = deform_study(planning, StructureSet(()), seed=1, geometry=geometry).daily
    write_image(planning, folder / "planning.nii.gz")
    write_image(daily, folder / "daily.nii.gz")
    return folder / "daily.nii.gz", folder / "planning.nii.gz"


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


def test_large_ct_stays_below_four_gigabytes_and_shows_progress(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "jrscli", "register", *map(str, pair), "-o", str(tmp_path / "out"), "--progress", "json"]
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
            f"\nregister {SHAPE}: {seconds:.0f} s wall, {usage.ru_utime + usage.ru_stime:.0f} s cpu, {peak_gb:.2f} GB peak, "
            f"{len(stages)} progress lines, longest silence {silence:.0f} s\n"
        )
    assert child.returncode == 0
    assert peak_gb < LIMIT_GB
    assert {"linear", "deformable"} <= set(stages)
