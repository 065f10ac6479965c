"""Help texts, exit codes, and what is said about wrong words."""

from __future__ import annotations

import re
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from jrscli.cli import app
from jrscli.cli.main import command
from jrscli.errors import ExitCode
from jrscli.io import read_image, read_labels, write_image, write_labels
from jrscli.io.ants import write_ants
from jrscli.io.dose import Dose, write_dose
from jrscli.io.registration_object_write import write_rigid
from jrscli.io.sidecar import Sidecar
from jrscli.io.transforms import write_field, write_transform
from jrscli.runtime import store
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume


def _leaves(group: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for name, one in group.commands.items():
        found += _leaves(one, (*path, name)) if hasattr(one, "commands") else [((*path, name), one)]
    return found


LEAVES = _leaves(command())
NAMES = [" ".join(path) for path, _ in LEAVES]


def _examples(path: tuple[str, ...], one: Any) -> list[list[str]]:
    lines = re.findall(r"^\s*(jrs .+)$", one.help, re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize(("path", "one"), LEAVES, ids=NAMES)
def test_help_begins_with_a_sentence_and_has_two_examples(path: tuple[str, ...], one: Any) -> None:
    assert re.match(r"[A-Z][^\n]+(\n[^\n]+)*\.\n", one.help)
    examples = _examples(path, one)
    assert len(examples) >= 2
    for words in examples:
        assert tuple(words[: len(path)]) == path


def _stage(files: Any, folder: Path) -> None:
    """Files of the names that the examples use."""
    fixed = ("fixed.nii.gz", "image.nii.gz", "reference.nii.gz", "prediction.nii.gz", "day1.nii.gz", "day2.nii.gz", "ct.nii.gz")
    moving = ("moving.nii.gz", "plan.nii.gz", "a.nii.gz")
    copies = {
        "fixed.nii.gz": fixed,
        "moving.nii.gz": moving,
        "fixed-seg.nii.gz": ("reference.nii.gz", "prediction.nii.gz"),
        "moving-seg.nii.gz": ("a-seg.nii.gz", "labels.nii.gz"),
        "moving-ct": ("planning-ct", "ct-folder", "dicom-folder"),
        "fixed-ct": ("daily-ct",),
        "moving-RS.dcm": ("RS.dcm",),
        "fixed-RS.dcm": ("RS-true.dcm", "RS-found.dcm"),
        "points.csv": ("points.csv",),
    }
    for source, names in copies.items():
        for name in names:
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(files.folder / source)
    write_image(read_image(files.folder / "moving.nii.gz").volume, folder / "a.mha")
    write_labels(read_labels(files.folder / "moving-seg.nii.gz"), folder / "a-seg.mha")
    for name, short in (("fixed", "f"), ("moving", "m")):
        write_image(read_image(files.folder / f"{name}.nii.gz").volume, folder / f"{short}.nii")
        write_labels(read_labels(files.folder / f"{name}-seg.nii.gz"), folder / f"{short}-seg.nii")
    field = DisplacementField.zeros(files.fixed)
    write_field(field, folder / "field.nii.gz")
    for name in ("xfm.h5", "from-moving_to-fixed_mode-image_xfm.h5"):
        write_transform(Transform((field,)), folder / name, Sidecar("moving_to_fixed", files.fixed, files.moving))
    write_ants(Transform((field, AffineTransform.identity())), folder / "ants0GenericAffine.mat")
    series = [read_image(files.folder / name).series for name in ("fixed-ct", "moving-ct")]
    kept, plan = Dataset(), Dataset()
    kept.ReferencedRTPlanSequence = [plan]
    plan.ReferencedSOPClassUID, plan.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.3.4"
    given = Dose(Volume(np.ones(files.moving.shape, np.float32), files.moving), "GY", "", kept)
    write_dose(given.volume, given, series[1], folder / "dose.dcm")
    write_rigid(AffineTransform.identity(), *series, folder / "REG.dcm")
    (folder / "out").mkdir()
    (folder / "out" / "batch.jsonl").write_text('{"case": "a", "status": "ok", "out": null}\n')
    for name in ("jrs-out/fixed", "monday", "tuesday"):
        (folder / name).mkdir(parents=True)
        (folder / name / "run.json").write_text('{"jrs": "1.0", "command": "register", "status": "ok"}')


@pytest.fixture
def models(make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of the names that the examples use: at hand, in the user's folder, and to be imported."""
    monkeypatch.setattr(store, "bundled_folder", lambda: tmp_path / "bundled")
    monkeypatch.setenv("JRS_MODELS", str(tmp_path / "user"))
    make_model(tmp_path / "bundled", "hippocampus-jrs")
    make_model(tmp_path / "user" / "old-model", "old-model")
    card = make_model(tmp_path, "my-model")
    with zipfile.ZipFile(tmp_path / "my-model.zip", "w") as archive:
        for file in (card, *tmp_path.glob("my-model-*.onnx")):
            archive.write(file, file.name)


TASKS = ("register", "propagate-contours", "segment", "evaluate")
LONG = {
    ("demo",),
    ("node",),
    ("rerun",),
    ("train",),
    ("export",),
    ("models", "score"),
    *((word, task) for word in ("batch", "watch") for task in TASKS),
}
"""Their examples take long, or other processes; they have tests of their own."""


@pytest.mark.parametrize(("path", "one"), [leaf for leaf in LEAVES if leaf[0] not in LONG], ids=str)
def test_examples_run(
    path: tuple[str, ...],
    one: Any,
    jrs: Callable,
    files: Any,
    optimiser: Any,
    models: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    _stage(files, tmp_path)
    if path == ("models", "remove"):
        jrs("models", "import", "my-model.zip")
    for words in _examples(path, one):
        said = jrs(*words)
        assert said.code == 0, said.err


@pytest.mark.parametrize(("path", "one"), LEAVES, ids=NAMES)
def test_examples_are_understood(path: tuple[str, ...], one: Any) -> None:
    for words in _examples(path, one):
        one.make_context(" ".join(path), words[len(path) :])


@pytest.mark.parametrize(("path", "one"), LEAVES, ids=NAMES)
def test_examples_fit_into_a_terminal(path: tuple[str, ...], one: Any) -> None:
    assert max(len(" ".join(words)) for words in _examples(path, one)) <= 74


@pytest.mark.parametrize(("path", "one"), LEAVES, ids=NAMES)
def test_every_option_is_explained(path: tuple[str, ...], one: Any) -> None:
    assert [parameter.name for parameter in one.params if not parameter.help] == []


def test_bare_jrs_and_bare_convert_print_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["convert"]):
        assert app(words) == 0
        assert "Commands:" in capsys.readouterr().out


def test_all_exit_codes_are_listed(jrs: Callable) -> None:
    lines = jrs("--help-codes").out.splitlines()
    assert [int(line.split()[0]) for line in lines] == [int(code) for code in ExitCode]


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        ("regsiter a b", "usage.command", "did you mean register?"),
        ("propagate a b c", "usage.command", "did you mean propagate-contours?"),
        ("register a b --prest fast", "usage.option", "did you mean --preset?"),
        ("register a b --preset bset", "usage.value", "did you mean best?"),
        ("register a b --frobnicate", "usage.option", "see: jrs register --help"),
        ("register a b --threads many", "usage.value", "see: jrs register --help"),
        ("register a", "usage.missing", "see: jrs register --help"),
        ("warp a", "usage.missing", "see: jrs warp --help"),
        ("convert serie a --to b", "usage.command", "did you mean series?"),
    ],
)
def test_wrong_words(words: str, code: str, hint: str, jrs: Callable) -> None:
    said = jrs(*words.split()).failed_with(2, code)
    assert hint in said.err
    assert said.out == ""
