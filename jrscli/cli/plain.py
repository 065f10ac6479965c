"""Help in plain text: what is printed in a terminal can be read, piped and copied."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from typer.core import TyperCommand

_CONTEXT: ContextVar[Any] = ContextVar("jrs command", default=None)


def current_context() -> Any:
    """The parser's context of the command that runs; None outside of commands."""
    return _CONTEXT.get()


class PlainCommand(TyperCommand):
    """A command whose usage line names its arguments without braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The parts of the usage line."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        token = _CONTEXT.set(ctx)
        try:
            return super().invoke(ctx)
        finally:
            _CONTEXT.reset(token)
