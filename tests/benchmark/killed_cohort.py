"""Is a cohort that was killed three times the same, file by file, as one that was not?

    python tests/benchmark/killed_cohort.py DATA -o runs --acdc 60 --hippocampus 20

DATA holds `acdc` (end-diastole is moved onto end-systole of the same heart, `--preset fast`) and `hippocampus` (each image onto
the one before, by the model hippocampus-jrs without refinement). All pairs are one cohort, `--deterministic`, which runs once
unbroken and once killed by SIGKILL at random moments and started again. Printed: what had been done at each kill; whether a
finished case was done again; what half-written is left; which files differ, `timing` left out. Exit code 1 where there is any
of that.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

_FROM_RUN_TO_RUN = (".lock", "batch.html", "cases.csv")  # the page shows seconds, the table has them


def say(words: str) -> None:
    """Print a line at once."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def hearts(data: Path, count: int) -> list[dict[str, str]]:
    """End-diastole onto end-systole of one heart."""
    folders = sorted((data / "acdc").iterdir())[:count] if count else []
    return [
        {
            "case": one.name,
            "fixed": str(one / f"{one.name}_ES.nii.gz"),
            "moving": str(one / f"{one.name}_ED.nii.gz"),
            "model": "none",
            "preset": "fast",
        }
        for one in folders
    ]


def hippocampi(data: Path, count: int) -> list[dict[str, str]]:
    """Pairs of different people, one after the other."""
    images = sorted((data / "hippocampus" / "images").glob("*.nii.gz"))[: count + 1] if count else []
    return [
        {"case": f"pair{n:03d}", "fixed": str(fixed), "moving": str(moving), "model": "hippocampus-jrs", "refine": "0"}
        for n, (fixed, moving) in enumerate(itertools.pairwise(images))
    ]


def listed(cases: list[dict[str, str]], path: Path) -> Path:
    """The cases as a list that `jrs batch` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for case in cases for key in case)), restval="")
        writer.writeheader()
        writer.writerows(cases)
    return path


def start(cases: Path, out: Path) -> subprocess.Popen[bytes]:
    """The cohort in a process of its own."""
    words = ["batch", "register", str(cases), "-o", str(out), "--deterministic", "--no-report", "--quiet"]
    return subprocess.Popen([sys.executable, "-m", "jrscli", *words], stdout=subprocess.DEVNULL)


def whole(cases: Path, out: Path) -> float:
    """Run the cohort to its end; seconds. A linear stage that reports failure (exit code 3) is a result like others."""
    began = time.perf_counter()
    code = start(cases, out).wait()
    if code not in (0, 3):
        raise SystemExit(f"jrs batch ended with exit code {code}")
    return time.perf_counter() - began


def lasting(out: Path) -> dict[str, bytes]:
    """Everything below the folder but what differs from run to run."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name not in _FROM_RUN_TO_RUN:
            found[name] = _without_timing(path)
    return found


def _without_timing(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name == "run.json":
        return json.dumps({k: v for k, v in json.loads(content).items() if k != "timing"}).encode()
    if path.name == "batch.jsonl":
        lines = [{k: v for k, v in json.loads(line).items() if k != "timing"} for line in content.splitlines()]
        return json.dumps(lines).encode()
    return content


def stamps(out: Path) -> dict[Path, int]:
    """When each finished case was finished."""
    return {path: path.stat().st_mtime_ns for path in out.glob("*/run.json")}


def main() -> int:
    """Both runs and their comparison; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with acdc/ and hippocampus/")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for both runs")
    parser.add_argument("--acdc", type=int, default=60, help="hearts")
    parser.add_argument("--hippocampus", type=int, default=20, help="pairs of hippocampi")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=9, help="of the moments of the kills")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given.output.mkdir(parents=True, exist_ok=True)
    cases = [*hearts(given.data, given.acdc), *hippocampi(given.data, given.hippocampus)]
    path = listed(cases, given.output / "cases.csv")
    seconds = whole(path, given.output / "whole")
    say(f"{len(cases)} cases, unbroken: {seconds:.0f} s")

    out, dice, done, again = given.output / "broken", random.Random(given.seed), dict[Path, int](), set[Path]()
    for _ in range(given.kills):
        process = start(path, out)
        wait = dice.uniform(0.3, 1.2) * seconds / (given.kills + 1)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        time.sleep(2)  # its worker ends with it
        now = stamps(out)
        again |= {one for one, stamp in done.items() if now.get(one) != stamp}
        done = now
        say(f"killed after {wait:.0f} s: {len(done)} done, {len(list(out.glob('.*.partial')))} half-written")
    say(f"the rest: {whole(path, out):.0f} s")
    now = stamps(out)
    again |= {one for one, stamp in done.items() if now.get(one) != stamp}
    partial = [*out.rglob("*.partial"), *out.glob(".inputs")]
    one, other = lasting(given.output / "whole"), lasting(out)
    differ = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    say(f"finished cases done again: {len(again)}; half-written left: {len(partial)}")
    say(f"{len(one)} files compared, different: {len(differ)}" + "".join(f"\n  {name}" for name in differ))
    return int(bool(again or partial or differ))


if __name__ == "__main__":
    sys.exit(main())
