"""Models on the command line: chosen, used, refused, listed, imported."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jrscli.cli import app
from jrscli.io import read_labels, write_image, write_labels
from jrscli.io.dicom_write import write_series
from jrscli.runtime import store
from jrscli.runtime.card import Card, Grid, Input, Score, Scores, Window
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume

GEOMETRY = Geometry((20, 18, 16), np.diag([-1.0, -1.0, 1.0, 1.0]))
SPEC = Input(modality=("MR",), window=Window(values=(0, 1000)))
GRID = Grid(spacing_mm=(1, 1, 1), size=(24, 24, 24), multiple=(8, 8, 8))


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No models but those a test makes; its working folder is its own."""
    monkeypatch.setenv("JRS_MODELS", str(tmp_path / "user"))
    monkeypatch.setattr(store, "bundled_folder", lambda: tmp_path / "bundled")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """A bright ball with a brighter core, and the same one voxel on."""
    paths = []
    for n in range(2):
        distance = np.sqrt(((np.indices(GEOMETRY.shape) - np.array([9 + n, 9, 8]).reshape(3, 1, 1, 1)) ** 2).sum(0))
        array = (500.0 * (distance < 7) + 400.0 * (distance < 3)).astype(np.float32)
        paths.append(tmp_path / f"image-{n}.nii.gz")
        write_image(Volume(array, GEOMETRY), paths[-1])
    return paths


