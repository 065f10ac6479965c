"""What a graph would read beside itself: nothing, unless its card names the very file and its hash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from jrscli.errors import ModelError
from jrscli.runtime.card_graph import Graph


def check_external_data(data: bytes, graph: Graph, title: str) -> tuple[str, ...]:
    """The names of the further files that the graph reads, all of them allowed by the card.

    A tensor that lies outside names a file; the onnx runtime would open any path. So a path that is absolute or leaves the
    folder is refused, and so is every file that the card does not list with its hash.

    Raises ModelError `model.external_data`, `model.graph`.
    """
    if b"location" not in data:  # no tensor outside without that key: most models need no look inside
        return ()
    names = sorted(set(_locations(_parsed(data, title))))
    for name in names:
        inside = PurePosixPath(name).name == name == PureWindowsPath(name).name and name not in ("", ".", "..")
        if not inside or name not in graph.external_data:
            what = "a file that its card does not list" if inside else "a file outside its folder"
            raise ModelError(
                f"the graph {graph.file} of {title} wants to read {what}",
                code="model.external_data",
                hint="such a model is refused; export it as one file per graph",
            )
    return tuple(names)


def _parsed(data: bytes, title: str) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_model_from_string(data)
    except DecodeError:
        raise ModelError(
            f"a graph of {title} is not an ONNX model", code="model.graph", hint="get the model again and import it"
        ) from None


def _locations(model: Any) -> Iterator[str]:
    for tensor in _tensors(model.graph):
        yield from (entry.value for entry in tensor.external_data if entry.key == "location")
    for function in model.functions:
        for tensor in _of_nodes(function.node):
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors(graph)
