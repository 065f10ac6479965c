"""Break good files in many ways and see what the readers make of them.

    python tests/fuzz --files 10000            # the number of files, of crashes, hangs, and so on, is the last line
    python tests/fuzz --only 1234 --keep DIR   # one file again, and a copy of it

Every file follows from --seed and its number, so each finding can be had again. A file is read in a process of its own kind: a
crash, more than 5 s of processor time (or 60 s of waiting: the machine may be busy), more than 2 GB of memory, or an error that
is not one of ours, is a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

SECONDS = 5.0
WAITING_SECONDS = 60.0
MEMORY_BYTES = 2_000_000_000
KINDS = {"crash": "crashes", "hang": "hangs beyond 5 s", "memory": "above 2 GB", "error": "foreign errors"}


def main() -> int:
    """0 where nothing was found, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000, help="how many files to break")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this one file")
    parser.add_argument("--kind", default="", help="only files of this kind (series, dicom, rtstruct, nifti, itk, transform …)")
    parser.add_argument("--keep", default="", help="where to keep all the files")
    parser.add_argument("--memory", type=int, default=MEMORY_BYTES, help="bytes above which a reader takes too much")
    options = parser.parse_args()
    numbers = [options.only] if options.only is not None else range(options.files)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        worker = Worker([str(options.seed), options.kind, options.keep, scratch], options.memory)
        found, outcomes, slowest = run(numbers, worker, start + options.seconds)
    for kind, number, what in found:
        say(f"{kind} in file {number} (--seed {options.seed} --only {number}): {what}")
    say("outcomes: " + ", ".join(f"{code} {count}" for code, count in outcomes.most_common()))
    counts = Counter(kind for kind, _, _ in found)
    total = sum(outcomes.values()) + len(found)
    words = ", ".join(f"{counts[kind]} {words}" for kind, words in KINDS.items())
    worst = f"slowest {slowest[0]:.1f} s: file {slowest[1]}; most memory {worker.peak[0] / 1e9:.1f} GB: file {worker.peak[1]}"
    say(f"{total} files in {time.monotonic() - start:.0f} s ({worst}): {words}")
    return int(bool(found))


def run(
    numbers: Iterable[int], worker: Worker, until: float
) -> tuple[list[tuple[str, int, str]], Counter[str], tuple[float, int]]:
    """Findings (kind, number, words), how often each outcome came, and the longest time with its file."""
    found: list[tuple[str, int, str]] = []
    outcomes: Counter[str] = Counter()
    slowest = (0.0, 0)
    for number in numbers:
        if time.monotonic() > until:
            break
        kind, what, seconds = worker.read(number)
        slowest = max(slowest, (seconds, number))
        if kind == "fine":
            outcomes[what] += 1
        else:
            found.append((kind, number, what))
    worker.stop()
    return found, outcomes, slowest


class Worker:
    """The process that reads; a new one after each finding that it did not survive."""

    def __init__(self, words: list[str], most: int) -> None:
        self.words = words
        self.most = most
        self.process: subprocess.Popen[str] | None = None
        self.peak = (0, 0)

    def read(self, number: int) -> tuple[str, str, float]:
        """What became of a file: (kind, words, seconds)."""
        process = self.process or self._start()
        start = time.monotonic()
        assert process.stdin is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        before = processor_seconds(process.pid)
        while not self.selector.select(0.02):
            waited, seconds = time.monotonic() - start, processor_seconds(process.pid) - before
            held = memory_bytes(process.pid)
            if held > self.most or seconds > SECONDS or waited > WAITING_SECONDS:
                self.stop()
                return ("memory", f"{held / 1e9:.1f} GB", seconds) if held > self.most else ("hang", "", seconds)
        answer = process.stdout.readline() if process.stdout else ""
        if not answer:
            code = process.wait()
            self.stop()
            return "crash", f"the process ended with {code}", time.monotonic() - start
        kind, what, peak, seconds = json.loads(answer)
        self.peak = max(self.peak, (peak, number))
        return ("memory", f"{peak / 1e9:.1f} GB", seconds) if peak > self.most else (kind, what, seconds)

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(Path(__file__).with_name("serve.py")), *self.words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the reading process did not start")
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        return self.process


def memory_bytes(process: int) -> int:
    """Memory that a process holds now; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))
    except (OSError, ValueError, StopIteration):
        return 0


def processor_seconds(process: int) -> float:
    """Time that a process has computed for; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def say(words: str) -> None:
    """A line on stdout."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
