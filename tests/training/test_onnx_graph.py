"""What an exported graph must not say."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from jrscli.training.onnx_graph import without_traces


def test_a_graph_tells_nothing_of_the_machine_it_was_made_on() -> None:
    place = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Relu", ["x"], ["y"], doc_string="/home/someone/model.py")
    node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File /home/someone/model.py, line 1")
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([node], "g", [place], [result]))
    assert b"someone" in model.SerializeToString()
    cleaned = without_traces(model.SerializeToString())
    assert b"someone" not in cleaned
    onnx.checker.check_model(onnx.load_from_string(cleaned))