@pytest.fixture
def model(make_model: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """``model(folder, **what make_model takes)``: the card of a model for MR of this size."""

    def make(folder: str = "user/tiny", name: str = "tiny", **options: object) -> Path:
        return make_model(tmp_path / folder, name, **{"spec": SPEC, "grid": GRID, "levels": (0.3, 0.7), **options})

    return make


def jrs(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = app([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def error_of(said: str) -> tuple[str, bool]:
    """The code of the error line, and whether one hint follows it."""
    lines = said.strip().splitlines()
    assert lines[-2].startswith("error: "), said
    return lines[-2].rpartition("[")[2].rstrip("]"), lines[-1].startswith("hint:  ")


def test_a_pair_is_registered_by_a_named_model(capsys, images, model):
    model()
    code, out, said = jrs(capsys, "register", *images, "--model", "tiny", "--refine", 0, "-o", "out", "--device", "cpu")
    assert code == 0, said
    assert "model tiny@1.0: named" in said
    assert "research use, not a medical device" in said
    assert {line.split("\t")[0] for line in out.splitlines()} >= {"image", "xfm", "xfm-inverse", "run"}
    record = json.loads(Path("out/run.json").read_text("utf-8"))
    assert record["model"]["name"] == "tiny"
    assert len(record["model"]["sha256"]) == 64
    assert record["model"]["device"] == "cpu"
    assert [step["step"] for step in record["steps"]] == ["prepare", "network", "inverse"]


def test_an_image_is_segmented_by_a_card_at_a_path(capsys, images, model):
    card = model("elsewhere")
    code, _, said = jrs(capsys, "segment", images[0], "--model", card, "-o", "out")
    assert code == 0, said
    found = read_labels("out/seg_space-fixed.nii.gz")
    assert set(found.numbers()) == {1, 2}
    assert found.name(2) == "level-2"
    record = Path("out/run.json").read_text("utf-8")
    assert str(card.parent) not in record  # a path may hold a name
    assert json.loads(record)["volumes_cc"]["level-2"] == pytest.approx(0.11, abs=0.03)


def test_report_of_a_models_contours_passes_nothing_by_itself(capsys, images, model):
    card = model()
    code, out, said = jrs(capsys, "segment", images[0], "--model", card, "-o", "out", "--report")
    assert code == 0, said
    assert "report\t" in out
    document = json.loads(Path("out/metrics.json").read_text())
    assert document["gate"]["status"] == "not_assessed"
    assert {row["status"] for row in document["gate"]["rows"]} == {"pass"}
    page = Path("out/report.html").read_text("utf-8")
    assert '<header class="banner not_assessed">' in page
    assert "nothing odd was found, but there is nothing from outside to measure by" in page
    assert "how well they fit was not measured" in page
    assert "mean probability where it won" in page


def test_contours_are_propagated_by_a_model(capsys, images, model):
    model()
    array = (np.indices(GEOMETRY.shape)[0] > 9).astype(np.uint32)
    write_labels(LabelMap(array, GEOMETRY, {1: "half"}), "labels.nii.gz")
    words = ("propagate-contours", images[1], "labels.nii.gz", images[0], "--model", "tiny", "-o", "out", "--no-report")
    code, _, said = jrs(capsys, *words)
    assert code == 0, said
    moved = read_labels("out/seg_space-fixed.nii.gz").array
    assert moved[9, 3:-3, 3:-3].all()  # the half began at 10
    assert not moved[8, 3:-3, 3:-3].any()


def series(folder: Path, modality: str) -> Path:
    """A DICOM series of this modality."""
    array = np.random.default_rng(0).integers(0, 900, GEOMETRY.shape).astype(np.int16)
    write_series(Volume(array, GEOMETRY), folder, modality=modality)
    return folder


def test_a_model_is_chosen_by_its_card_and_the_reason_printed(capsys, tmp_path, model):
    model("bundled")
    code, _, said = jrs(capsys, "segment", series(tmp_path / "mr", "MR"), "-o", "out")
    assert code == 0, said
    assert "model tiny@1.0: its card fits: MR, 20×18×16 voxels fit its 24×24×24" in said
    assert Path("out/RS_space-fixed_network.dcm").exists()


def test_a_modality_that_the_card_excludes_is_refused(capsys, tmp_path, model):
    model()
    ct = series(tmp_path / "ct", "CT")
    for words in (("segment", ct), ("register", ct, ct)):
        code, out, said = jrs(capsys, *words, "--model", "tiny", "-o", "out")
        assert (code, error_of(said)) == (5, ("value.modality", True))
        assert out == ""
        assert not Path("out").exists()


def test_without_a_fitting_model_nothing_is_guessed(capsys, tmp_path, model, images):
    model()
    for image in (series(tmp_path / "ct", "CT"), images[0]):
        code, _, said = jrs(capsys, "segment", image, "-o", "out")
        assert (code, error_of(said)) == (5, ("model.none", True))


def test_a_nifti_image_is_recognised_by_what_is_in_it(capsys, images, model):
    model(volumes_cc={"level-1": (0.5, 1.5), "level-2": (0.05, 0.2)})
    code, _, said = jrs(capsys, "segment", images[0], "-o", "out")
    assert code == 0, said
    model(volumes_cc={"level-1": (5.0, 9.0)})
    code, _, said = jrs(capsys, "segment", images[0], "-o", "other")
    assert (code, error_of(said)) == (5, ("model.none", True))
    assert "level-1 measures" in said


def test_grey_values_in_other_units_are_warned_of(capsys, tmp_path, model):
    model()
    write_image(Volume(np.random.default_rng(0).random(GEOMETRY.shape, dtype=np.float32), GEOMETRY), "unit.nii.gz")
    code, _, said = jrs(capsys, "segment", "unit.nii.gz", "--model", "tiny", "-o", "out")
    assert code == 0
    assert "[value.range]" in said


def spoil(card: Path, how: str) -> None:
    """Make a model unfit in one way."""
    graph = card.parent / "tiny-segment.onnx"
    if how == "truncated":
        graph.write_bytes(graph.read_bytes()[:50])
    elif how == "altered":
        graph.write_bytes(graph.read_bytes().replace(b"Conv", b"Conw"))
    elif how == "missing":
        graph.unlink()
    elif how == "unknown key":
        card.write_text(card.read_text("utf-8") + "colour: blue\n", "utf-8")
    elif how == "not yaml":
        card.write_bytes(b"\x89PNG")


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("truncated", "model.sha256"),
        ("altered", "model.sha256"),
        ("missing", "model.missing"),
        ("unknown key", "card.invalid"),
        ("not yaml", "card.unreadable"),
    ],
)
def test_an_unfit_model_is_refused_with_exit_code_5(capsys, images, model, how, expected):
    card = model("made")
    spoil(card, how)
    for words in (("segment", images[0], "--model", card, "-o", "out"), ("models", "verify", card), ("models", "import", card)):
        code, out, said = jrs(capsys, *words)
        assert (code, error_of(said)) == (5, (expected, True)), words
        assert out == ""
    assert not Path("out").exists()


def test_weights_outside_the_models_folder_are_refused(capsys, images, model, tmp_path):
    """Even where the card has the right hash of such a graph."""
    import hashlib

    import onnx

    card = model("elsewhere")
    graph = card.parent / "tiny-segment.onnx"
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    loaded = onnx.load(graph)
    tensor = loaded.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    graph.write_bytes(loaded.SerializeToString())
    found = Card.read(card)
    entry = dataclasses.replace(found.graphs["segment"], sha256=hashlib.sha256(graph.read_bytes()).hexdigest())
    dataclasses.replace(found, graphs={**found.graphs, "segment": entry}).write(card)
    for words in (("segment", images[0], "--model", card, "-o", "out"), ("models", "import", card)):
        code, _, said = jrs(capsys, *words)
        assert (code, error_of(said)) == (5, ("model.external_data", True))


def test_model_and_atlas_exclude_each_other(capsys, images, model):
    model()
    words = ("segment", images[0], "--model", "tiny", "--atlas", images[1], "--atlas-labels", images[1])
    code, _, said = jrs(capsys, *words)
    assert (code, error_of(said)) == (2, ("usage.combination", True))


def test_models_are_listed_and_described(capsys, model):
    scores = {"balls": Scores("test", Score(4, {"dice": 0.9}), None, {"affine": {"dice": 0.5}})}
    model("bundled", scores=scores, limits=("balls only",), refine=12)
    code, out, _ = jrs(capsys, "models", "list")
    assert code == 0
    assert out.split("  ")[0] == "tiny@1.0"
    assert "registration Dice 0.900 (balls, test)" in out
    listed = json.loads(jrs(capsys, "models", "list", "--json")[1])["models"]
    assert [(row["name"], row["origin"], row["does"]) for row in listed] == [("tiny", "bundled", ["register", "segment"])]
    out = jrs(capsys, "models", "info", "tiny")[1]
    for words in ("balls only", "12 steps", "affine: dice 0.5", "jrs register FIXED MOVING --model tiny", "MIT", "MR"):
        assert words in out
    described = json.loads(jrs(capsys, "models", "info", "tiny", "--json")[1])
    assert described["sha256"] == listed[0]["sha256"]
    assert described["refine"] == 12


def test_a_model_comes_in_a_zip_and_goes_again(capsys, model):
    card = model("made", "ball-finder")
    with zipfile.ZipFile("ball-finder.zip", "w") as archive:
        for file in card.parent.iterdir():
            archive.write(file, f"ball-finder/{file.name}")
    assert jrs(capsys, "models", "import", "ball-finder.zip")[0] == 0
    assert "ball-finder@1.0" in jrs(capsys, "models", "list")[1]
    assert jrs(capsys, "models", "verify", "ball-finder")[0] == 0
    code, _, said = jrs(capsys, "models", "verify", "ball-finder", "ball-finder")
    assert (code, error_of(said)) == (2, ("usage.combination", True))
    assert "one model at a time" in said
    code, _, said = jrs(capsys, "models", "import", "ball-finder.zip")
    assert (code, error_of(said)) == (5, ("model.exists", True))
    assert jrs(capsys, "models", "import", "ball-finder.zip", "--overwrite")[0] == 0
    assert jrs(capsys, "models", "remove", "ball-finder")[0] == 0
    assert not list(Path("user").iterdir())


@pytest.mark.parametrize("name", ["../evil.onnx", "/evil.onnx", "a/b/evil.onnx", ".hidden"])
def test_a_zip_that_would_leave_its_folder_is_refused(capsys, model, name, tmp_path):
    card = model("made")
    with zipfile.ZipFile("tiny.zip", "w") as archive:
        for file in card.parent.iterdir():
            archive.write(file, file.name)
        archive.writestr(name, b"x")
    code, _, said = jrs(capsys, "models", "import", "tiny.zip")
    assert (code, error_of(said)) == (5, ("model.archive", True))
    assert not (tmp_path / "evil.onnx").exists()
    assert not list((tmp_path / "user").iterdir())


def test_a_bundled_model_is_not_removed(capsys, model):
    model("bundled")
    code, _, said = jrs(capsys, "models", "remove", "tiny")
    assert (code, error_of(said)) == (5, ("model.bundled", True))


@pytest.fixture
def data_set(tmp_path: Path, images: list[Path]) -> Path:
    """A data list with four cases, two of them for training."""
    for n, image in enumerate([*images, *images]):
        (tmp_path / "data" / "images").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "labels").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "images" / f"case_{n}.nii.gz").write_bytes(image.read_bytes())
        distance = np.sqrt(((np.indices(GEOMETRY.shape) - np.array([9 + n % 2, 9, 8]).reshape(3, 1, 1, 1)) ** 2).sum(0))
        labels = (distance < 7).astype(np.uint32) + (distance < 3)
        write_labels(LabelMap(labels.astype(np.uint32), GEOMETRY), tmp_path / "data" / "labels" / f"case_{n}.nii.gz")
    path = tmp_path / "user" / "tiny" / "tiny-data.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "name: balls\nlicence: CC0\nlabels: [background, level-1, level-2]\ngrid: {size: [24, 24, 24]}\n"
        'images: images/case_*.nii.gz\nlabel_files: labels/case_*.nii.gz\nsplit: {test: ["2", "3"]}\n',
        "utf-8",
    )
    return tmp_path / "data"


