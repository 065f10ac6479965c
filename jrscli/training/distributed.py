"""Several processes that train one model, started by torchrun; without it everything here does nothing.

Gradients are averaged by hand after each backward pass: turns that train some networks and freeze others, and steps that one
process skips, need no wrapper round the networks then.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import distributed, nn


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process, where torchrun started several on one machine and no particular one was asked for."""
    place = os.environ.get("LOCAL_RANK")
    return torch.device("cuda", int(place)) if place and device.type == "cuda" and device.index is None else device


class Ranks:
    """The processes of this training (``RANK`` and ``WORLD_SIZE`` as torchrun sets them)."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1 and not distributed.is_initialized():
            distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")

    @property
    def first(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def average(self, weights: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes; one that has none counts as zero."""
        if self.size == 1:
            return
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            distributed.all_reduce(weight.grad)
            weight.grad /= self.size

    def share(self, module: nn.Module) -> None:
        """Give every process the first one's weights and running statistics."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)
