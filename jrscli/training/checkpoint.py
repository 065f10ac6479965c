"""Checkpoints: everything a training needs to go on as if it had never stopped, in one file that is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from jrscli.errors import ModelError

FORMAT = 1
FILE = "checkpoint.pt"


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint beside the old one, then put it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save({"format": FORMAT, **content}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path | str) -> dict[str, Any]:
    """The content of a checkpoint (the file, or the folder of a training); tensors on the CPU. Runs no code from the file.

    Raises ModelError `checkpoint.missing`, `checkpoint.unreadable`.
    """
    path = Path(path)
    if path.is_dir():
        path = path / FILE
    if not path.is_file():
        raise ModelError(
            f"there is no checkpoint {path.name}", code="checkpoint.missing", hint="give the folder that jrs train wrote"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch's unpickler fails on a damaged file in every way there is
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(
            f"{path.name} is no checkpoint of jrs train",
            code="checkpoint.unreadable",
            hint="it may be cut off, or of another version",
        )
    return content
