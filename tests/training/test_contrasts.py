"""A model whose images have two contrasts, from its export to the command line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from jrscli.io import read_image, write_image
from jrscli.methods.concurrent import Concurrent, Config
from jrscli.runtime.card import Grid
from jrscli.runtime.choose import Subject, choose_model
from jrscli.runtime.predict import Predictor
from jrscli.spatial.volume import Volume
from jrscli.training.cases import DataList, Entry
from jrscli.training.details import Details
from jrscli.training.export import export_method


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Untrained; its labels and its field depend on both contrasts."""
    torch.manual_seed(0)
    method = Concurrent(Config(classes=3, channels=2, width=2)).eval()
    method.dynamic = False  # exported sooner
    data = DataList(
        "two contrasts",
        "CC0-1.0",
        Grid(spacing_mm=(1, 1, 1), size=(32, 32, 32)),
        labels=("background", "left", "right"),
        contrasts=("one", "two"),
        cases=(Entry("a", "a_{contrast}.nii.gz"),),
    )
    folder = tmp_path_factory.mktemp("model")
    return export_method(method, data, folder, Details("two-contrasts"), method_name="concurrent", seed=0)


@pytest.fixture(scope="module")
def files(study, tmp_path_factory):
    """Two images of the study and their other contrast."""
    folder = tmp_path_factory.mktemp("contrasts")
    found = {}
    for n in (0, 1):
        found[n] = study.parent / f"images/case_{n}.nii.gz"
        volume = read_image(found[n]).volume
        found[f"{n}b"] = folder / f"case_{n}_b.nii.gz"
        write_image(Volume(np.sqrt(np.clip(volume.array, 0, None)), volume.geometry), found[f"{n}b"])
    return found


def jrs(*words):
    from jrscli.cli.main import commands

    return CliRunner().invoke(commands, [str(word) for word in words])


def test_the_card_says_what_the_channels_are(model):
    card = model.card
    assert card.contrasts == ("one", "two")
    assert {role: spec.channels for role, spec in card.graphs["joint"].inputs.items()} == {"fixed": 2, "moving": 2}


def test_it_looks_at_both_contrasts(model, files):
    one, other = (read_image(files[name]).volume for name in (0, "0b"))
    predictor = Predictor(model, device="cpu", threads=1)
    seen = predictor.segment(Volume(one.array, one.geometry, (other,))).array
    turned = Volume(100 - other.array, other.geometry)
    assert not np.allclose(seen, predictor.segment(Volume(one.array, one.geometry, (turned,))).array, atol=1e-3)


def test_it_works_through_jrs(model, files, tmp_path):
    further = ["--fixed-contrast", files["0b"], "--moving-contrast", files["1b"]]
    done = jrs("register", files[0], files[1], "--model", model.path, *further, "-o", tmp_path / "pair", "--device", "cpu")
    assert done.exit_code == 0, done.output
    done = jrs("segment", files[0], "--model", model.path, "--contrast", files["0b"], "-o", tmp_path / "labels")
    assert done.exit_code == 0, done.output
    assert "two" in jrs("models", "info", model.path).stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [((), "image.contrasts"), (("--fixed-contrast", "0b"), "image.contrasts"), (("--model", "none"), "usage.combination")],
)
def test_too_few_contrasts_are_said(model, files, tmp_path, words, code):
    named = [files.get(word, word) for word in words]
    if "--model" in words:
        named += ["--fixed-contrast", files["0b"]]
    else:
        named += ["--model", model.path]
    done = jrs("register", files[0], files[1], *named, "-o", tmp_path / "out")
    assert done.exception.code == code
    assert not (tmp_path / "out").exists()


def test_it_is_never_chosen_for_an_image_of_one_contrast(model, files):
    subject = Subject(read_image(files[0]).volume.geometry, "MR")
    assert choose_model([model], "segment", [subject]).model is None
