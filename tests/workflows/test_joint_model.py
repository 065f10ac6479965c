"""Contours carried by a joint model, which takes those of the planning image and finds its own while it registers."""

import numpy as np
import pytest
import torch

from jrscli.errors import InputError
from jrscli.io.tolerances import read_tolerances
from jrscli.methods.crossstitch import Config, CrossStitchMethod
from jrscli.runtime.card import Grid, Window
from jrscli.runtime.predict import Predictor
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.training.cases import DataList
from jrscli.training.details import Details
from jrscli.training.export import export_method
from jrscli.workflows.propagate import propagate
from jrscli.workflows.second_estimate import second_estimate
from jrscli.workflows.segment_by_model import segmentation_of

SHAPE = (16, 16, 12)
GRID = Geometry(SHAPE, np.diag([-2.0, -2.0, 3.0, 1.0]))


AGREEMENT = {"left parotid": 0.3}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """A fresh network of two paths that borrow nothing."""
    torch.manual_seed(0)
    made = CrossStitchMethod(Config(classes=3, widths=(4, 4, 4), segmentation_inputs="all", mixing="separate")).eval()
    names = ("background", "left parotid", "right parotid")
    data = DataList(
        "x", "CC0-1.0", Grid(spacing_mm=(2, 2, 3), size=SHAPE), labels=names, window=Window(values=(0, 100)), images="*"
    )
    model = export_method(
        made, data, tmp_path_factory.mktemp("joint"), Details("joint", agreement=AGREEMENT), method_name="crossstitch", seed=0
    )
    return Predictor(model, device="cpu", threads=1)


def study(names):
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.uint32)
    labels[3:7, 5:10, 4:8] = 1
    labels[9:13, 5:10, 4:8] = 2
    image = Volume((40 * (labels > 0) + rng.normal(30, 5, SHAPE)).astype(np.float32), GRID)
    return image, LabelMap(labels, GRID, names)


def test_planning_contours_enter_by_name_and_come_back_twice(predictor):
    """Number 1 is the card's label 2: what counts is the name."""
    image, labels = study({1: "Parotid_R", 2: "GTV"})
    entered = []
    run = predictor.runner.run
    predictor.runner.run = lambda graph, inputs, *rest: entered.append(inputs) or run(graph, inputs, *rest)
    try:
        carried = propagate(image, labels, image, model=predictor, refine=0)
    finally:
        predictor.runner.run = run
    maps = entered[0]["moving_labels"]
    assert maps.shape[0] == 3
    assert not maps[1].any()
    assert int(maps[2].sum()) == int((labels.array == 1).sum())
    assert carried.registration.model == "joint@0.1.0"
    seen = carried.registration.seen
    assert seen.names == ("background", "left parotid", "right parotid")
    own = segmentation_of(seen, image, predictor)
    assert own.agreement == AGREEMENT
    found = second_estimate(carried, own, read_tolerances())
    kinds = {(match.given, match.known): match.kind for match in found.matches}
    assert kinds[None, "left parotid"] == "known only"
    assert kinds["GTV", None] == "given only"
    assert kinds["Parotid_R", "right parotid"] == "both"
    assert found.labels == {1: 2}
    assert [one.number for one in found.organs] == [None, 1, 2]
    assert {row.structure for row in found.rows} <= {"Parotid_R"}


def test_labels_of_other_organs_stop_it(predictor):
    image, labels = study({1: "Liver", 2: "GTV"})
    with pytest.raises(InputError, match="none of the labels"):
        propagate(image, labels, image, model=predictor, refine=0)


def test_a_model_that_registers_alone_sees_nothing(make_model, tmp_path):
    from jrscli.runtime.store import read_model

    image, labels = study({1: "Parotid_R", 2: "GTV"})
    plain = Predictor(read_model(make_model(tmp_path)), device="cpu", threads=1)
    assert propagate(image, labels, image, model=plain, refine=0).registration.seen is None
