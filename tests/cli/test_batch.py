"""``jrs batch`` with real workers on small files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from jrscli.io import write_image, write_labels
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One core, no models but those a test makes, pseudonyms of this test only."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    monkeypatch.setenv("JRS_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)


def label_file(path: Path, shift: int, shape: tuple[int, int, int] = (12, 10, 8)) -> Path:
    array = np.zeros(shape, np.uint8)
    array[3 + shift : 8 + shift, 3:7, 2:6] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(LabelMap(array, Geometry(shape, np.diag((2.0, 2.0, 3.0, 1.0))), {1: "Ball"}), path)
    return path


@pytest.fixture
def contours(tmp_path: Path) -> Path:
    """A list of five cases to evaluate: three that agree more or less, one empty, one missing."""
    lines = ["case,reference,prediction"]
    for number, shift in enumerate((0, 1, 2)):
        label_file(tmp_path / f"in/true-{number}.nii.gz", 0)
        label_file(tmp_path / f"in/found-{number}.nii.gz", shift)
        lines.append(f"case{number},in/true-{number}.nii.gz,in/found-{number}.nii.gz")
    write_image(Volume(np.zeros((12, 10, 8), np.uint8), Geometry((12, 10, 8), np.eye(4))), tmp_path / "in/empty.nii.gz")
    lines += ["empty,in/true-0.nii.gz,in/empty.nii.gz", "gone,in/true-0.nii.gz,in/nowhere.nii.gz"]
    path = tmp_path / "cases.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def lines_of(out: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in (out / "batch.jsonl").read_text().splitlines()]
    assert len({line["case"] for line in found}) == len(found), "a case stands in the log twice"
    return {line["case"]: line for line in found}


def files_of(out: Path) -> dict[str, bytes]:
    """Everything below the output folder, without what differs from run to run."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if not path.is_file() or name in (".lock", "batch.html", "cases.csv"):
            continue
        content = path.read_bytes()
        if path.suffix == ".json":
            document = json.loads(content)
            document.pop("timing", None)
            content = json.dumps(document).encode()
        if path.suffix == ".jsonl":
            lines = [{k: v for k, v in json.loads(line).items() if k != "timing"} for line in content.splitlines()]
            content = json.dumps(sorted(lines, key=lambda line: line["case"]))  # which of two cases ends first is chance
        found[name] = content
    return found


