"""How a long computation tells how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``: stage is a short word ("linear"), done runs from 0 to total."""


def silent(stage: str, done: int, total: int) -> None:
    """The listener that says nothing."""
