"""The fourteenth method: the page of the tutorial is done step by step, its code as it stands there."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from jrscli import methods

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/tutorials/your-own-method.md").read_text("utf-8")
NAME = "mirror"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The recipe of the page where recipes are looked for, the data list of the page, and the images of the sources."""
    recipe, _ = blocks("python")
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / f"{NAME}.py").write_text(recipe, "utf-8")
    (tmp_path / "mirror-data.yaml").write_text(*blocks("yaml"), "utf-8")
    (tmp_path / "tests").symlink_to(ROOT / "tests", target_is_directory=True)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop(f"jrscli.methods.{NAME}", None)
    vars(methods).pop(NAME, None)


def jrs(*words: str) -> str:
    from jrscli.cli.main import commands

    found = CliRunner().invoke(commands, [*words], catch_exceptions=False)
    assert found.exit_code == 0, found.stderr
    return found.stdout


def commands_of_the_page() -> list[list[str]]:
    lines = "".join(blocks("console")).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ jrs ")]


SHORTER = {"train": ["--set", "segment_rounds=1", "--set", "rounds=1"], "register": ["--refine", "0"]}
"""What the test adds to a command of the page: a tiny budget."""


@pytest.mark.slow
def test_every_step_of_the_page_can_be_taken(written):
    """Train, export, verify, segment, register: no step knows the method by name."""
    told = {}
    for command, *words in commands_of_the_page():
        more = [] if "--list" in words else SHORTER.get(command, [])
        told[command] = told.get(command, "") + jrs(command, *words, *more)
    assert set(told) == {"train", "export", "models", "segment", "register"}
    assert NAME in told["train"]
    assert "labels\t" in told["segment"]
    assert {"image", "xfm", "labels"} <= {line.split("\t")[0] for line in told["register"].splitlines()}
    log = (written / "runs/mirror/log.csv").read_text("utf-8")
    assert "left_voxels" in log


@pytest.mark.usefixtures("written")
def test_the_facts_of_the_page_hold(batch):
    """The tests that the page gives, with the batch that tests of recipes get."""
    _, facts = blocks("python")
    names: dict[str, object] = {}
    exec(compile(facts, "tutorial", "exec"), names)
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert len(tests) == 4
    for test in tests:
        torch.manual_seed(0)
        test(*[batch] * test.__code__.co_argcount)
