"""Cohorts on real data: the time against a shell loop, and what is left after kills.

    JRS_DATA=… pytest tests/benchmark/test_cohort.py -m benchmark -s

JRS_CASES: how many cases (40 by default for the times of a network, 12 for those of two jobs, 8 for the kills; the full figure
of these: killed_cohort.py).
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
TIMES = 3.0
JRS = [sys.executable, "-m", "jrscli"]
NETWORK = ["--model", "hippocampus-jrs", "--refine", "0", "--no-report"]


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("JRS_DATA")
    if not folder:
        pytest.skip("JRS_DATA is not set")
    return Path(folder)


def hippocampus(data: Path, count: int) -> list[dict[str, str]]:
    """Pairs of different people, one after the other."""
    images = sorted((data / "hippocampus" / "images").glob("*.nii.gz"))[: count + 1]
    return [
        {"case": f"pair{n:03d}", "fixed": str(fixed), "moving": str(moving)}
        for n, (fixed, moving) in enumerate(itertools.pairwise(images))
    ]


def acdc(data: Path, count: int) -> list[dict[str, str]]:
    """End-diastole onto end-systole of one heart."""
    folders = sorted((data / "acdc").iterdir())[:count]
    return [
        {"case": one.name, "fixed": str(one / f"{one.name}_ES.nii.gz"), "moving": str(one / f"{one.name}_ED.nii.gz")}
        for one in folders
    ]


def listed(cases: list[dict[str, str]], path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(cases[0]))
        writer.writeheader()
        writer.writerows(cases)
    return path


def say(words: str) -> None:
    sys.stderr.write(f"\n{words}\n")


def run(*words: str | Path) -> np.ndarray:
    """Seconds on the clock and of processors, grandchildren included."""

    def now() -> np.ndarray:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return np.array([time.perf_counter(), used.ru_utime + used.ru_stime])

    began = now()
    done = subprocess.run([*JRS, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    return now() - began


@pytest.mark.parametrize("task", ["segment", "register"])
def test_a_network_cohort_against_a_shell_loop(data: Path, tmp_path: Path, task: str) -> None:
    """Judged by the clock, as a night is; processor time stands beside it, which others on the machine change least.

    A registration draws two rows of pictures and inverts its field, which no warm model makes quicker: there it counts that
    the next case is at its network meanwhile.
    """
    cases = hippocampus(data, int(os.environ.get("JRS_CASES", "40")))
    words = [word for word in NETWORK if task == "register" or word not in ("--refine", "0")]
    if task == "segment":
        cases = [{"case": case["case"], "image": case["fixed"]} for case in cases]
    loop = sum(run(task, *list(case.values())[1:], "-o", tmp_path / "loop" / case["case"], *words) for case in cases)
    batch = run("batch", task, listed(cases, tmp_path / "cases.csv"), "-o", tmp_path / "batch", *words)
    say(
        f"{task}, {len(cases)} cases: shell loop {loop[0]:.1f} s, jrs batch {batch[0]:.1f} s: {loop[0] / batch[0]:.2f} times; "
        f"of processors {loop[1]:.1f} s and {batch[1]:.1f} s: {loop[1] / batch[1]:.2f} times"
    )
    for case in cases:
        one, other = (json.loads((tmp_path / kind / case["case"] / "run.json").read_text()) for kind in ("loop", "batch"))
        assert one["fingerprint"] == other["fingerprint"]
    assert loop[0] >= TIMES * batch[0]


def test_two_jobs_are_no_slower_than_two_shell_loops(data: Path, tmp_path: Path) -> None:
    cases = acdc(data, int(os.environ.get("JRS_CASES", "12")))
    words = ["--model", "none", "--linear-only", "--no-report"]
    began = time.perf_counter()
    script = 'for pair in "$@"; do set -- $pair; "$PY" -m jrscli register $1 $2 -o $3 $WORDS || [ $? = 3 ] || exit 1; done'
    settings = {**os.environ, "PY": sys.executable, "WORDS": " ".join([*words, "--threads", "1"])}
    loops = []
    for half in (cases[::2], cases[1::2]):
        pairs = [f"{case['fixed']} {case['moving']} {tmp_path / 'loop' / case['case']}" for case in half]
        loops.append(subprocess.Popen(["sh", "-c", script, "sh", *pairs], env=settings, stdout=-3, stderr=-3))
    assert [one.wait() for one in loops] == [0, 0]
    loop = time.perf_counter() - began
    batch, _ = run(
        "batch", "register", listed(cases, tmp_path / "c.csv"), "-o", tmp_path / "b", *words, "--jobs", "2", "--threads", "1"
    )
    say(f"{len(cases)} hearts: two shell loops {loop:.1f} s, jrs batch --jobs 2 {batch:.1f} s: {loop / batch:.2f} times")
    assert batch <= loop


def test_killed_three_times_a_cohort_ends_as_if_unbroken(data: Path, tmp_path: Path) -> None:
    count = os.environ.get("JRS_CASES", "8")
    command = [sys.executable, str(Path(__file__).with_name("killed_cohort.py")), str(data), "-o", str(tmp_path)]
    done = subprocess.run([*command, "--acdc", "4", "--hippocampus", count], stdout=subprocess.PIPE, text=True, check=False)
    say(done.stdout)
    assert done.returncode == 0
