"""What an exported graph must not say."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

from jrscli.nn.unet import UNet
from jrscli.recipe import Graph
from jrscli.training.onnx_graph import onnx_bytes, without_traces


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


def test_a_grid_of_one_voxel_on_the_coarsest_level_leaves_the_others_open() -> None:
    """Thick slices: 16 of them are halved four times."""
    network = UNet(1, ((2,), (2,)), ((2,),), dims=2)
    data = onnx_bytes(Graph("segment", network, ("image",), ("logits",)), [1], (4, 2), 2)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for shape in ((4, 2), (2, 2), (6, 8)):
        image = np.random.default_rng(0).random((1, 1, *shape), np.float32)
        found = session.run(["logits"], {"image": image})[0]
        with torch.no_grad():
            assert np.allclose(found, network(torch.from_numpy(image)).numpy(), atol=1e-5)
