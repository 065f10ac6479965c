"""A model whose labels come from another training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jrscli.errors import ModelError
from jrscli.io import read_image
from jrscli.roles import SECOND, SEGMENT
from jrscli.runtime.golden import check_golden
from jrscli.runtime.predict import Predictor
from jrscli.runtime.session import Session
from jrscli.runtime.store import read_model
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume
from jrscli.training import checkpoint
from jrscli.training.details import Details
from jrscli.training.export import export
from jrscli.training.relabel import relabel
from jrscli.training.run import build_method, train

from .conftest import write_list

TINY = {"widths": [8, 8], "segment_rounds": 1, "joint_rounds": 1}
GRID = {"orientation": "RAS", "spacing_mm": [1, 1, 1], "size": [32, 32, 32]}


@pytest.fixture(scope="module")
def runs(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings on volumes, one on their slices, one on each with other voxels, and one whose images may not be sold."""
    folder = tmp_path_factory.mktemp("runs")
    quick = {"validate_every": 100, "validation_pairs": 1}
    flat = {**GRID, "dims": 2, "size": [32, 32, 1]}
    others = {"coarse": {**flat, "spacing_mm": [2, 2, 2]}, "fine": {**GRID, "spacing_mm": [0.5] * 3, "size": [48] * 3}}
    for name, grid in {"volumes": GRID, "again": GRID, "slices": flat, "restricted": GRID, **others}.items():
        licence = "CC-BY-NC-4.0" if name == "restricted" else "CC0-1.0"
        listed = write_list(folder / f"{name}.yaml", grid=grid, licence=licence)
        train(
            "siamese", listed, folder / name, config=TINY, training={**quick, "seed": int(name == "again")}, root=study.parent
        )
    return folder


def test_the_other_network_labels_and_the_card_says_so(runs: Path, tmp_path: Path) -> None:
    model = export(runs / "volumes", tmp_path, Details("both", cropped=True), {SEGMENT: runs / "again"})
    assert model.card.trained.segmenter == "siamese, seed 1, trained by itself"
    assert model.card.graphs["segment"].grid is None
    assert Predictor(model).segmenting == "segment"
    content = checkpoint.load(runs / "again")
    method = build_method(content["method"], content["config"])
    method.load_state_dict(content["best"] or content["weights"])
    network = next(graph.module for graph in method.eval().graphs() if graph.name == "segment")
    image = np.random.default_rng(0).random((1, 1, 32, 32, 32), dtype=np.float32)
    found = Session(model, "segment").run({"image": image})["logits"]
    with torch.no_grad():
        np.testing.assert_allclose(found, network(torch.from_numpy(image)).numpy(), atol=1e-4)
    alone = export(runs / "volumes", tmp_path / "alone", Details("alone", cropped=True))
    assert alone.card.trained.segmenter == ""
    assert np.abs(Session(alone, "segment").run({"image": image})["logits"] - found).max() > 0.01


def test_a_segmenter_with_voxels_of_its_own_looks_at_those(runs: Path, tmp_path: Path, study: Path) -> None:
    model = export(runs / "volumes", tmp_path, Details("both"), {SEGMENT: runs / "fine"})
    grid = model.card.graphs["segment"].grid
    assert grid is not None
    assert grid.spacing_mm == (0.5, 0.5, 0.5)
    assert model.card.grid.spacing_mm == (1, 1, 1)
    check_golden(Session(model, "segment"))
    found = Predictor(model)
    image = read_image(study.parent / "images" / "case_0.nii.gz").volume
    own = found.segment(image)
    assert own.geometry.spacing_mm == pytest.approx((0.5, 0.5, 0.5))
    alone = Predictor(export(runs / "fine", tmp_path / "alone", Details("alone")))
    np.testing.assert_allclose(own.array, alone.segment(image).array, atol=1e-4)
    pair = found.pair(image, image)
    of_fixed, of_moving = found.segment_pair(pair, image, image)
    assert of_fixed.geometry == of_moving.geometry == pair.fixed_grid
    np.testing.assert_allclose(of_fixed.array, own.on(pair.fixed_grid).array, atol=1e-5)
    np.testing.assert_allclose(of_moving.array, of_fixed.array, atol=1e-5)


