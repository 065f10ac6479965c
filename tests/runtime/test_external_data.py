"""Weights outside the graph's file: never, unless the card names the file."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jrscli.errors import ExitCode, ModelError
from jrscli.runtime.external_data import check_external_data
from jrscli.runtime.session import Session
from jrscli.runtime.store import read_model

PLACES = ("../secret.bin", "/etc/passwd", "C:\\secret.bin", "sub/weights.bin", "weights.bin", "..")


def outside(location: str, name: str = "weights") -> TensorProto:
    """A tensor whose values lie in a file."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def model_with(tensor: TensorProto, *, where: str) -> bytes:
    """A graph that holds the tensor among its weights, in a node, in a graph within a node, or in a function."""
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    inner = helper.make_graph([constant], "inner", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [4])])
    condition = numpy_helper.from_array(np.array(True), "if")
    nodes = {
        "weights": [helper.make_node("Identity", ["weights"], ["y"])],
        "node": [constant, helper.make_node("Identity", ["c"], ["y"])],
        "subgraph": [helper.make_node("If", ["if"], ["y"], then_branch=inner, else_branch=inner)],
        "function": [helper.make_node("Make", [], ["y"], domain="own")],
    }[where]
    graph = helper.make_graph(nodes, "g", [], [output], [condition, *([tensor] if where == "weights" else [])])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Make", [], ["c"], [constant], opsets[:1])
    return helper.make_model(
        graph, opset_imports=opsets, functions=[function] if where == "function" else []
    ).SerializeToString()


@pytest.fixture(scope="module")
def graph(make_model, tmp_path_factory):
    return read_model(make_model(tmp_path_factory.mktemp("m"))).card.graphs["register"]


@pytest.mark.parametrize("location", PLACES)
def test_a_file_the_card_does_not_list_is_refused(graph, location):
    with pytest.raises(ModelError) as caught:
        check_external_data(model_with(outside(location), where="weights"), graph, "tiny@1")
    assert caught.value.code == "model.external_data"
    assert caught.value.exit_code == ExitCode.MODEL
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("where", ["node", "subgraph", "function"])
def test_no_place_in_a_graph_is_overlooked(graph, where):
    with pytest.raises(ModelError, match="outside its folder"):
        check_external_data(model_with(outside("../x"), where=where), graph, "tiny@1")


def test_a_name_that_only_contains_the_word_is_no_file(graph):
    data = model_with(numpy_helper.from_array(np.zeros(4, np.float32), "allocation"), where="node")
    assert b"location" in data
    assert check_external_data(data, graph, "tiny@1") == ()


def test_what_is_no_onnx_is_refused(graph):
    with pytest.raises(ModelError) as caught:
        check_external_data(b"\xff\xffgarbage location", graph, "tiny@1")
    assert caught.value.code == "model.graph"


def test_a_listed_file_is_read_after_its_hash_was_checked(make_model, tmp_path):
    """The one way in which weights may lie outside: named by the card, beside it, with its hash."""
    path = make_model(tmp_path)
    model = read_model(path)
    loaded = onnx.load(tmp_path / "tiny-register.onnx")
    weights = tmp_path / "tiny.weights"
    onnx.external_data_helper.convert_model_to_external_data(loaded, location=weights.name, size_threshold=0)
    onnx.save(loaded, tmp_path / "tiny-register.onnx")
    model = relisted(model, weights)
    assert Session(model, "register", "cpu", 1).device == "cpu"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelError) as caught:
        Session(model, "register", "cpu", 1)
    assert caught.value.code == "model.sha256"


def relisted(model, weights: Path):
    """The model with the hashes of its graph and of the further file in its card."""
    digest = hashlib.sha256((model.folder / "tiny-register.onnx").read_bytes()).hexdigest()
    allowed = {weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()}
    graph = dataclasses.replace(model.card.graphs["register"], sha256=digest, external_data=allowed)
    card = dataclasses.replace(model.card, graphs={**model.card.graphs, "register": graph})
    return dataclasses.replace(model, card=card)
