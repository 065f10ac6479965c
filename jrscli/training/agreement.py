"""Whether ONNX computes what torch computes, and the golden run by which a card lets others ask the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import torch

from jrscli.errors import ModelError
from jrscli.recipe import Graph
from jrscli.runtime import card as cards
from jrscli.runtime.golden import golden_inputs, statistics
from jrscli.runtime.session import Session
from jrscli.runtime.store import Model

AGREEMENT = 1e-4
"""The largest difference between ONNX and torch, in the units of an output, or of its largest value where that is above 1."""


def golden_by_torch(card: cards.Card, graphs: Iterable[Graph]) -> cards.Golden:
    """The golden run of the card, that of these graphs by torch."""
    expected = dict(card.golden.expected)
    for graph in graphs:
        inputs = golden_inputs(card, graph.name)
        arrays = _by_torch(graph, [inputs[role] for role in graph.inputs], flat=card.grid_of(graph.name).dims == 2)
        expected[graph.name] = {role: statistics(array) for role, array in arrays.items()}
    return dataclasses.replace(card.golden, expected=expected)


@torch.no_grad()
def _by_torch(graph: Graph, arrays: list[np.ndarray], *, flat: bool) -> dict[str, np.ndarray]:
    found = graph.module(*(torch.from_numpy(array[..., 0] if flat else array) for array in arrays))
    outputs = found if isinstance(found, tuple) else (found,)
    wide = [output.numpy()[..., None] if flat else output.numpy() for output in outputs]
    return dict(zip(graph.outputs, wide, strict=True))


def checked_shapes(card: cards.Card, graph: str) -> list[tuple[int, int, int]]:
    """The shapes on which a graph must agree with torch: three where its grid is dynamic, else the one it has."""
    size, multiple = card.golden_shape(graph), card.grid_of(graph).multiple
    if multiple is None:
        return [size]
    wider = tuple(n + m * (m > 1) for n, m in zip(size, multiple, strict=True))
    turned = tuple(max(n - m * (a != 1), m) if m > 1 else n for a, (n, m) in enumerate(zip(size, multiple, strict=True)))
    return [size, (wider[0], size[1], wider[2]), (turned[0], turned[1], turned[2])]


def _halved(shape: tuple[int, int, int], multiple: int) -> tuple[int, int, int]:
    i, j, k = (max(n // 2 // multiple * multiple, multiple) for n in shape)
    return i, j, k


def compare(model: Model, graph: Graph) -> None:
    """Raise ModelError `export.differs` where a graph of the model, by ONNX, does not give what torch gives."""
    session = Session(model, graph.name, "cpu", 1)
    for shape in checked_shapes(model.card, graph.name):
        if graph.multiple is not None:  # of crops
            shape = _halved(shape, graph.multiple)
        inputs = golden_inputs(model.card, graph.name, shape)
        flat = model.card.grid_of(graph.name).dims == 2
        wanted = _by_torch(graph, [inputs[role] for role in graph.inputs], flat=flat)
        for role, array in session.run(inputs).items():
            gap = float(np.abs(array - wanted[role]).max()) if array.shape == wanted[role].shape else float("inf")
            if not gap <= AGREEMENT * max(1.0, float(np.abs(wanted[role]).max())):
                raise ModelError(
                    f"the ONNX graph {graph.name} differs from torch by {gap:.2g} ({role}, grid {shape}) "
                    f"where {AGREEMENT:g} of its size is allowed",
                    code="export.differs",
                    hint="report this with the method's name and the version of torch",
                )
