"""Every recipe in methods/ keeps the contract: found by name, so a new one is tested as soon as its file is there."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from jrscli import methods
from jrscli.io import read_image
from jrscli.roles import INPUTS, OUTPUTS
from jrscli.runtime.golden import check_golden
from jrscli.runtime.session import Session
from jrscli.training import checkpoint
from jrscli.training.agreement import AGREEMENT, checked_shapes
from jrscli.training.details import Details
from jrscli.training.export import export
from jrscli.training.run import build_method, method_named, train

NAMES = methods.names()

PARAMETERS = {
    "cardiacmotion": 1_085_596,
    "concurrent": 3_174_735,
    "crossstitch": 780_872,
    "ddir": 1_939_564,
    "deepatlas": 1_150_574,
    "deeprs": 3_222_999,
    "hnlight": 1_673_461,
    "hybridcnn": 5_882_262,
    "istn": 774_410,
    "jrss": 2_024_625,
    "jssr": 3_899_001,
    "sddir": 458_269,
    "siamese": 2_102_070,
    "vocaltract": 2_048_169,
}
"""With the default config: a change of a network is seen here first."""

SHORT = {
    "cardiacmotion": {"classes": 3, "dims": 3, "width": 0.0625, "motion_rounds": 1, "segment_rounds": 1, "joint_rounds": 2},
    "concurrent": {"classes": 3, "channels": 1, "width": 2, "rounds": 2},
    "crossstitch": {"classes": 3, "widths": [4, 6, 8], "rounds": 2},
    "ddir": {"classes": 3, "widths": [4, 8, 8], "segment_rounds": 1, "rounds": 2},
    "deepatlas": {"pretrain_register": 1, "pretrain_segment": 1, "joint_rounds": 2, "register_repeats": 2},
    "deeprs": {"width": 4, "warm_up": 1, "rounds": 2},
    "hybridcnn": {"classes": 3, "widths": [4, 4, 8, 8, 8], "rounds": 2},
    "hnlight": {
        "classes": 3,
        "channels": 1,
        "width": 0.1,
        "segment_rounds": 1,
        "register_rounds": 1,
        "frozen_rounds": 1,
        "joint_rounds": 2,
    },
    "istn": {"size": [32, 32, 32], "rounds": 2},
    "jrss": {"pretrain_register": 1, "pretrain_teacher": 1, "self_training": 1, "joint_rounds": 2},
    "jssr": {
        "widths": [2, 4, 4, 4],
        "register_widths": [4, 4, 4],
        "segment_rounds": 1,
        "register_rounds": 1,
        "joint_rounds": 2,
    },
    "sddir": {"classes": 3, "size": [32, 32, 32], "segment_widths": [4, 8], "widths": [4, 8, 8], "rounds": 2},
    "siamese": {"widths": [4, 6, 8], "segment_rounds": 1, "joint_rounds": 2},
    "vocaltract": {"classes": 3, "dims": 3, "widths": [4, 4, 8, 8, 8], "segment_rounds": 1, "register_rounds": 2},
}
"""A config for the grid of the study with which the last stage takes two rounds, and every other one."""

QUICK = {"validate_every": 1000, "checkpoint_every": 1, "validation_pairs": 1, "cycle": {"frames": 2, "steps": 2}}


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def trained(name, study, tmp_path_factory):
    """A training of all stages."""
    folder = tmp_path_factory.mktemp(f"run-{name}")
    train(name, study, folder, config=SHORT[name], training=QUICK)
    return folder


class Stopped(Exception):
    pass


def test_the_tables_above_are_complete():
    assert set(PARAMETERS) == set(SHORT) == set(NAMES)


def test_it_is_described(name):
    module = method_named(name)
    assert re.search(r"doi:|arXiv|\d+\(\d+\):\d+", module.__doc__)  # or volume, number and page
    assert dataclasses.is_dataclass(module.Config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        module.Config().classes = 5


def test_it_has_as_many_weights_as_ever(name):
    method = build_method(name, {})
    assert sum(weight.numel() for weight in method.parameters()) == PARAMETERS[name]


def test_its_stages_train_networks_it_has_and_its_graphs_speak_of_roles(name):
    method = build_method(name, {})
    for stage in method.stages():
        assert stage.turns
        for turn in stage.turns:
            assert set(turn.trains) <= set(method.networks)
    assert 1 <= len(method.graphs()) <= 3
    for graph in method.graphs():
        assert set(graph.inputs) <= set(INPUTS)
        assert set(graph.outputs) <= set(OUTPUTS)


def test_each_loss_falls_on_one_batch(name, study):
    """A few steps of each turn of the last stage on the same batch."""
    from jrscli.training.cases import read_data
    from jrscli.training.prepared import Cases
    from jrscli.training.sampling import Sampler
    from jrscli.training.simulated.beats import Cycle

    torch.manual_seed(0)
    method = build_method(name, SHORT[name])
    data, cases = read_data(study)
    stage = method.stages()[-1]
    sampler = Sampler(Cases(data, cases, "train"), seed=0, device=torch.device("cpu"), cycle=Cycle(frames=2, steps=2))
    batch = sampler.draw(stage.batches, 0, 0, 0, 0)
    for turn in stage.turns:
        weights = [weight for network in turn.trains for weight in method.networks[network].parameters()]
        optimiser = torch.optim.Adam(weights, lr=1e-3)
        totals = []
        for _ in range(4):
            torch.manual_seed(0)  # a loss that draws something draws the same each time
            loss = sum(turn.loss(batch).values())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            totals.append(float(loss.detach()))
        assert math.isfinite(totals[-1])
        assert totals[-1] < totals[0], turn.trains


@pytest.mark.parametrize("place", [(0, 0), (-1, 1)], ids=["after the first stage", "within the last stage"])
def test_a_resumed_run_is_the_unbroken_one(name, study, trained, tmp_path, place):
    """Stopped in the round after this one; the weights, and all that a method keeps besides, agree bit for bit."""
    stages = build_method(name, SHORT[name]).stages()
    stage, rounds = place
    if stage == 0 and len(stages) == 1:
        return
    at = (1, 0) if stage == 0 else (len(stages) - 1, rounds)

    def stop(stage, done, total):
        if stage == stages[at[0]].name and done == at[1] + 1:
            raise Stopped

    with pytest.raises(Stopped):
        train(name, study, tmp_path, config=SHORT[name], training=QUICK, progress=stop)
    content = checkpoint.load(tmp_path)
    assert (content["stage"], content["rounds"]) == at
    train(name, study, tmp_path, config=SHORT[name], training=QUICK, resume=True)
    one, other = (checkpoint.load(folder)["weights"] for folder in (trained, tmp_path))
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@pytest.fixture(scope="module")
def model(name, trained, tmp_path_factory):
    """The exported model."""
    return export(trained, tmp_path_factory.mktemp(f"model-{name}"), Details(f"{name}-test"))


@pytest.mark.slow
def test_it_exports_what_torch_computes(name, trained, model):
    method = build_method(name, SHORT[name])
    method.load_state_dict(checkpoint.load(trained)["weights"])
    method.eval()
    for graph in method.graphs():
        session = Session(model, graph.name, "cpu", 1)
        check_golden(session)
        shapes = checked_shapes(model.card, graph.name)
        assert len(shapes) == (3 if method.dynamic else 1)
        for shape in shapes:
            rng = np.random.default_rng(0)
            given = {r: rng.random((1, graph.channels.get(r, 1), *shape), dtype=np.float32) for r in graph.inputs}
            with torch.no_grad():
                wanted = graph.module(*(torch.from_numpy(given[role]) for role in graph.inputs))
            found = session.run(given)
            for role, array in zip(graph.outputs, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
                assert float(np.abs(found[role] - array.numpy()).max()) <= AGREEMENT, role
    assert model.card.simulated_training
    low, high = model.card.volumes_cc["right"]
    assert 0.1 < low < 0.5 < high < 1  # an ellipsoid of 4 × 6 × 5 mm has 0.5 cm³
    assert model.card.trained.data == "ellipsoids"


@pytest.mark.slow
def test_it_works_through_jrs(model, study, tmp_path):
    """Two images of the study, one registered to the other and segmented, by the card and what it says it needs."""
    fixed, moving = (study.parent / f"images/case_{n}.nii.gz" for n in (5, 6))
    words = ["register", fixed, moving, "--refine", 1, "-o", tmp_path / "pair"]
    for role in model.card.requires:
        option = INPUTS[role].option or ""
        if option.startswith("--"):
            words += [option, study.parent / f"labels/case_{5 if role.startswith('fixed') else 6}.nii.gz"]
    if model.card.registers:
        kinds = _kinds([*words, "--model", model.path, "--device", "cpu"])
        assert {"image", "xfm", "xfm-inverse"} <= set(kinds)
        warped = read_image(tmp_path / "pair/warped.nii.gz").volume
        assert warped.geometry.matches(read_image(fixed).volume.geometry)
    if model.card.segments:
        assert "labels" in _kinds(["segment", fixed, "--model", model.path, "-o", tmp_path / "labels", "--device", "cpu"])


def _kinds(words):
    """The kinds of output that a command names."""
    from jrscli.cli.main import commands

    found = CliRunner().invoke(commands, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.stderr
    return [line.split("\t")[0] for line in found.stdout.splitlines()]
