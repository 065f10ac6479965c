"""The loop: frozen networks stay, a stop costs at most one interval, a resumed run is the unbroken one."""

import csv
import os
import signal
import subprocess
import sys
import time
import types

import pytest
import torch

from jrscli.errors import JrsError, ModelError, UsageError
from jrscli.recipe import Stage, Turn
from jrscli.training import checkpoint
from jrscli.training.run import build_method, train

QUICK = {"validate_every": 1000, "checkpoint_every": 2, "validation_pairs": 1}
SHORT = {"widths": [4, 6, 8], "segment_rounds": 3, "joint_rounds": 3}


def weights(folder):
    return checkpoint.load(folder)["weights"]


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class Stopped(Exception):
    pass


def stop_at(stage, rounds):
    def listen(name, done, total):
        if (name, done) == (stage, rounds):
            raise Stopped

    return listen


def test_what_a_turn_does_not_train_stays_as_it_is(study, tmp_path):
    """Weights and running statistics of the frozen network, bit for bit."""
    from jrscli.methods import deepatlas

    stages = deepatlas.DeepAtlas.stages
    before = {}

    def only_registration(self):
        before.update({key: value.clone() for key, value in self.networks["segment"].state_dict().items()})
        turn = Turn(("register",), self.registration_loss, repeats=2)
        return [Stage("only", (turn,), 1, keep_best=False)]

    deepatlas.DeepAtlas.stages = only_registration
    try:
        train("deepatlas", study, tmp_path, training=QUICK, changes={"labelled": 1})
    finally:
        deepatlas.DeepAtlas.stages = stages
    after = weights(tmp_path)
    assert before
    assert all(torch.equal(after[f"networks.segment.{key}"], value) for key, value in before.items())


def test_a_resumed_run_is_the_unbroken_one(study, tmp_path):
    train("siamese", study, tmp_path / "whole", config=SHORT, training=QUICK)
    with pytest.raises(Stopped):
        train("siamese", study, tmp_path / "broken", config=SHORT, training=QUICK, progress=stop_at("joint", 3))
    assert checkpoint.load(tmp_path / "broken")["rounds"] == 2
    train("siamese", study, tmp_path / "broken", config=SHORT, training=QUICK, resume=True)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert (tmp_path / "whole/log.csv").read_text() == (tmp_path / "broken/log.csv").read_text()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_kill_minus_nine_leaves_the_last_checkpoint(study, tmp_path):
    program = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from jrscli.training.run import train\n"
        f"train('siamese', sys.argv[1], sys.argv[2], config={ {**SHORT, 'segment_rounds': 100000}!r}, training={QUICK!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(study), str(tmp_path)], env=dict(os.environ))
    file = tmp_path / checkpoint.FILE
    try:
        for _ in range(600):
            if file.exists() and checkpoint.load(tmp_path)["rounds"] >= 4:
                break
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    done = checkpoint.load(tmp_path)["rounds"]
    assert done >= 4
    assert done % 2 == 0
    with (tmp_path / "log.csv").open() as log:
        last = max(int(row["round"]) for row in csv.DictReader(log))
    assert last - done <= QUICK["checkpoint_every"]


def test_without_a_validation_part_the_last_weights_count(study, tmp_path):
    everyone = {"split": {"test": ["5", "6", "7"]}}
    done = train("siamese", study, tmp_path, config=SHORT, training={**QUICK, "validate_every": 1}, changes=everyone)
    assert done.scores == {}
    first, last = (_weights_after(study, tmp_path / f"n{n}", n, everyone) for n in (1, 3))
    assert not equal(first, last)


def _weights_after(study, folder, rounds, changes):
    config = {**SHORT, "segment_rounds": rounds, "joint_rounds": 0}
    train("siamese", study, folder, config=config, training={**QUICK, "validate_every": 1}, changes=changes)
    return weights(folder)


def test_another_setting_is_no_resumption(study, tmp_path):
    train("siamese", study, tmp_path, config={**SHORT, "joint_rounds": 1}, training=QUICK)
    with pytest.raises(UsageError) as caught:
        train("siamese", study, tmp_path, config=SHORT, training=QUICK, resume=True)
    assert caught.value.code == "train.other"
    with pytest.raises(UsageError) as caught:
        train("siamese", study, tmp_path, config=SHORT, training=QUICK)
    assert caught.value.code == "train.exists"


def test_a_loss_that_is_no_number_stops_the_training(study, tmp_path, monkeypatch):
    from jrscli.methods.siamese import Siamese

    monkeypatch.setattr(Siamese, "segmentation_loss", lambda self, batch: {"odd": batch.fixed.sum() * torch.nan})
    with pytest.raises(JrsError) as caught:
        train("siamese", study, tmp_path, config=SHORT, training=QUICK)
    assert caught.value.code == "train.diverged"
    assert "odd" in caught.value.message


