"""``jrs train`` and ``jrs export`` from files to a model that runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from jrscli.errors import JrsError
from jrscli.io import write_image, write_labels
from jrscli.runtime.session import Session
from jrscli.runtime.store import find_model
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume

QUICK = [
    "--set",
    "widths=[4, 6]",
    "--set",
    "segment_rounds=1",
    "--set",
    "joint_rounds=1",
    "--set",
    "training.validation_pairs=1",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five patients: a bright block that lies elsewhere in each."""
    folder = tmp_path_factory.mktemp("patients")
    geometry = Geometry((16, 14, 12), np.diag([-1.0, -1.0, 1.0, 1.0]))
    for n in range(5):
        labels = np.zeros(geometry.shape, np.uint32)
        labels[3 + n : 8 + n, 4:10, 3:9] = 1
        noise = np.random.default_rng(n).normal(0, 1, geometry.shape)
        write_image(Volume((100 * labels + noise).astype(np.float32), geometry), folder / f"{n}-image.nii.gz")
        write_labels(LabelMap(labels, geometry), folder / f"{n}-labels.nii.gz")
    content = {
        "name": "blocks",
        "licence": "CC0-1.0",
        "labels": ["background", "block"],
        "grid": {"spacing_mm": [1, 1, 1], "size": [16, 16, 16]},
        "images": "*-image.nii.gz",
        "label_files": "*-labels.nii.gz",
        "split": {"validation": ["3", "4"]},
    }
    (folder / "data.yaml").write_text(yaml.safe_dump(content), "utf-8")
    return folder


def run(*words: object) -> tuple[int, str, str]:
    from jrscli.cli.main import commands

    found = CliRunner().invoke(commands, [str(word) for word in words])
    if found.exception and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stdout, found.stderr


def test_from_a_folder_of_images_to_a_model(folder, tmp_path):
    code, out, err = run("train", "siamese", folder / "data.yaml", *QUICK, "-o", tmp_path / "run", "--threads", 1)
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["checkpoint", "log", "config"]
    assert "registration 0." in err
    assert err.splitlines()[-1] == f"next: jrs export {tmp_path / 'run'}"
    resolved = yaml.safe_load((tmp_path / "run/config.yaml").read_text("utf-8"))
    assert (resolved["method"], resolved["config"]["widths"], resolved["config"]["classes"]) == ("siamese", [4, 6], 2)

    code, out, _ = run("export", tmp_path / "run", "--name", "blocks", "-o", tmp_path / "models", "--refine", 7, "--json")
    assert code == 0
    document = json.loads(out)
    assert [entry["kind"] for entry in document["outputs"]] == ["card", "graph", "graph"]
    model = find_model(tmp_path / "models/blocks.yaml")
    assert (model.card.refine, model.card.licence, model.card.labels) == (7, "CC0-1.0", ("background", "block"))
    found = Session(model, "segment", "cpu").run({"image": np.zeros((1, 1, 16, 16, 16), np.float32)})
    assert found["logits"].shape == (1, 2, 16, 16, 16)

    assert run("export", tmp_path / "run", "--name", "half", "--half-weights", "-o", tmp_path / "models")[0] == 0
    sizes = [(tmp_path / f"models/{name}-segment.onnx").stat().st_size for name in ("blocks", "half")]
    assert sizes[1] < sizes[0]

    other = ["--set", "segment_rounds=2", "--seed", 1, "-o", tmp_path / "other", "--threads", 1]
    assert run("train", "siamese", folder / "data.yaml", *QUICK, *other)[0] == 0
    code, out, _ = run("export", model.path, "--segmenter", tmp_path / "other", "-o", tmp_path / "relabelled")
    assert code == 0
    again = find_model(tmp_path / "relabelled/blocks.yaml")
    assert again.card.graphs["register"].sha256 == model.card.graphs["register"].sha256
    assert again.card.graphs["segment"].sha256 != model.card.graphs["segment"].sha256
    second = ["--second-segmenter", tmp_path / "other"]
    assert run("export", model.path, *second, "-o", tmp_path / "both")[0] == 0
    assert "second_segment" in find_model(tmp_path / "both/blocks.yaml").card.graphs
    with pytest.raises(JrsError, match="one segmenter at a time"):
        run("export", model.path, *second, "--segmenter", tmp_path / "other", "-o", tmp_path / "nothing")
    with pytest.raises(JrsError, match="a model already") as caught:
        run("export", model.path, "-o", tmp_path / "nothing")
    assert "--segmenter" in caught.value.hint


