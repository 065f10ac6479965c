"""The version that written files name. (The package itself sits above this floor, so it cannot be asked.)"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def software_version() -> str:
    """The version of the installed package."""
    try:
        return version("jrscli")
    except PackageNotFoundError:
        return "unknown"
