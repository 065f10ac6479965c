"""``jrs batch --executor dask`` beside the same cohort on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WORDS = ("--model", "hippocampus-jrs", "--refine", "0", "--no-report", "--deterministic")
HIPPOCAMPUS = Path(__file__).parents[1] / "data" / "hippocampus" / "images"


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of two worker processes, which started in some other folder."""
    distributed = pytest.importorskip("distributed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
        with distributed.LocalCluster(**options) as found:
            yield found.scheduler_address


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A list of three pairs and one file that is none, by paths that start at the folder where the command is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "in").symlink_to(HIPPOCAMPUS)
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")
    one, two, three = (f"in/{path.name}" for path in sorted(HIPPOCAMPUS.glob("*.nii.gz")))
    rows = ["case,fixed,moving", f"a,{one},{two}", f"b,{two},{three}", f"c,{three},{one}", f"d,{three},bad.nii.gz"]
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    return "cases.csv"


def files_of(out: Path) -> dict[str, object]:
    """Everything below the output folder, without what differs from run to run and the order of the log."""
    found: dict[str, object] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_file() or name in (".lock", "batch.html", "cases.csv"):
            continue
        found[name] = path.read_bytes()
        if path.name == "run.json":
            found[name] = {key: value for key, value in json.loads(path.read_text()).items() if key != "timing"}
        if path.name == "batch.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = sorted(json.dumps({**line, "timing": None}) for line in lines)
    return found


def parent_of(process: int) -> int:
    found = re.search(r"^PPid:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="processes are found in /proc")
def test_a_cluster_whose_worker_is_killed_gives_what_this_machine_gives(
    jrs: Callable, cases: str, scheduler: str, tmp_path: Path
) -> None:
    assert jrs("batch", "register", cases, "-o", "local", *WORDS).code == 4
    words = [sys.executable, "-m", "jrscli", "batch", "register", cases, "-o", "dask", *WORDS]
    words += ["--executor", "dask", "--scheduler", scheduler]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        half: list[Path] = []
        while not half and process.poll() is None:
            half = list(tmp_path.glob("dask/.*.partial"))
            time.sleep(0.005)
        writer = int(half[0].name.split("-")[-2])
        os.kill(parent_of(writer), signal.SIGKILL)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 4, said
    assert "lost its process: tried again [worker.lost]" in said
    assert "Traceback" not in said
    assert files_of(tmp_path / "dask") == files_of(tmp_path / "local")
    lines = [json.loads(line) for line in (tmp_path / "dask/batch.jsonl").read_text().splitlines()]
    assert sorted(line["timing"].get("attempts") for line in lines) == [1, 1, 1, 2]
    assert not list(tmp_path.rglob("*.partial"))

    again = jrs("batch", "register", cases, "-o", "dask", *WORDS, "--executor", "dask", "--scheduler", scheduler)
    assert (again.code, "4 of them done before" in again.err) == (4, True), again.err
    again = jrs("batch", "register", cases, "-o", "dask", *WORDS)  # nor does the machine matter
    assert "4 of them done before" in again.err


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_who_stops_the_command_stops_its_cases(number: int, cases: str, scheduler: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "jrscli", "batch", "register", cases, "-o", "out", *WORDS]
    words += ["--executor", "dask", "--scheduler", scheduler]

    def hears() -> None:  # whoever runs these tests in the background may have had SIGINT ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=hears) as process:
        assert process.stderr is not None
        while not list(tmp_path.glob("out/.*.partial")) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(number)
        assert "Traceback" not in process.stderr.read()
        assert process.wait(60) == (130 if number == signal.SIGINT else -number)
    until = time.monotonic() + 30
    while list(tmp_path.glob("out/.*.partial")):
        assert time.monotonic() < until, "a case goes on that nobody waits for, or was left half-written"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("--executor", "dask"), 2, "usage.scheduler"),
        (("--scheduler", "tcp://127.0.0.1:8786"), 2, "usage.scheduler"),
        (("--executor", "dask", "--scheduler", "nowhere.json"), 4, "input.missing"),
    ],
)
def test_wrong_words_are_said_before_anything_is_written(
    words: tuple[str, ...], code: int, name: str, jrs: Callable, cases: str, tmp_path: Path
) -> None:
    jrs("batch", "register", cases, "-o", "out", *words).failed_with(code, name)
    assert not (tmp_path / "out").exists()
