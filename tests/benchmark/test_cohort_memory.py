"""Does `jrs batch` grow with the number of its cases? The memory of the runner and of its worker along 200 small cases.

    pytest tests/benchmark/test_cohort_memory.py -m benchmark -s

JRS_CASES: how many cases (200).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jrscli.io import write_image
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory and children are read from /proc"),
]
GROWTH = 0.10


def mib_of(process: int) -> float:
    """What of the process lies in memory; 0 where it is gone."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def children_of(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.parametrize("task", ["segment", "register"])
def test_memory_stays_flat(task: str, make_model: Callable[..., Path], tmp_path: Path) -> None:
    count = int(os.environ.get("JRS_CASES", "200"))
    make_model(tmp_path / "models", "tiny", shift=(0.0, 0.0, 0.0))
    grid = Geometry((20, 24, 16), np.diag((2.0, 2.0, 2.0, 1.0)))
    rows = ["case,image" if task == "segment" else "case,fixed,moving"]
    for number in range(count):
        image = np.random.default_rng(number).normal(size=grid.shape) * 50 + 500
        path = tmp_path / f"in/{number}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        write_image(Volume(image.astype(np.int16), grid), path)
        rows.append(",".join([f"c{number}", *[f"in/{number}.nii.gz"] * (1 if task == "segment" else 2)]))
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    words = [sys.executable, "-m", "jrscli", "batch", task, "cases.csv", "-o", "out", "--model", "tiny", "--no-report", "-q"]
    words += ["--refine", "0"] if task == "register" else []
    found: dict[int, tuple[float, float]] = {}
    settings = {**os.environ, "JRS_MODELS": str(tmp_path / "models"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(words, cwd=tmp_path, env=settings, stdout=subprocess.DEVNULL) as runner:
        log = tmp_path / "out" / "batch.jsonl"
        while runner.poll() is None:
            done = log.read_bytes().count(b"\n") if log.exists() else 0
            for mark in (20, 50, 100, 200):
                if done >= mark and mark not in found:
                    found[mark] = (mib_of(runner.pid), sum(mib_of(one) for one in children_of(runner.pid)))
            time.sleep(0.05)
    assert runner.returncode == 0
    shown = "; ".join(f"case {mark}: {one:.0f} and {other:.0f} MiB" for mark, (one, other) in found.items())
    sys.stderr.write(f"\n{task}, {count} cases, runner and worker at {shown}\n")
    first, last = found[min(found)], found[max(found)]
    for name, before, after in zip(("runner", "worker"), first, last, strict=True):
        assert abs(after - before) <= GROWTH * before, f"the {name} changed from {before:.0f} to {after:.0f} MiB"
