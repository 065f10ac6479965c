"""The choice of a model by its card."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jrscli.errors import ExitCode, ModelError
from jrscli.runtime.card import Grid, Input, Score, Scores, Window
from jrscli.runtime.choose import Subject, check_modality, choose_model, range_notice, unlike
from jrscli.runtime.store import read_model
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

MR = Input(modality=("MR",), window=Window(percentiles=(1, 99)))
SMALL = Geometry((35, 50, 36), np.diag([-1.0, -1.0, 1.0, 1.0]))
LARGE = Geometry((256, 256, 160), np.eye(4))
GRID = Grid(spacing_mm=(1, 1, 1), size=(48, 64, 48), multiple=(16, 16, 16))


@pytest.fixture
def model(make_model, tmp_path):
    """``model(name, **what make_model takes)``."""

    def make(name: str = "tiny", **options):
        return read_model(make_model(tmp_path / name, name, **{"spec": MR, "grid": GRID, **options}))

    return make


def chosen(models, *images: Subject, task: str = "register", **options) -> str | None:
    found = choose_model(models, task, images, **options)  # type: ignore[arg-type]
    return found.model.card.name if found.model else None


def test_modality_and_field_of_view_decide(model):
    models = [model()]
    assert chosen(models, Subject(SMALL, "MR"), Subject(SMALL, "MR")) == "tiny"
    assert chosen(models, Subject(SMALL, "MR"), Subject(SMALL, "CT")) is None
    assert chosen(models, Subject(SMALL, "MR"), Subject(LARGE, "MR")) is None
    assert chosen(models, Subject(SMALL.with_spacing((3, 3, 3)), "MR")) == "tiny"
    assert chosen(models, Subject(Geometry((12, 50, 36), np.eye(4)), "MR")) is None


def test_a_model_that_sees_crops_takes_larger_images(model):
    crops = [model(grid=Grid(spacing_mm=(1, 1, 1), size=(32, 48, 32)))]
    found = choose_model(crops, "register", [Subject(SMALL, "MR")])
    assert found.reason == "its card fits: MR, it sees 32×48×32 of the 35×50×36 voxels"
    assert chosen(crops, Subject(LARGE, "MR")) is None
    larger = [model(grid=Grid(spacing_mm=(1, 1, 1), size=(32, 48, 32), largest=(250, 250, 150)))]
    assert chosen(larger, Subject(LARGE, "MR")) == "tiny"
    assert chosen(larger, Subject(Geometry((400, 50, 36), np.eye(4)), "MR")) is None


def test_the_reason_is_told_either_way(model):
    good = choose_model([model()], "register", [Subject(SMALL, "MR")])
    assert good.reason == "its card fits: MR, 35×50×36 voxels fit its 48×64×48"
    bad = choose_model([model()], "register", [Subject(SMALL, "CT")])
    assert bad.reason == "tiny: for MR, not CT"


def test_an_image_of_unknown_modality_is_taken_only_if_it_can_be_checked(model):
    assert chosen([model()], Subject(SMALL, None)) is None
    seeing = model(volumes_cc={"level-1": (1.0, 2.0)})
    assert chosen([seeing], Subject(SMALL, None)) == "tiny"
    known = {"labels": ("background", "level-1"), "volumes_cc": {"level-1": (1.0, 2.0)}}
    blind = model("blind", levels=(), **known)
    assert blind.card.volumes_cc
    assert chosen([blind], Subject(SMALL, None)) is None
    assert chosen([blind], Subject(SMALL, "MR")) == "blind"


def test_the_task_decides(model):
    alone = model(levels=())
    assert chosen([alone], Subject(SMALL, "MR"), task="segment") is None
    assert chosen([alone, model("both")], Subject(SMALL, "MR"), task="segment") == "both"


def test_a_model_that_needs_labels_it_cannot_make_is_not_chosen(model):
    assert chosen([model(levels=(), requires=("moving_labels",))], Subject(SMALL, "MR")) is None
    assert chosen([model(requires=("moving_labels",))], Subject(SMALL, "MR")) == "tiny"


def test_of_several_the_best_scored_one_is_chosen(model):
    scores = {name: {"set": Scores("test", Score(4, {"dice": value}))} for name, value in (("a", 0.8), ("b", 0.9))}
    found = choose_model([model(name, scores=own) for name, own in scores.items()], "register", [Subject(SMALL, "MR")])
    assert found.model is not None
    assert (found.model.card.name, found.others) == ("b", ("a",))


def test_a_demonstration_is_never_chosen_by_itself(model):
    use = "research use, not a medical device; demonstration; a network"
    assert chosen([model(use=use)], Subject(SMALL, "MR"), Subject(SMALL, "MR")) is None
    assert chosen([model(use=use), model("other")], Subject(SMALL, "MR"), Subject(SMALL, "MR")) == "other"


def test_a_non_commercial_licence_has_to_be_accepted(model):
    models = [model(licence="CC-BY-NC-SA-4.0")]
    assert chosen(models, Subject(SMALL, "MR")) is None
    assert chosen(models, Subject(SMALL, "MR"), non_commercial=True) == "tiny"


def test_a_named_model_refuses_a_modality_that_its_card_excludes(model):
    check_modality(model(), [Subject(SMALL, "MR"), Subject(SMALL, None)])
    with pytest.raises(ModelError) as caught:
        check_modality(model(), [Subject(SMALL, "MR"), Subject(SMALL, "CT")])
    assert (caught.value.code, caught.value.exit_code) == ("value.modality", ExitCode.MODEL)


def test_grey_values_in_other_units_are_told(model):
    ct = model(spec=Input(modality=("CT",), window=Window(values=(-200.0, 200.0)), range=(-1.0, 1.0)))
    rng = np.random.default_rng(0)
    hounsfield = Volume(rng.uniform(-1000, 500, SMALL.shape).astype(np.float32), SMALL)
    scaled = Volume(rng.uniform(0, 1, SMALL.shape).astype(np.float32), SMALL)
    assert range_notice(ct, hounsfield) is None
    notice = range_notice(ct, scaled)
    assert notice is not None
    assert notice.code == "value.range"
    assert range_notice(model(), scaled) is None


def test_labels_of_another_size_are_not_those_the_model_knows(model):
    card = model(volumes_cc={"level-1": (1.0, 2.0)}).card
    assert unlike(card, {"level-1": 1.5, "level-2": 99.0}) is None
    assert "level-1 measures 3" in str(unlike(card, {"level-1": 3.0}))
    assert unlike(card, {}) is not None


def test_one_organ_of_many_may_be_missed(model):
    labels = tuple(f"organ {n}" for n in range(1, 8))
    card = replace(model().card, labels=("background", *labels), volumes_cc=dict.fromkeys(labels, (1.0, 2.0)))
    found = dict.fromkeys(labels, 1.5)
    assert unlike(card, {**found, "organ 2": 0.9}) is None
    assert "organ 2 measures 0" in str(unlike(card, {**found, "organ 2": 0.0, "organ 5": 9.0}))
