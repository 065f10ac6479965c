"""The process that reads broken files: a number in, one line of JSON out."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import sys
import time
import traceback
from pathlib import Path

import SimpleITK as sitk
from corpus import Case, build
from mutate import broken
from targets import use

from jrscli.errors import JrsError


def serve(seed: int, kind: str, keep: str, scratch: Path) -> None:
    """Answer until the other side is gone."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    cases = [case for case in build(write({}, scratch / "good")) if kind in ("", case.kind)]
    use(cases[0].kind, write(cases[0].files, scratch / "file") / cases[0].open_as)  # what is imported late is imported now
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        number = int(line)
        case, files = make(cases, seed, number)
        folder = write(files, scratch / "file")
        if keep:
            write(files, Path(keep) / f"{number}-{case.kind}")
        if status_bytes("self", "VmRSS") > 700_000_000:
            gc.collect()  # what the last file left is not held against this one
        forget_peak()
        start = time.process_time()
        answer = judge(case, folder)
        print(json.dumps((*answer, status_bytes("self", "VmHWM"), time.process_time() - start)), file=answers, flush=True)


def make(cases: list[Case], seed: int, number: int) -> tuple[Case, dict[str, bytes]]:
    """The files of a number: the first ones are the good ones themselves, the others follow from seed and number."""
    if number < len(cases):
        return cases[number], dict(cases[number].files)
    rng = random.Random(f"{seed}:{number}")
    case = rng.choice(cases)
    files = dict(case.files)
    name = rng.choice(sorted(files))
    files[name] = broken(files[name], name, rng)
    return case, files


def judge(case: Case, folder: Path) -> tuple[str, str]:
    """("fine", the outcome), or ("error", where an error that is not ours came from)."""
    try:
        return "fine", use(case.kind, folder / case.open_as)
    except JrsError as error:
        return "fine", error.code
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "jrscli" in frame.filename]
        last = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
        return "error", f"{case.name}: {type(error).__name__}: {str(error)[:150]} ({' > '.join(places[-3:])} > {last})"


def write(files: dict[str, bytes], folder: Path) -> Path:
    """Write files into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def forget_peak() -> None:
    """Count the peak of memory anew (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def status_bytes(process: int | str, key: str) -> int:
    """A figure of a process that the system keeps; 0 where it does not."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
    except (OSError, ValueError, StopIteration):
        return 0


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
