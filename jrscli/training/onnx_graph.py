"""One graph as ONNX: traced by torch's exporter, its shapes left open where the method allows any."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import torch

from jrscli.errors import ModelError
from jrscli.recipe import Graph
from jrscli.roles import output_name

LARGEST_MULTIPLE = 64
"""The largest grid axis a dynamic graph promises, in multiples of the method's own."""


def onnx_bytes(graph: Graph, channels: Sequence[int], shape: Sequence[int], multiple: int | None) -> bytes:
    """The graph as one ONNX file without external data, traced on a grid of ``shape``, or a larger one where any will do.

    channels: of each input. multiple: every axis may be any multiple of it; None fixes the shape.

    Raises ModelError `export.failed`.
    """
    module = graph.module.eval()
    if multiple is not None:
        # an axis that is one voxel long on the coarsest level would be taken for one that always is
        shape = [max(n, 2 * multiple) for n in shape]
    example = tuple(torch.rand(1, c, *shape) for c in channels)
    dynamic = None
    if multiple is not None:
        axes = {2 + n: multiple * torch.export.Dim(f"n{n}", min=1, max=LARGEST_MULTIPLE) for n in range(len(shape))}
        dynamic = tuple(axes for _ in channels)
    target = io.BytesIO()
    with _quiet():
        try:
            program = torch.onnx.export(
                module,
                example,
                input_names=list(graph.inputs),
                output_names=[output_name(role, graph.inputs) for role in graph.outputs],
                dynamic_shapes=dynamic,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            raise ModelError(
                f"the graph {graph.name} cannot be exported: {str(error).splitlines()[0][:200]}",
                code="export.failed",
                hint="a graph may hold no loop over data and no sampling on a grid; see docs/howto/new-method.md",
            ) from error
        if program is None:
            raise ModelError(f"the graph {graph.name} cannot be exported", code="export.failed", hint="update torch")
        program.save(target)  # type: ignore[arg-type]
    return without_traces(target.getvalue())


def without_traces(graph: bytes) -> bytes:
    """The graph without the exporter's notes on its nodes: they hold stack traces with the paths of this machine."""
    import onnx

    model = onnx.load_from_string(graph)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in model.functions:
        for node in function.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
    return model.SerializeToString()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of packages it does not need and of its own next version."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
