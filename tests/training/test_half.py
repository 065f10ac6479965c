"""Weights that are kept as half-precision numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from jrscli.nn.unet import UNet, head
from jrscli.recipe import Graph, Method, Stage
from jrscli.runtime.card import Grid
from jrscli.runtime.session import Session
from jrscli.training.cases import DataList
from jrscli.training.details import Details
from jrscli.training.export import export_method
from jrscli.training.half import kept_as_half, rounded

DATA = DataList(name="d", licence="CC0-1.0", grid=Grid(size=(16, 16, 16)), labels=("background", "a"), images="*.nii")


class Small(Method):
    """A segmenter with enough weights to be worth it."""

    multiple = 2

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        network = UNet(1, ((16,), (32, 32)), ((16,),), norm="batch")
        for part in network.modules():
            if isinstance(part, nn.BatchNorm3d):
                nn.init.uniform_(part.running_var, 0.3, 3.0)  # type: ignore[arg-type]
                nn.init.uniform_(part.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
        self.networks = nn.ModuleDict({"segment": nn.Sequential(network, head(16, 2))})

    def stages(self) -> list[Stage]:
        return []

    def graphs(self) -> list[Graph]:
        return [Graph("segment", self.networks["segment"], ("image",), ("logits",))]


def test_files_are_half_as_large_and_give_nearly_the_same(tmp_path: Path) -> None:
    details = Details("whole")
    whole = export_method(Small().eval(), DATA, tmp_path, details, method_name="none", seed=0)
    halved = dataclasses.replace(details, name="half", half_weights=True)
    half = export_method(Small().eval(), DATA, tmp_path, halved, method_name="none", seed=0)
    sizes = [(tmp_path / f"{name}-segment.onnx").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    image = np.random.default_rng(0).random((1, 1, 16, 16, 16), np.float32)
    one, other = (Session(model, "segment", "cpu", 1).run({"image": image})["logits"] for model in (whole, half))
    assert 0 < np.abs(one - other).max() < 2e-3 * np.abs(one).max()
    onnx.checker.check_model(onnx.load(tmp_path / "half-segment.onnx"))


def test_weights_that_would_not_come_back_stay(tmp_path: Path) -> None:
    export_method(Small().eval(), DATA, tmp_path, Details("whole"), method_name="none", seed=0)
    graph = (tmp_path / "whole-segment.onnx").read_bytes()
    assert len(kept_as_half(graph)) == pytest.approx(len(graph), rel=1e-3)


def test_a_checkpoint_is_exported_as_it_is(tmp_path: Path) -> None:
    """Rounded is a copy."""
    method = Small().eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    export_method(method, DATA, tmp_path, Details("half", half_weights=True), method_name="none", seed=0)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert any(isinstance(part, nn.BatchNorm3d) for part in method.modules())


def test_rounding_knows_the_largest_half_and_leaves_small_tensors() -> None:
    layer = nn.Linear(64, 32)
    with torch.no_grad():
        layer.weight[0, 0], layer.weight[0, 1] = 1e6, 1 / 3
        layer.bias[0] = 1 / 3
    layer = rounded(Graph("segment", layer, ("image",), ("logits",))).module
    assert layer.weight[0, 0].item() == 65504
    assert layer.weight[0, 1].item() == torch.tensor(1 / 3, dtype=torch.float16).item()
    assert layer.bias[0].item() == torch.tensor(1 / 3).item()
