"""Recipes: one published method, one file; they do not import one another."""

from __future__ import annotations

import pkgutil


def names() -> list[str]:
    """The recipes that exist, found without importing any of them (nor torch)."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
