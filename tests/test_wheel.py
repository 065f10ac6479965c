"""The wheel brings the models: what is installed outside the checkout finds and runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("jrscli", "models", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def source(make_model, tmp_path_factory) -> Path:
    """A copy of this project with two more models, of which one may not be used commercially."""
    source = tmp_path_factory.mktemp("source") / "source"
    source.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, source)
    make_model(source / "models", "from-the-wheel")
    bound = make_model(source / "models", "from-the-wheel-bound")
    bound.write_text(re.sub(r"(?m)^licence: .*$", "licence: CC-BY-NC-SA-4.0", bound.read_text()))
    return source


def built(source: Path, folder: Path, **environment: str) -> tuple[Path, set[str]]:
    """A wheel of the copy, and the files of its models."""
    run = {"cwd": source, "check": True, "capture_output": True, "timeout": 120, "env": {**os.environ, **environment}}
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], **run)
    (wheel,) = folder.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    return wheel, {name.removeprefix("jrscli/models/") for name in names if name.startswith("jrscli/models/")}


@pytest.fixture(scope="module")
def installed(source, tmp_path_factory) -> Path:
    """A folder that a wheel of the copy was installed into; nothing else is in it."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel, named = built(source, folder)
    assert named == {
        path.relative_to(source / "models").as_posix() for path in (source / "models").rglob("*") if path.is_file()
    }
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, timeout=120)
    return target


def jrs(installed: Path, *words: str) -> str:
    """What the installed command prints, away from the checkout."""
    settings = {**os.environ, "PYTHONPATH": str(installed), "JRS_MODELS": str(installed / "none")}
    program = f"import jrscli; assert jrscli.__file__.startswith({str(installed)!r}); from jrscli.cli import app; exit(app())"
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=installed,
        env=settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_models_are_those_of_the_checkout_and_sound(installed):
    listed = {row["name"]: row["origin"] for row in json.loads(jrs(installed, "models", "list", "--json"))["models"]}
    cards = [path.stem for path in (ROOT / "models").glob("*.yaml") if b"\ngraphs:" in path.read_bytes()]
    assert listed == dict.fromkeys([*cards, "from-the-wheel", "from-the-wheel-bound"], "bundled")
    verified = json.loads(jrs(installed, "models", "verify", "from-the-wheel", "--json"))["models"]
    assert [model["name"] for model in verified] == ["from-the-wheel"]


def test_a_wheel_without_models_for_non_commercial_use_can_be_built(source, tmp_path):
    _, named = built(source, tmp_path, JRS_FREE_MODELS="1")
    every = {path.relative_to(source / "models").as_posix() for path in (source / "models").rglob("*") if path.is_file()}
    bound = {card.stem for card in (source / "models").glob("*.yaml") if "-NC-" in card.read_text("utf-8")}
    assert "from-the-wheel-bound" in bound
    left_out = {name for name in every if name.startswith(tuple(bound))}
    assert any(name.endswith(".onnx") for name in left_out)
    assert every - named == left_out


def test_an_installed_model_registers(installed):
    images = ROOT / "tests" / "data" / "hippocampus" / "images"
    pair = [str(images / f"hippocampus_{n}.nii.gz") for n in ("006", "007")]
    words = ("register", *pair, "--model", "from-the-wheel", "--refine", "0", "-o", "out", "--device", "cpu")
    assert "image\t" in jrs(installed, *words)
