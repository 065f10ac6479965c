"""How much memory a graph will need, before it is run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORKSPACE = 1.3
"""Allocators keep more than is alive, and convolutions need room to work."""


def estimate_bytes(data: bytes, spatial: Sequence[int]) -> int:
    """About the peak memory of one run on images of ``spatial`` voxels: the largest sum of tensors alive at one node.

    The shapes are inferred by onnx; a tensor whose shape cannot be told counts as the largest one known.
    """
    import onnx
    from onnx import shape_inference

    model = onnx.load_model_from_string(data)
    for entry in model.graph.input:
        dims = entry.type.tensor_type.shape.dim
        for n, dim in enumerate(dims):
            if not dim.dim_value:
                dim.Clear()
                dim.dim_value = 1 if n < 2 else int(spatial[n - 2])
    for entry in model.graph.output:
        for dim in entry.type.tensor_type.shape.dim:
            if not dim.dim_value:
                dim.Clear()
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    sizes = {entry.name: _bytes(entry) for entry in (*graph.input, *graph.value_info, *graph.output)}
    weights = {entry.name for entry in graph.initializer}
    unknown = max(sizes.values(), default=0)
    last: dict[str, int] = {}
    for n, node in enumerate(graph.node):
        for name in node.input:
            last[name] = n
    alive: dict[str, int] = {entry.name: sizes[entry.name] for entry in graph.input if entry.name not in weights}
    peak = 0
    kept = {entry.name for entry in graph.output}
    for n, node in enumerate(graph.node):
        constant = node.op_type in ("Constant", "Shape")
        for name in node.output:
            alive[name] = 0 if constant else sizes.get(name) or unknown
        peak = max(peak, sum(alive.values()))
        for name in (*node.input, *node.output):
            if last.get(name, -1) <= n and name not in kept:
                alive.pop(name, None)
    return int(WORKSPACE * peak) + len(data)


def _bytes(entry: Any) -> int:
    kind = entry.type.tensor_type
    size = {1: 4, 10: 2, 11: 8, 7: 8}.get(kind.elem_type, 4)
    for dim in kind.shape.dim:
        if not dim.dim_value:
            return 0
        size *= dim.dim_value
    return size


def free_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not say."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return None
