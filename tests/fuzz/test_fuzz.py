"""A short run of the fuzzer; the long one is the command in its help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def run(*words: str) -> tuple[int, list[str]]:
    """The exit code and the lines of the fuzzer's report."""
    done = subprocess.run([sys.executable, FOLDER, *words], capture_output=True, text=True, timeout=3000, check=False)
    assert done.stdout, done.stderr[-2000:]
    return done.returncode, done.stdout.splitlines()


def test_broken_files_are_refused_in_our_own_words() -> None:
    """Every kind of file: the good ones first, then some of each kind."""
    code, lines = run("--files", "200")
    assert code == 0, "\n".join(lines)
    assert lines[-1].endswith("0 crashes, 0 hangs beyond 5 s, 0 above 2 GB, 0 foreign errors")
    assert lines[-1].startswith("200 files")


@pytest.mark.benchmark
def test_ten_thousand_broken_files() -> None:
    code, lines = run("--files", "10000", "--seed", "1")
    assert code == 0, "\n".join(lines)
    assert lines[-1].startswith("10000 files")


@pytest.mark.slow
def test_the_fuzzer_sees_what_it_looks_for(tmp_path: Path) -> None:
    """A reader that crashes, one that hangs, one that eats memory, one with an error of another kind."""
    for path in FOLDER.glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "targets.py").write_text(
        "import os\n"
        "count = -1\n"
        "def use(kind, path):\n"
        "    globals()['count'] = count + 1\n"
        "    if count == 0: return 'read'\n"  # the first call is the warming up
        "    if kind == 'points' and 'csv' in str(path): os.abort()\n"
        "    if kind == 'labels' and 'seg' in str(path):\n"
        "        while True: pass\n"
        "    if kind == 'rtstruct': return len(bytearray(b'x') * 700_000_000)\n"
        "    if kind == 'zip': raise ZeroDivisionError\n"
        "    return 'read'\n"
    )
    found = {}
    for kind in ("points", "labels", "rtstruct", "zip"):
        words = [sys.executable, tmp_path, "--files", "1", "--kind", kind]
        words += ["--memory", "500000000"]  # the real limit takes some machines longer to fill than a hang is long
        done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
        assert done.stdout, done.stderr[-1000:]
        found[kind] = (done.returncode, done.stdout.split()[0])
    assert found == {"points": (1, "crash"), "labels": (1, "hang"), "rtstruct": (1, "memory"), "zip": (1, "error")}