def test_a_cohort_is_done_told_and_not_done_again(jrs: Callable, contours: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = jrs("batch", "evaluate", contours, "-o", out, "--no-report")
    said.failed_with(4, "batch.quarantined")
    found = lines_of(out)
    assert {case: (line["status"], line["code"]) for case, line in found.items()} == {
        "case0": ("ok", None),
        "case1": ("ok", None),
        "case2": ("ok", None),
        "empty": ("quarantined", "labels.empty"),
        "gone": ("quarantined", "input.missing"),
    }
    assert found["case0"]["dice_min"] == 1.0
    assert found["case2"]["dice_min"] < found["case1"]["dice_min"]
    reason = json.loads((out / "quarantine/empty/reason.json").read_text())
    assert (reason["code"], reason["exit"]) == ("labels.empty", 4)
    assert "empty.nii.gz" not in json.dumps(reason)
    assert [path.name for path in out.rglob("*.partial")] == []
    assert not (out / ".inputs").exists()

    before, log = {p: p.stat().st_mtime_ns for p in out.rglob("run.json")}, (out / "batch.jsonl").read_bytes()
    again = jrs("batch", "evaluate", contours, "-o", out, "--no-report")
    assert "4 of them done before" in again.err
    assert again.code == 4
    assert {p: p.stat().st_mtime_ns for p in out.rglob("run.json")} == before
    assert (out / "batch.jsonl").read_bytes() == log

    write_labels(
        LabelMap(np.ones((12, 10, 8), np.uint8), Geometry((12, 10, 8), np.diag((2.0, 2.0, 3.0, 1.0)))),
        tmp_path / "in/empty.nii.gz",
    )
    label_file(tmp_path / "in/nowhere.nii.gz", 0)
    label_file(tmp_path / "in/found-1.nii.gz", 0)
    repaired = jrs("batch", "evaluate", contours, "-o", out, "--no-report")
    assert repaired.code == 0, repaired.err
    assert not (out / "quarantine").exists()
    summary = json.loads((out / "cohort.json").read_text())
    assert summary["cases"] == 5
    assert summary["structures"]["Ball"]["dice.v1"]["n"] == 5
    assert (out / "metrics.csv").read_text().startswith("case,name,")


def test_what_was_refused_is_forgotten_when_it_is_no_case_any_more(jrs: Callable, tmp_path: Path) -> None:
    label_file(tmp_path / "in/a.nii", 0)
    text = "case,reference,prediction\na,in/a.nii,in/a.nii\nbad,in/a.nii,in/b.nii\n"
    (tmp_path / "c.csv").write_text(text)
    out = tmp_path / "out"
    document = json.loads(
        jrs("batch", "evaluate", "c.csv", "-o", out, "--no-report", "--json").out
    )  # one document, though it fails
    assert document["counts"] == {"ok": 1, "quarantined": 1}
    (tmp_path / "c.csv").write_text(text.rsplit("bad", 1)[0])
    assert jrs("batch", "evaluate", "c.csv", "-o", out, "--no-report").code == 0
    assert not (out / "quarantine").exists()
    assert json.loads((out / "cohort.json").read_text())["counts"] == {"ok": 1}


def test_the_table_of_cases_is_printed_and_nothing_done(jrs: Callable, contours: Path, tmp_path: Path) -> None:
    said = jrs("batch", "evaluate", contours, "-o", tmp_path / "out", "--dry-run", "--limit", "2", "--gate", "fail")
    assert said.code == 0
    assert "case1" in said.out
    assert "case2" not in said.out
    assert "gone" in said.out
    assert "--gate fail" in said.err
    document = json.loads(jrs("batch", "evaluate", contours, "-o", tmp_path / "out", "--dry-run", "--json").out)
    assert [one["case"] for one in document["cases"]] == ["case0", "case1", "case2", "empty"]
    assert [one["code"] for one in document["quarantined"]] == ["input.missing"]
    assert not (tmp_path / "out").exists()


def test_shards_are_collected(jrs: Callable, contours: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for share in ("1/2", "2/2"):
        jrs("batch", "evaluate", contours, "-o", out, "--no-report", "--shard", share, "--quiet")
    assert not (out / "batch.jsonl").exists()
    said = jrs("batch", "collect", out, "--json")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    assert [line["case"] for line in document["cases"]] == ["case0", "case1", "case2", "empty", "gone"]
    assert document["counts"] == {"ok": 3, "quarantined": 2}
    assert "case2" in (out / "batch.html").read_text()


def test_closed_gates_alone_are_exit_3(jrs: Callable, contours: Path, tmp_path: Path) -> None:
    words = ("--no-report", "--include-case", "case[02]", "--gate-rule", "dice.Ball<=0.5", "--gate", "fail")
    said = jrs("batch", "evaluate", contours, "-o", tmp_path / "out", *words)
    said.failed_with(3, "batch.gate")
    assert lines_of(tmp_path / "out")["case0"]["code"] == "gate.failed"
    assert (tmp_path / "out/case0/metrics.json").exists()


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("--gaet", "fail"), "usage.option", 2),
        (("--gate", "maybe"), "usage.value", 2),
        (("--shard", "3/2"), "usage.shard", 2),
        (("--include-case", "nothing"), "batch.nothing", 4),
    ],
)
def test_wrong_words_stop_before_anything_is_written(
    words: tuple[str, ...], code: str, exit_code: int, jrs: Callable, contours: Path, tmp_path: Path
) -> None:
    jrs("batch", "evaluate", contours, "-o", tmp_path / "out", *words).failed_with(exit_code, code)
    assert not (tmp_path / "out").exists()


def test_collecting_from_another_folder_is_refused(jrs: Callable, tmp_path: Path) -> None:
    jrs("batch", "collect", tmp_path).failed_with(4, "batch.nothing")


def test_a_cohort_is_given_up_after_so_many_bad_cases(jrs: Callable, contours: Path, tmp_path: Path) -> None:
    said = jrs("batch", "evaluate", contours, "-o", tmp_path / "out", "--no-report", "--max-failures", "1")
    said.failed_with(1, "batch.failures")
    assert list(lines_of(tmp_path / "out")) == ["gone"]


