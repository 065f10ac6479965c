"""Tolerances as YAML: the table that comes with the program, and a site's own."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from jrscli.errors import UsageError
from jrscli.io.content import existing
from jrscli.metrics.tolerances import SRS_MM, Tolerances, tolerances_from

SRS = "srs"
_LARGEST = 1_000_000


def read_tolerances(given: Path | str | None = None) -> Tolerances:
    """The default tolerances with what a site's file overrides; "srs" takes 1 mm in place of the voxel size.

    Raises InputError `input.missing`, UsageError `tolerances.yaml`, `tolerances.key`, `tolerances.value`.
    """
    base = tolerances_from(_parsed(resources.files("jrscli.metrics").joinpath("organs.yaml").read_bytes()))
    if given is None:
        return base
    if str(given) == SRS and not Path(given).exists():
        return replace(base, voxel_mm=SRS_MM, source="TG-132, stereotactic radiosurgery (1 mm)")
    path = existing(given)
    try:
        content = path.read_bytes()[: _LARGEST + 1]
    except OSError as error:
        raise _bad(path.name) from error
    if len(content) > _LARGEST:
        raise _bad(path.name)
    digest = hashlib.sha256(content).hexdigest()
    return tolerances_from(_parsed(content, path.name), base, digest=digest, source=f"site table {digest[:8]}")


def _parsed(content: bytes, name: str = "") -> Any:
    try:
        return yaml.safe_load(content.decode("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _bad(name) from error


def _bad(name: str) -> UsageError:
    return UsageError(
        f"{name} is no YAML file of tolerances",
        code="tolerances.yaml",
        hint="for example  organs: {Bladder: {uncertainty_mm: 2, source: our readers}}",
    )
