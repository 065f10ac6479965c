"""One loaded graph of a model: arrays by role in, arrays by role out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from jrscli.errors import ModelError, Notice
from jrscli.roles import output_name
from jrscli.runtime.card_graph import Graph
from jrscli.runtime.providers import load_session
from jrscli.runtime.store import Model
from jrscli.turn import turn

_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


class Session:
    """A graph that has passed its checks and is ready to run, many times over.

    device: where it really runs ("cpu", "cuda:0"). notices: what was odd on the way there.

    Raises ModelError `model.sha256` and the other codes of `Model.graph_file`, `model.graph` if it is no ONNX graph or its
    inputs and outputs are not those of the card; UsageError `usage.device`, ProviderError `provider.cuda`.
    """

    def __init__(self, model: Model, name: str, device: str = "auto", threads: int | None = None) -> None:
        data, path = model.graph_file(name)
        self.model = model
        self.name = name
        self.graph: Graph = model.card.graphs[name]
        self._flat = model.card.grid_of(name).dims == 2
        try:
            self._session, self.device, self.notices = _loaded(data if path is None else str(path), device, threads)
        except ModelError as error:
            raise ModelError(
                f"the graph {self.graph.file} of {model.title} does not load: {error.message}", code=error.code, hint=error.hint
            ) from None
        self._types = {entry.name: _FLOATS.get(entry.type, np.float32) for entry in self._session.get_inputs()}
        outputs = [entry.name for entry in self._session.get_outputs()]
        self._outputs = [output_name(role, self.graph.inputs) for role in self.graph.outputs]
        for words, found, wanted in (("takes", self._types, self.graph.inputs), ("gives", outputs, self._outputs)):
            if set(found) != set(wanted):
                raise ModelError(
                    f"the graph {self.graph.file} {words} {', '.join(found)} where its card says {', '.join(wanted)}",
                    code="model.graph",
                    hint="card and graph do not belong together; get the model again",
                )

    def run(self, inputs: Mapping[str, Float[np.ndarray, "1 _ ..."]]) -> dict[str, Float[np.ndarray, "1 _ ..."]]:
        """The outputs by role, float32, for the inputs by role: (1, c, i, j, k); a 2-D model sees (1, c, i, j).

        Raises ModelError `model.run`.
        """
        feed = {}
        for role in self.graph.inputs:
            array = np.asarray(inputs[role])
            feed[role] = np.ascontiguousarray(array[..., 0] if self._flat else array, self._types[role])
        try:
            with turn():
                found = self._session.run(self._outputs, feed)
        except Exception as error:
            raise _failed(error, self.graph.file) from None
        arrays = (np.asarray(array, np.float32) for array in found)
        return {role: array[..., None] if self._flat else array for role, array in zip(self.graph.outputs, arrays, strict=True)}


def _loaded(source: bytes | str, device: str, threads: int | None) -> tuple[Any, str, tuple[Notice, ...]]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        return load_session(source, device, threads)
    except (
        state.InvalidProtobuf,
        state.InvalidGraph,
        state.InvalidArgument,
        state.NotImplemented,
        state.NoSuchFile,
        state.Fail,
        state.RuntimeException,
    ) as error:
        raise ModelError(
            _first_line(error), code="model.graph", hint="it is damaged, or made for a newer onnxruntime (jrs doctor)"
        ) from None


def _failed(error: Exception, file: str) -> ModelError | MemoryError:
    text = str(error)
    if "allocate" in text.lower() or "memory" in text.lower():
        return MemoryError(f"not enough memory to run {file}")
    return ModelError(
        f"the graph {file} failed: {_first_line(error)}",
        code="model.run",
        hint="check that the image fits the model (jrs models info)",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