def test_settings_come_from_a_file_and_are_overridden(folder, tmp_path):
    from jrscli.training.settings import merged, parse_settings, read_settings

    file = tmp_path / "settings.yaml"
    file.write_text("config: {joint_rounds: 9, widths: [4, 6]}\ntraining: {augmentation: {noise: 0}}\n", "utf-8")
    given = parse_settings(["joint_rounds=1", "training.augmentation.gamma=0", "data.labelled=2"])
    found = merged(read_settings(file), given)
    assert found["config"] == {"joint_rounds": 1, "widths": [4, 6]}
    assert found["training"] == {"augmentation": {"noise": 0, "gamma": 0}}
    assert found["data"] == {"labelled": 2}


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["deepatlass", "DATA"], "method.unknown", 2),
        (["siamese", "DATA", "--set", "joint_rounds"], "settings.form", 2),
        (["siamese", "DATA", "--set", "joint_round=3"], "settings.value", 2),
        (["siamese", "DATA", "--set", "training.batch=0"], "settings.value", 2),
        (["siamese", "nowhere.yaml"], "data.missing", 4),
        (["siamese", "DATA", "--resume"], "checkpoint.missing", 5),
        (["siamese", "DATA", "--set", "data.labelled=x"], "data.invalid", 4),
        (["deepatlas", "DATA", "--set", "data.grid={size: [12, 16, 16]}"], "data.grid", 2),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(folder, tmp_path, words, code, kind):
    from jrscli.errors import JrsError

    words = [folder / "data.yaml" if word == "DATA" else word for word in words]
    with pytest.raises(JrsError) as caught:
        run("train", *words, "-o", tmp_path / "new")
    assert (caught.value.code, int(caught.value.exit_code)) == (code, kind)
    assert caught.value.hint
    assert not (tmp_path / "new").exists()


def test_the_recipes_are_listed_with_what_their_models_were_measured_to_do():
    """Scores come from cards alone: the line of a recipe without a scored model says so."""
    from jrscli import methods

    code, told, _ = run("train", "--list")
    assert code == 0
    blocks: dict[str, str] = {}
    for line in told.splitlines():
        if not line.startswith(" "):
            name = line.split()[0]
        blocks[name] = blocks.get(name, "") + " ".join(line.split()) + " "
    assert list(blocks) == methods.names()
    assert "needs fixed_labels, moving_labels" in blocks["ddir"]
    assert "doi:10.1007/978-3-030-32245-8_47" in blocks["deepatlas"]
    assert "our own" in blocks["siamese"]
    assert all(len(line) <= 120 or "Dice" in line for line in told.splitlines())
    code, told, _ = run("train", "--list", "--json")
    for recipe in json.loads(told)["recipes"]:
        block = blocks[recipe["name"]]
        assert ("no model at hand has scores" in block) is not bool(any(recipe["models"].values()))
        for by_data in recipe["models"].values():
            for scores in by_data.values():
                measured = [part for part in (scores["registration"], scores["segmentation"]) if part]
                assert measured
                assert all(f"{part['values']['dice']:.3f}" in block for part in measured)


def test_a_training_needs_a_method_and_data():
    from jrscli.errors import UsageError

    with pytest.raises(UsageError, match="METHOD and DATA"):
        run("train", "deepatlas")