@pytest.mark.parametrize(("told", "code"), [(1.0, 0), (0.9, 5)])
def test_the_scores_of_a_card_are_measured_again(capsys, model, data_set, told, code):
    """The stand-in finds the labels exactly."""
    model(scores={"balls": Scores("test", None, Score(2, {"dice": told}))})
    found, out, said = jrs(capsys, "models", "verify", "--scores", "tiny", data_set, "--json")
    assert found == code, said
    assert f"segmentation dice: 1.0000, the card says {told}" in said
    if code:
        assert "[model.scores]" in said
    else:
        assert json.loads(out)["scores"]["balls"]["segmentation"]["dice"] == 1.0


def test_a_model_is_measured_for_its_card(capsys, model, data_set):
    """The stand-in labels and moves exactly."""
    import yaml

    model(scores={})
    code, out, said = jrs(capsys, "models", "score", "tiny", data_set, "--pairs", "1", "--refine", "0")
    assert code == 0, said
    found = yaml.safe_load(out)["scores"]["balls"]
    assert found["split"] == "test"
    assert found["segmentation"] == {"n": 2, "values": {"dice": 1.0}}
    assert found["registration"] == {"n": 1, "values": {"dice": 1.0, "folding_percent": 0.0}}
    assert "level-2                  segmentation Dice 1.0000  (n = 2)" in said
    code, out, _ = jrs(capsys, "models", "score", "tiny", data_set, "--pairs", "1", "--refine", "0", "--json")
    assert json.loads(out)["scores"] == {"balls": found}


