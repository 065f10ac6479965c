"""The clinic's page: every command of it, on DICOM folders made here, at a tiny budget."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.contours import structures_of_labels

PAGE = (Path(__file__).resolve().parents[2] / "docs/howto/train-on-your-patients.md").read_text("utf-8")
GRID = Geometry((40, 40, 40), np.diag([4.0, 4.0, 4.0, 1.0]))
SHORTER = {
    "train": ["--set", "segment_rounds=1", "--set", "joint_rounds=1", "--set", "widths=[8,8]"],
    "score": ["--refine", "0"],
    "propagate-contours": ["--refine", "0", "--no-report"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def patient(folder: Path, seed: int) -> None:
    """A head with two bright parotids, contours as one clinic and another would name them, in one folder."""
    rng = np.random.default_rng(seed)
    index = np.moveaxis(np.indices(GRID.shape), 0, -1) - np.array([20, 20, 20]) - rng.uniform(-1, 1, 3)
    labels = np.zeros(GRID.shape, np.uint32)
    for label, side in ((1, -9), (2, 9)):
        labels[np.linalg.norm((index - [side, 0, 0]) / [4, 6, 6], axis=-1) < 1] = label
    head = np.linalg.norm(index / [17, 18, 19], axis=-1) < 1
    image = np.where(head, 20, -1000) + 90 * (labels > 0) + rng.normal(0, 8, GRID.shape)
    header = write_series(Volume(image.astype(np.int16), GRID), folder / "ct", seed=f"p{seed}")
    names = {1: "Parotid_L", 2: "Parotid_R"} if seed % 2 else {1: "LeftParotid", 2: "RIGHT PAROTID"}
    drawn = structures_of_labels(LabelMap(labels, GRID, names))
    outline = structures_of_labels(LabelMap(head.astype(np.uint32) * 9, GRID, {9: "BODY"}))
    write_rtstruct(replace(drawn, rois=(*outline.rois, *drawn.rois)), header, GRID, folder / "RS.dcm", seed=f"p{seed}")
    for path in list((folder / "ct").iterdir()):
        path.rename(folder / path.name)
    (folder / "ct").rmdir()


@pytest.mark.slow
def test_every_command_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jrscli.cli.main import commands

    for n in range(1, 9):
        patient(tmp_path / f"patients/{n:04d}", n)
    (tmp_path / "ours.yaml").write_text(*blocks("yaml"), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JRS_MODELS", str(tmp_path / "store"))
    said = {}
    for line in "".join(blocks("console")).splitlines():
        words, _, target = line.removeprefix("$ jrs ").partition(" > ")
        command = shlex.split(words)
        name = command[1] if command[0] == "models" else command[0]
        found = CliRunner().invoke(commands, [*command, *SHORTER.get(name, [])], catch_exceptions=False)
        assert found.exit_code == 0, (line, found.stderr)
        said[name] = found
        if target:
            (tmp_path / target).write_text(found.stdout, "utf-8")
    assert set(said) == {"train", "export", "score", "import", "verify", "list", "propagate-contours"}
    assert "right parotid" in said["score"].stderr
    assert "registration: not measured" in said["score"].stderr  # the images of the day are simulated
    assert "our head and neck patients" in (tmp_path / "models/our-head-neck.yaml").read_text("utf-8")
    assert "split: test" in (tmp_path / "models/our-head-neck.yaml").read_text("utf-8")
    assert "our-head-neck" in said["list"].stdout
    kinds = {line.split("\t")[0] for line in said["propagate-contours"].stdout.splitlines()}
    assert {"rtstruct", "rtstruct-network"} <= kinds, said["propagate-contours"].stdout
