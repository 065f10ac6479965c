"""The loop over a cine that a model which remembers does not hold in its graph."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jrscli.errors import UsageError
from jrscli.io import write_labels
from jrscli.io.nifti import read_frames, write_frames
from jrscli.runtime.card import Golden, Graph, Grid, Input, Output, Statistics, Window
from jrscli.runtime.golden import golden_run
from jrscli.runtime.predict import Predictor
from jrscli.runtime.session import Session
from jrscli.runtime.store import read_model
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.cine import propagate_cine
from jrscli.workflows.register_sequence import register_sequence

GRID = Geometry((24, 20, 3), np.diag([2.0, 2.0, 8.0, 1.0]))
STEP = 0.5
"""Voxels that the heart below moves from frame to frame, and by which the model's state grows."""


def heart(frame: int) -> Volume:
    """A smooth spot that walks along the first axis."""
    i, j, _ = np.indices(GRID.shape)
    spot = 100 * np.exp(-((i - 9 - STEP * frame) ** 2 + (j - 10) ** 2) / 18)
    return Volume(spot.astype(np.float32), GRID)


@pytest.fixture
def card(make_model, tmp_path) -> Path:
    """A model for slices that says of each frame: one step further than the last one."""
    from onnx import TensorProto, helper, numpy_helper

    grid = Grid(dims=2, orientation=None, multiple=(4, 4, 1))
    model = read_model(make_model(tmp_path, grid=grid, requires=("sequence",)))

    def info(name: str, channels: int):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, "i", "j"])

    takes = [info("fixed", 1), info("moving", 1), info("hidden", 2)]
    gives = [info("displacement", 2), info("next_hidden", 2)]
    step = numpy_helper.from_array(np.array([STEP, 0], np.float32).reshape(1, 2, 1, 1), "step")
    nodes = [
        helper.make_node("Add", ["hidden", "step"], ["next_hidden"]),
        helper.make_node("Identity", ["next_hidden"], ["displacement"]),
    ]
    graph = helper.make_graph(nodes, "g", takes, gives, [step])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    (tmp_path / "tiny-step.onnx").write_bytes(data)
    spec = Input(window=Window(percentiles=(0, 100)))
    inputs = {"fixed": spec, "moving": spec, "hidden": Input(channels=2)}
    outputs = {"displacement": Output("voxels", 2), "hidden": Output("state", 2)}
    graphs = {"step": Graph("tiny-step.onnx", hashlib.sha256(data).hexdigest(), inputs, outputs)}
    nothing = Golden(7, (8, 12, 1), {"step": dict.fromkeys(outputs, Statistics(0, 0, 0, 0))})
    made = dataclasses.replace(model.card, graphs=graphs, golden=nothing)
    made.write(model.path)
    expected = {"step": golden_run(Session(read_model(model.path), "step", "cpu", 1))}
    dataclasses.replace(made, golden=Golden(7, (8, 12, 1), expected)).write(model.path)
    return model.path


def places(labels: LabelMap) -> float:
    """Where along the first axis the label lies, voxels."""
    return float(np.argwhere(labels.array == 1)[:, 0].mean())


@pytest.mark.parametrize(("length", "reference"), [(2, 0), (5, 0), (7, 3), (4, 3)])
def test_the_state_goes_from_frame_to_frame_on_both_sides_of_the_reference(card, length, reference):
    """However long the sequence: n frames away the model has said n steps; a new side begins from nothing."""
    predictor = Predictor(read_model(card), device="cpu", threads=1)
    frames = [heart(abs(t - reference)) for t in range(length)]
    found = register_sequence(frames, reference, predictor)
    assert [one is None for one in found] == [t == reference for t in range(length)]
    middle = GRID.centre_mm[None]
    for t, one in enumerate(found):
        if one is None:
            continue
        moved = one.transform.map_points(middle)[0] - middle[0]
        assert np.allclose(moved, (-2 * STEP * abs(t - reference), 0, 0), atol=0.02)
        assert one.failed is None
        assert one.inverse_consistency_p95_mm < 0.05
        assert one.model == "tiny@1.0"


def test_labels_follow_the_motion(card):
    predictor = Predictor(read_model(card), device="cpu", threads=1)
    i, j, _ = np.indices(GRID.shape)
    labels = LabelMap((((i - 9) ** 2 + (j - 10) ** 2) < 16).astype(np.uint32), GRID, {1: "heart"})
    carried = propagate_cine([heart(t) for t in range(5)], labels, 0, model=predictor).labels
    assert carried[0] is labels
    assert np.allclose([places(one) for one in carried], 9 + STEP * np.arange(5), atol=0.15)


def test_a_field_that_does_not_fit_the_frames_is_marked(card):
    """The heart goes the other way."""
    predictor = Predictor(read_model(card), device="cpu", threads=1)
    found = register_sequence([heart(-2 * t) for t in range(4)], 0, predictor)
    assert found[3] is not None
    assert "less alike" in (found[3].failed or "")


def test_steps_of_refinement_are_refused(card):
    predictor = Predictor(read_model(card), device="cpu", threads=1)
    labels = LabelMap(np.ones(GRID.shape, np.uint32), GRID)
    with pytest.raises(UsageError) as caught:
        propagate_cine([heart(0), heart(1)], labels, 0, model=predictor, refine=5)
    assert caught.value.code == "usage.combination"


def test_jrs_takes_a_model_through_a_cine(card, tmp_path):
    from jrscli.cli.main import commands

    write_frames([heart(t) for t in range(3)], tmp_path / "cine.nii.gz")
    i, j, _ = np.indices(GRID.shape)
    disc = (((i - 9) ** 2 + (j - 10) ** 2) < 16).astype(np.uint32)
    write_labels(LabelMap(disc, GRID, {1: "heart"}), tmp_path / "labels.nii.gz")
    words = ["propagate-contours", tmp_path / "cine.nii.gz", tmp_path / "labels.nii.gz", "--labelled-frame", 0]
    words += ["--model", card, "-o", tmp_path / "out", "--device", "cpu"]
    said = CliRunner().invoke(commands, [str(word) for word in words], catch_exceptions=False)
    assert said.exit_code == 0, said.stderr
    assert "model tiny@1.0" in said.stderr
    frames, _ = read_frames(tmp_path / "out" / "seg_space-frames.nii.gz")
    found = [float(np.argwhere(frame.array == 1)[:, 0].mean()) for frame in frames]
    assert np.allclose(np.diff(found), STEP, atol=0.15)