@pytest.mark.parametrize(
    ("config", "changes", "code"),
    [
        ({"width": 3}, {}, "settings.value"),
        ({}, {"grid": {"size": [40, 32, 32]}}, "data.grid"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(study, tmp_path, config, changes, code):
    with pytest.raises(UsageError) as caught:
        train("siamese", study, tmp_path / "new", config=config, training=QUICK, changes=changes)
    assert caught.value.code == code
    assert not (tmp_path / "new").exists()


def test_an_unknown_method_names_those_that_exist():
    with pytest.raises(UsageError, match="deepatlass") as caught:
        build_method("deepatlass", {})
    assert "deepatlas" in caught.value.hint


def test_rates_fall_as_the_stage_says():
    turn = Turn(("a",), lambda batch: None)
    steps = Stage("s", (turn,), 10, decay=(0.5, 0.8))
    assert [round(steps.rate_factor(n), 3) for n in (0, 4, 5, 9)] == [1, 1, 0.2, 0.04]
    curve = Stage("s", (turn,), 10, cosine=True)
    assert curve.rate_factor(0) == 1
    assert curve.rate_factor(5) == pytest.approx(0.5)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    file = tmp_path / checkpoint.FILE
    checkpoint.save(file, {"weights": {"a": torch.zeros(1000)}})
    whole = file.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"text"):
        file.write_bytes(data)
        with pytest.raises(ModelError) as caught:
            checkpoint.load(file)
        assert caught.value.code == "checkpoint.unreadable"


def test_a_checkpoint_runs_no_code(tmp_path):
    class Sly:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"format": 1, "weights": Sly()}, tmp_path / "sly.pt")
    with pytest.raises(ModelError):
        checkpoint.load(tmp_path / "sly.pt")
    assert not (tmp_path / "ran").exists()


def test_mixed_precision_trains_and_stores_whole_weights(study, tmp_path):
    train("siamese", study, tmp_path, config=SHORT, training={**QUICK, "precision": "bfloat16"})
    found = weights(tmp_path)
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert all(bool(torch.isfinite(value).all()) for value in found.values())


def test_a_setting_that_is_newer_than_the_checkpoint_has_its_default(study, tmp_path):
    with pytest.raises(Stopped):
        train("siamese", study, tmp_path, config=SHORT, training=QUICK, progress=stop_at("joint", 3))
    content = checkpoint.load(tmp_path)
    del content["format"], content["settings"]["mixed_chance"], content["config"]["squarings"]
    checkpoint.save(tmp_path / checkpoint.FILE, content)
    train("siamese", study, tmp_path, config=SHORT, training=QUICK, resume=True)
    assert checkpoint.load(tmp_path)["stage"] == 2


def test_tensorboard_is_an_extra(study, tmp_path, monkeypatch):
    """Asked for and not there: an error with a hint. There: it gets every value of the log."""
    asked = {**QUICK, "tensorboard": True}
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModelError) as caught:
        train("siamese", study, tmp_path / "none", config=SHORT, training=asked)
    assert caught.value.code == "extra.missing"

    values = []

    class Writer:
        def __init__(self, folder):
            assert folder.endswith("tensorboard")

        def add_scalar(self, name, value, rounds):
            values.append((name, rounds))

        def flush(self):
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    train("siamese", study, tmp_path / "some", config=SHORT, training=asked)
    assert ("joint/validation/folds", 3) in values
    assert len(values) == len((tmp_path / "some/log.csv").read_text().splitlines()) - 1


def scheduled(monkeypatch, **changes):
    """The siamese recipe with one stage of one turn, which has these hooks."""
    from jrscli.methods.siamese import Siamese

    optimiser = changes.pop("optimiser", "adam")

    def stages(self):
        turn = Turn(("backbone",), self.segmentation_loss, optimiser=optimiser)
        hooks = {name: (lambda *given, hook=hook: hook(self, *given)) for name, hook in changes.items()}
        return [Stage("only", (turn,), 6, keep_best=False, **hooks)]

    monkeypatch.setattr(Siamese, "stages", stages)


def test_a_stage_may_end_before_its_time(study, tmp_path, monkeypatch):
    """What it is asked depends on what a checkpoint holds, so a resumed run ends it in the same round."""
    from jrscli.methods.siamese import Siamese

    plain = Siamese.__init__

    def counting(self, config):
        plain(self, config)
        self.register_buffer("seen", torch.zeros(()))

    monkeypatch.setattr(Siamese, "__init__", counting)
    scheduled(monkeypatch, after_round=lambda self, number: self.seen.add_(1), until=lambda self: bool(self.seen >= 4))
    train("siamese", study, tmp_path / "whole", config=SHORT, training=QUICK)
    with pytest.raises(Stopped):
        train("siamese", study, tmp_path / "broken", config=SHORT, training=QUICK, progress=stop_at("only", 3))
    train("siamese", study, tmp_path / "broken", config=SHORT, training=QUICK, resume=True)
    for folder in ("whole", "broken"):
        assert float(weights(tmp_path / folder)["seen"]) == 4
        assert checkpoint.load(tmp_path / folder)["stage"] == 1
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_what_a_method_watches_is_logged_and_not_minimised(study, tmp_path, monkeypatch):
    from jrscli.methods.siamese import Siamese

    loss = Siamese.segmentation_loss

    def watching(self, batch):
        self.watch(brightness=batch.fixed.mean(), nothing=float("inf"))
        return loss(self, batch)

    monkeypatch.setattr(Siamese, "segmentation_loss", watching)
    scheduled(monkeypatch)
    train("siamese", study, tmp_path, config=SHORT, training=QUICK)
    with (tmp_path / "log.csv").open() as log:
        rows = [row for row in csv.DictReader(log) if row["what"] == "watch"]
    assert {row["name"] for row in rows} == {"backbone.brightness", "backbone.nothing"}
    assert len(rows) == 12
    assert all(0 < float(row["value"]) < 1 for row in rows if row["name"] == "backbone.brightness")


def test_a_turn_may_choose_its_optimiser(study, tmp_path, monkeypatch):
    """RMSprop keeps one square per weight and no momentum; its state comes back from a checkpoint."""
    scheduled(monkeypatch, optimiser="rmsprop")
    with pytest.raises(Stopped):
        train("siamese", study, tmp_path, config=SHORT, training=QUICK, progress=stop_at("only", 3))
    (state,) = checkpoint.load(tmp_path)["optimisers"]
    assert set(state["state"][0]) == {"step", "square_avg"}
