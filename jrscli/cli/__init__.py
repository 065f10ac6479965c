"""Words: the command ``jrs``. Nothing heavy is imported before a command runs."""

from __future__ import annotations


def app(arguments: list[str] | None = None) -> int:
    """Run ``jrs`` with these arguments (by default those of the process); the exit code."""
    from jrscli.cli.errors import guarded

    return guarded(arguments)


__all__ = ["app"]
