"""Weights kept as half-precision numbers: files of half the size, for networks that compute in single precision as before."""

from __future__ import annotations

import copy
import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from jrscli.recipe import Graph

FEWEST = 1024
"""Tensors of fewer numbers (biases, norms) stay as they are: there is nothing to be won."""
LARGEST = torch.finfo(torch.float16).max


def rounded(graph: Graph) -> Graph:
    """A copy of the graph whose large weights are the nearest half-precision numbers: nothing is lost by keeping them as such.

    Batch norms are joined to the convolutions before them first, as the exporter would do, or the rounding were undone by it.
    """
    module = copy.deepcopy(graph.module).eval()
    for part in list(module.modules()):
        if isinstance(part, nn.Sequential):
            _join_norms(part)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.numel() >= FEWEST and weight.dtype == torch.float32:
                weight.copy_(weight.clamp(-LARGEST, LARGEST).to(torch.float16))
    return dataclasses.replace(graph, module=module)


def _join_norms(layers: nn.Sequential) -> None:
    norms: Any = (nn.BatchNorm2d, nn.BatchNorm3d)
    for n, (conv, norm) in enumerate(pairwise(list(layers))):
        if isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, norms):
            layers[n], layers[n + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def kept_as_half(graph: bytes) -> bytes:
    """An ONNX graph whose large weights are half-precision numbers, turned into single ones as it is loaded.

    A weight that would not come back as it was (the exporter may have joined a norm to it) stays.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        numbers = numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            half = numbers.astype(np.float16)
        if numbers.size < FEWEST or not np.array_equal(half.astype(np.float32), numbers):
            continue
        name, stored = weight.name, f"{weight.name}.half"
        weight.CopyFrom(numpy_helper.from_array(half, stored))
        casts.append(helper.make_node("Cast", [stored], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()