def test_two_networks_label_together(runs: Path, tmp_path: Path, study: Path) -> None:
    """Their maps lie on the finer voxels, label by label in the shares of the card."""
    first = export(runs / "volumes", tmp_path / "first", Details("first"), {SEGMENT: runs / "again"})
    shares = Details("both", second_share={"right": 0.75})
    model = relabel(first.path, tmp_path / "new", shares, runs / "fine", SECOND)
    assert {name: model.graph_file(name)[0] for name in first.card.graphs} == {
        name: first.graph_file(name)[0] for name in first.card.graphs
    }
    for name in ("register", SEGMENT, SECOND):
        check_golden(Session(model, name))
    words = "siamese, seed 1, trained by itself; a second one: siamese, seed 0, trained by itself"
    assert model.card.trained.segmenter == words
    turned_round = dict(sorted(model.card.graphs.items(), key=lambda one: one[0] != SECOND))  # whatever comes first in a card
    replace(model.card, graphs=turned_round).write(tmp_path / "new" / "both.yaml")
    assert Predictor(read_model(tmp_path / "new" / "both.yaml")).segmenting == SEGMENT
    at_once = export(runs / "volumes", tmp_path / "both", shares, {SEGMENT: runs / "again", SECOND: runs / "fine"})
    assert at_once.card.graphs[SECOND].sha256 == model.card.graphs[SECOND].sha256
    assert at_once.card.trained.segmenter == words
    image = read_image(study.parent / "images" / "case_0.nii.gz").volume
    fine = Predictor(export(runs / "fine", tmp_path / "fine", Details("fine"))).segment(image)
    coarse = Predictor(first).segment(image).on(fine.geometry)
    both = Predictor(model).segment(image)
    assert both.geometry.matches(fine.geometry)
    share = np.array([0.75 if name == "right" else 0.5 for name in both.names]).reshape(-1, 1, 1, 1)
    wanted = (1 - share) * coarse.array + share * fine.array
    np.testing.assert_allclose(both.array, wanted / wanted.sum(axis=0), atol=1e-4)
    on_grid = Predictor(model).segment(image, grid=coarse.geometry.oriented("LPS"))
    assert on_grid.geometry.matches(coarse.geometry.oriented("LPS"))
    turned = export(runs / "volumes", tmp_path / "turned", shares, {SEGMENT: runs / "fine", SECOND: runs / "again"})
    wanted = (1 - share) * fine.array + share * coarse.array
    np.testing.assert_allclose(Predictor(turned).segment(image).array, wanted / wanted.sum(axis=0), atol=1e-4)
    with pytest.raises(ModelError, match="second_share needs"):
        export(runs / "volumes", tmp_path / "none", shares)
    assert not list((tmp_path / "none").glob("*.yaml"))


def test_slices_as_they_were_taken_label_a_model_of_volumes(runs: Path, tmp_path: Path) -> None:
    model = export(runs / "volumes", tmp_path, Details("both"), {SEGMENT: runs / "coarse"})
    assert model.card.graphs["segment"].grid.dims == 2
    check_golden(Session(model, "segment"))
    image = Volume(np.random.default_rng(0).random((60, 60, 5), np.float32), Geometry((60, 60, 5), np.diag([1.0, 1, 7, 1])))
    alone = Predictor(export(runs / "coarse", tmp_path / "alone", Details("alone"))).segment(image)
    found = Predictor(model)
    own = found.segment(image)
    assert own.geometry.spacing_mm == pytest.approx((2, 2, 7))
    np.testing.assert_allclose(own.array, alone.array, atol=1e-4)
    pair = found.pair(image, image)
    np.testing.assert_allclose(found.segment_pair(pair, image, image)[1].array, own.on(pair.fixed_grid).array, atol=1e-5)


def test_what_does_not_fit_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="volumes where") as caught:
        export(runs / "slices", tmp_path, Details("both"), {SEGMENT: runs / "volumes"})
    assert caught.value.code == "export.segmenter"
    first = export(runs / "slices", tmp_path / "first", Details("first"))
    with pytest.raises(ModelError, match="volumes where"):
        relabel(first.path, tmp_path, Details("both"), runs / "volumes")
    assert not list(tmp_path.glob("*.yaml"))


def test_a_finished_model_is_labelled_by_another_network_and_registers_as_before(runs: Path, tmp_path: Path) -> None:
    first = export(runs / "volumes", tmp_path / "first", Details("first", refine=3))
    new = relabel(first.path, tmp_path / "new", Details("new", version="0.2.0", refine=5, largest=(9, 9, 9)), runs / "fine")
    assert new.graph_file("register")[0] == first.graph_file("register")[0]
    assert new.card.graphs["segment"].grid is not None
    for name in ("register", "segment"):
        check_golden(Session(new, name))
    both = export(runs / "volumes", tmp_path / "both", Details("both"), {SEGMENT: runs / "fine"})
    assert new.card.graphs["segment"].sha256 == both.card.graphs["segment"].sha256
    assert (first.card.grid.largest, new.card.grid.largest) == (None, (9, 9, 9))
    assert (new.title, new.card.refine, new.card.licence) == ("new@0.2.0", 5, first.card.licence)
    assert new.card.trained.segmenter == both.card.trained.segmenter


def test_slices_label_a_finished_model_of_volumes(runs: Path, tmp_path: Path) -> None:
    first = export(runs / "volumes", tmp_path / "first", Details("first"))
    new = relabel(first.path, tmp_path / "new", Details("new"), runs / "slices")
    assert new.card.graphs["segment"].grid.dims == 2
    check_golden(Session(new, "segment"))


def test_what_a_former_segmenter_learned_from_is_not_said_of_the_new_one(runs: Path, tmp_path: Path) -> None:
    first = export(runs / "volumes", tmp_path / "first", Details("first"))
    simulated = replace(first.card.trained, simulation={"cycle.frames": 8.0, "fraction.shift_mm": 3.0})
    replace(first.card, trained=simulated).write(first.path)
    new = relabel(first.path, tmp_path / "new", Details("new"), runs / "slices")
    assert new.card.trained.simulation == {"fraction.shift_mm": 3.0}


def test_images_under_another_licence_need_a_word_on_it(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="under CC-BY-NC-4") as caught:
        export(runs / "volumes", tmp_path, Details("both"), {SEGMENT: runs / "restricted"})
    assert "licence" in caught.value.hint
    assert not list(tmp_path.iterdir())
    allowed = export(runs / "volumes", tmp_path, Details("both", licence="CC-BY-NC-4.0"), {SEGMENT: runs / "restricted"})
    assert allowed.card.licence == "CC-BY-NC-4.0"
    first = export(runs / "volumes", tmp_path, Details("first"))
    with pytest.raises(ModelError, match="CC-BY-NC-4"):
        relabel(first.path, tmp_path, Details("new"), runs / "restricted")
