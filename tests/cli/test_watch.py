"""``jrs watch`` takes what is quiet, once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jrscli.io import write_image
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume


@pytest.fixture
def incoming(tmp_path: Path, files: object, make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one patient that arrived an hour ago."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("JRS_MODELS", str(tmp_path / "models"))
    make_model(tmp_path / "models", "tiny")
    arrive(tmp_path / "incoming", "first", seconds=3600)
    return tmp_path / "incoming"


def arrive(folder: Path, name: str, *, seconds: float) -> None:
    import numpy as np

    (folder / name).mkdir(parents=True)
    array = np.random.default_rng(len(name)).normal(100, 30, (12, 10, 8)).astype(np.float32)
    write_image(Volume(array, Geometry((12, 10, 8), np.eye(4))), folder / name / f"{name}.nii.gz")
    for path in (folder / name / f"{name}.nii.gz", folder / name):
        os.utime(path, (time.time() - seconds,) * 2)


def test_a_folder_is_taken_once_and_not_before_it_is_quiet(jrs: Callable, incoming: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arrive(incoming, "second", seconds=0)
    words = ("watch", "segment", incoming, "-o", out, "--once", "--model", "tiny", "--no-report")
    assert jrs(*words).code == 0
    assert sorted(path.parent.name for path in out.glob("*/run.json")) == ["first"]
    stamp = (out / "first/run.json").stat().st_mtime_ns
    (incoming / "empty").mkdir()
    os.utime(incoming / "empty", (0, 0))
    assert jrs(*words, "--quiet-for", "0").code == 0
    assert sorted(path.parent.name for path in out.glob("*/run.json")) == ["first", "second"]
    assert (out / "first/run.json").stat().st_mtime_ns == stamp
    found = [json.loads(line) for line in (out / "batch.jsonl").read_text().splitlines()]
    assert [line["code"] for line in found if line["status"] == "quarantined"] == ["input.nothing"]


def test_a_folder_that_is_not_there_is_said(jrs: Callable, tmp_path: Path) -> None:
    jrs("watch", "segment", tmp_path / "nowhere", "-o", tmp_path / "out").failed_with(4, "input.missing")
