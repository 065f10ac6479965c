"""Wall time and peak memory on a pair of brain size, other tools in the same run.

    python tests/benchmark/brain_size.py DATA -o runs --rounds 3 --python PYTHON_WITH_ANTSPYX_AND_ITK_ELASTIX

DATA holds brats/*/*_flair.nii.gz. Two people's FLAIR images are resampled to 192 × 160 × 192 voxels; every method runs as a
child process, all in turn and again for every round, on as many threads as ``--threads`` says. peers.py holds the settings.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from jrscli.io import read_image, write_image
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample_smoothed

SHAPE = (192, 160, 192)


def prepare(data: Path, out: Path) -> tuple[Path, Path]:
    """Write the FLAIR images of the first two people on grids of `SHAPE` over their own fields."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number, source in enumerate(sorted(data.glob("brats/*/*_flair.nii.gz"))[:2]):
        volume = read_image(source).volume
        old = volume.geometry
        affine = old.affine.copy()
        affine[:3, :3] = old.axes * ((np.array(old.shape) - 1) * old.spacing_mm / (np.array(SHAPE) - 1))
        path = out / f"image{number}.nii.gz"
        write_image(resample_smoothed(volume, Geometry(SHAPE, affine)), path)
        written.append(path)
    return written[0], written[1]


def measure(command: list[str], threads: int, log: Path) -> tuple[int, float, float, float]:
    """Exit code, seconds, processor seconds and peak memory (MB) of a child process."""
    count = str(threads)
    environment = {**os.environ, "OMP_NUM_THREADS": count, "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": count}
    began = time.perf_counter()
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the other tools")
    parser.add_argument("--method", action="append", help="jrs with options, or a name of peers.py")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    methods = given.method or ["jrs --model none", "ants_syn", "elastix"]
    fixed, moving = prepare(given.data, given.out)
    found: dict[str, list[tuple[int, float, float, float]]] = {method: [] for method in methods}
    for number in range(given.rounds):
        for method in methods:
            field = given.out / f"field-{method.split()[0]}.nii.gz"
            if method.startswith("jrs"):
                words = ["register", str(fixed), str(moving), *method.split()[1:], "--threads", str(given.threads)]
                results = ["-o", str(given.out / "jrs"), "--exist", "overwrite", "--write-field", str(field), "-q"]
                command = [sys.executable, "-m", "jrscli", *words, *results]
            else:
                peers = str(Path(__file__).with_name("peers.py"))
                command = [given.python, peers, method, str(fixed), str(moving), str(field), "affine"]
            found[method].append(measure(command, given.threads, given.out / f"log-{method.split()[0]}-{number}.txt"))
    (given.out / "brain-size.json").write_text(json.dumps(found, indent=1))
    lines = [f"\n{' × '.join(map(str, SHAPE))}, {given.threads} thread(s), {given.rounds} round(s), medians\n"]
    lines += ["| method | exit code | wall s | cpu s | peak MB |", "|---|---|---|---|---|"]
    for method, rows in found.items():
        code, *middle = np.median(np.array(rows), axis=0)
        lines.append(f"| {method} | {code:.0f} | {middle[0]:.1f} | {middle[1]:.1f} | {middle[2]:.0f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
