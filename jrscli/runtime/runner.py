"""Running the graphs of a model on whole images: sessions kept loaded, tiles where memory or the graph asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from jrscli.errors import JrsError, ModelError, Notice, ProviderError
from jrscli.progress import Progress, silent
from jrscli.runtime.golden import check_golden
from jrscli.runtime.memory import estimate_bytes, free_bytes
from jrscli.runtime.session import Session
from jrscli.runtime.store import Model
from jrscli.runtime.tiles import run_tiled

SHARE_OF_MEMORY = 0.75
SMALL_BYTES = 4_000
"""No network of a sensible size needs more for one voxel: where that much is free no estimate is made."""


class Runner:
    """The loaded graphs of a model. notices: what was odd while loading.

    device: "auto", "cpu", "cuda" or "cuda:N". On anything but a CPU each graph has to pass its golden run first.
    memory_bytes: what a run may take; by default three quarters of what is free.
    """

    def __init__(
        self, model: Model, *, device: str = "auto", threads: int | None = None, memory_bytes: int | None = None
    ) -> None:
        self.model = model
        self.notices: list[Notice] = []
        self._device, self._threads, self._memory = device, threads, memory_bytes
        self._sessions: dict[str, Session] = {}
        self._fits: dict[tuple[str, tuple[int, ...]], bool] = {}

    @property
    def device(self) -> str | None:
        """Where the loaded graphs run; None before the first one is loaded."""
        return next((session.device for session in self._sessions.values()), None)

    def session(self, graph: str) -> Session:
        """The loaded graph of this name.

        Raises what `Session` raises; ProviderError `provider.golden` where the device computes something else.
        """
        if graph not in self._sessions:
            session = Session(self.model, graph, self._device, self._threads)
            if session.device != "cpu":
                try:
                    check_golden(session)
                except ModelError as error:
                    raise ProviderError(error.message, code="provider.golden", hint="use --device cpu") from None
            self.notices.extend(notice for notice in session.notices if notice not in self.notices)
            self._sessions[graph] = session
        return self._sessions[graph]

    def run(
        self, graph: str, inputs: Mapping[str, Float32[np.ndarray, "c i j k"]], progress: Progress = silent
    ) -> dict[str, Float32[np.ndarray, "c i j k"]]:
        """The outputs of a graph by role, without the batch axis; slice by slice for a 2-D model.

        Raises JrsError `memory` before anything is run that would not fit, and what `Session` raises.
        """
        session = self.session(graph)
        batch = {role: array[None] for role, array in inputs.items()}
        shape = next(iter(batch.values())).shape[2:]
        grid = self.model.card.grid_of(graph)
        if grid.dims == 2 and shape[2] > 1:
            slices = [session.run({role: array[..., k : k + 1] for role, array in batch.items()}) for k in range(shape[2])]
            found = {role: np.concatenate([one[role] for one in slices], axis=-1) for role in slices[0]}
        elif self._needs_tiles(graph, shape):
            assert grid.patch is not None
            assert grid.overlap is not None
            found = run_tiled(session.run, batch, grid.patch, grid.overlap, grid.multiple or (1, 1, 1), progress)
        else:
            progress("infer", 0, 1)
            found = session.run(batch)
            progress("infer", 1, 1)
        return {role: array[0] for role, array in found.items()}

    def _needs_tiles(self, graph: str, shape: Sequence[int]) -> bool:
        """Whether the image is cut into tiles: where the graph takes one shape only, or memory would not do."""
        grid = self.model.card.grid_of(graph)
        larger = grid.patch is not None and any(n > p for n, p in zip(shape, grid.patch, strict=True))
        if larger and grid.is_static:
            return True
        if self._fit(graph, shape):
            return False
        if larger and grid.patch is not None and self._fit(graph, grid.patch):
            return True
        raise JrsError(
            f"{self.model.title} needs more memory than there is for {'×'.join(map(str, shape))} voxels",
            code="memory",
            hint="close other programs, crop the images, or do it without a model: --model none",
        )

    def _fit(self, graph: str, shape: Sequence[int]) -> bool:
        key = (graph, tuple(shape))
        if key not in self._fits:
            allowed = self._memory
            if allowed is None:
                free = free_bytes()
                allowed = None if free is None else int(SHARE_OF_MEMORY * free)
            self._fits[key] = allowed is None or self._needed(graph, shape, allowed) <= allowed
        return self._fits[key]

    def _needed(self, graph: str, shape: Sequence[int], allowed: int) -> int:
        rough = int(np.prod(shape)) * SMALL_BYTES
        return rough if rough < allowed else estimate_bytes(self.model.graph_file(graph)[0], shape)