def of_patient(folder: Path, name: str) -> None:
    for path in folder.rglob("*.dcm") if folder.is_dir() else (folder,):
        dataset = pydicom.dcmread(path)
        dataset.PatientID = dataset.PatientName = name
        dataset.save_as(path)


@pytest.fixture
def mixed(files: Any, tmp_path: Path) -> Path:
    """A folder as clinics have them."""
    root = tmp_path / "patients"
    both = root / "two patients"
    for name in ("Doe^Anna", "Doe^Bert"):
        for kind in ("fixed", "moving"):
            shutil.copytree(files.folder / f"{kind}-ct", both / f"{name} {kind}")
        shutil.copy(files.folder / "moving-RS.dcm", both / f"{name}.dcm")
        for path in both.glob(f"{name}*"):
            of_patient(path, name)
    for path in list(both.glob("*/*.dcm")):  # all in one heap
        path.rename(both / f"{path.parent.name}-{path.name}")
    for path in both.glob("*/"):
        path.rmdir()
    gap = root / "Zoë Ünal"
    shutil.copytree(files.folder / "fixed-ct", gap / "a b")
    shutil.copytree(files.folder / "moving-ct", gap / "c")
    shutil.copy(files.folder / "moving-RS.dcm", gap)
    of_patient(gap, "Gap")
    sorted((gap / "a b").glob("*.dcm"))[5].unlink()
    lone = root / "lone"
    lone.mkdir()
    shutil.copy(files.folder / "fixed-RS.dcm", lone / "RS.dcm")
    of_patient(lone / "RS.dcm", "Lone")
    pair = root / "pair"
    pair.mkdir()
    for name in ("fixed.nii.gz", "moving.nii.gz"):
        shutil.copy(files.folder / name, pair)
    shutil.copy(files.folder / "moving-seg.nii.gz", pair)
    (root / "empty").mkdir()
    (root / "pair" / "loop").symlink_to(root, target_is_directory=True)
    return root


def test_in_a_mixed_folder_every_case_is_done_or_quarantined(
    jrs: Callable, make_model: Callable[..., Path], mixed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    make_model(tmp_path / "models", "tiny")
    said = jrs("batch", "propagate-contours", mixed, "-o", out, "--model", "tiny", "--refine", "0", "--no-report", "--no-both")
    said.failed_with(4, "batch.quarantined")
    found = lines_of(out).values()
    done = [line for line in found if line["out"]]  # both patients of the heap, and the pair
    assert [(line["model"], line["exit"]) for line in done] == [("tiny@1.0", 3)] * 3  # a model that is wrong, and says so
    held = [line["code"] for line in found if line["status"] == "quarantined"]
    assert sorted(held) == ["input.nothing", "pair.missing", "series.missing"]
    assert len(found) == 6
    told = said.out + said.err + "".join(path.name for path in out.rglob("*"))
    told += "".join(path.read_text() for path in out.rglob("*.json*")) + (out / "batch.html").read_text()
    for name in ("Doe", "Anna", "Zoë", "Ünal", "Gap", "Lone"):
        assert name not in told


def test_killed_at_any_moment_it_ends_as_if_unbroken(contours: Path, tmp_path: Path) -> None:
    def start(out: Path) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "jrscli", "batch", "evaluate", str(contours), "-o", str(out), "--no-report", "-q"]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole).wait(60) == 4
    process = start(broken)
    until = time.monotonic() + 30
    while not list(broken.glob("[!.]*/run.json")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in broken.glob("[!.]*/run.json")}
    assert done
    assert start(broken).wait(60) == 4
    assert {path: path.stat().st_mtime_ns for path in done} == done, "a finished case was done again"
    assert files_of(broken) == files_of(whole)
    assert not list(broken.rglob("*.partial"))


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_a_cohort_with_nothing_half_written(contours: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with contours.open("a") as more:  # so many that they cannot all be done before the signal comes
        more.writelines(f"again{number},in/true-0.nii.gz,in/found-1.nii.gz\n" for number in range(300))
    words = [sys.executable, "-m", "jrscli", "batch", "evaluate", str(contours), "-o", str(out), "--no-report"]

    def hears() -> None:  # who runs these tests in the background may have had SIGINT ignored, and children inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hears) as process:
        assert process.stderr is not None
        process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        assert "Traceback" not in process.stderr.read()
        assert process.wait(30) == 130
    assert not list(out.rglob("*.partial"))
    assert not (out / ".inputs").exists()
