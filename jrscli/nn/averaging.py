"""Teachers that are running means of what they teach."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def approach(teacher: nn.Module, student: nn.Module, keep: float) -> None:
    """Weights of the teacher become ``keep · teacher + (1 − keep) · student``; running statistics are copied.

    Source: Tarvainen, Valpola, NeurIPS 2017, arXiv:1703.01780, eq. 3.
    """
    for mine, its in zip(teacher.parameters(), student.parameters(), strict=True):
        mine.lerp_(its, 1 - keep)
    for old, new in zip(teacher.buffers(), student.buffers(), strict=True):
        old.copy_(new)