def test_what_is_not_to_be_trusted_is_not_scored(capsys, model, data_set, tmp_path):
    path = tmp_path / "user" / "tiny" / "tiny-data.yaml"
    path.write_text(path.read_text("utf-8") + 'distrusted: {level-2: ["2"]}\n', "utf-8")
    model(scores={})
    code, _, said = jrs(capsys, "models", "score", "tiny", data_set, "--refine", "0")
    assert code == 0, said
    assert "level-1                  segmentation Dice 1.0000  (n = 2)" in said
    assert "level-2                  segmentation Dice 1.0000  (n = 1)" in said
    code, _, said = jrs(capsys, "models", "score", "tiny", data_set, "--part", "validation")
    assert (code, error_of(said)) == (4, ("data.empty", True))


def test_the_models_own_contours_are_compared_with_the_carried_ones(capsys, tmp_path, model):
    """The stand-in's field is right, so both estimates agree; drawn elsewhere, the carried one does not."""
    model(levels=(0.2,), shift=(1.0, 0.0, 0.0), grid=Grid(multiple=(8, 8, 8)))
    wide = Geometry(GEOMETRY.shape, np.diag([-2.0, -2.0, 2.0, 1.0]))  # structures under 5 cm³ are not judged
    balls = [np.linalg.norm(np.indices(wide.shape).T - (9 + n, 9, 8), axis=-1).T < 6 for n in range(2)]
    for n, ball in enumerate(balls):
        write_image(Volume(500 * ball.astype(np.float32), wide), f"day-{n}.nii.gz")
    for name, mask in (("right", balls[1]), ("wrong", np.roll(balls[1], 5, axis=1))):
        write_labels(LabelMap(mask, wide), f"{name}.nii.gz")
        words = ("propagate-contours", "day-1.nii.gz", f"{name}.nii.gz", "day-0.nii.gz", "--model", "tiny", "--no-report")
        code, out, said = jrs(capsys, *words, "-o", name)
        assert code == 0, said
        assert "labels-network\t" in out
        (row,) = json.loads(Path(name, "run.json").read_text("utf-8"))["disagreement"]
        assert row["structure"] == "level-1"
        assert (row["status"] == "pass") == (name == "right"), row
        assert ("[rs.disagreement]" in said) == (name == "wrong")
    assert jrs(capsys, *words, "-o", "plain", "--no-both")[0] == 0
    assert not Path("plain/seg_space-fixed_network.nii.gz").exists()


def test_rounds_of_a_loop_that_a_model_does_not_have_are_refused(capsys, images, model, data_set):
    model()
    for words in (("segment", images[0]), ("register", *images), ("models", "score", "tiny", data_set)):
        named = ("--model", "tiny") if words[0] != "models" else ()
        code, _, said = jrs(capsys, *words, *named, "--context", "1")
        assert (code, error_of(said)) == (2, ("usage.context", True))
    code, _, said = jrs(capsys, "register", *images, "--model", "none", "--context", "0")
    assert (code, error_of(said)) == (2, ("usage.context", True))
    assert not Path("jrs-out").exists()
