"""Puts the trained models into the wheel; with JRS_FREE_MODELS=1 those that may not be used commercially stay out."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# this file runs where nothing but hatchling is installed, so the one line that counts is read without a YAML reader
LICENCE = re.compile(r"^licence:\s*['\"]?([^'\"\s]+)", re.MULTILINE)


class Models(BuildHookInterface):
    """Adds the files of models/ as jrscli/models/."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files; an editable installation finds them in the checkout."""
        if version == "editable":
            return
        folder = Path(self.root, "models")
        left_out = bound(folder) if os.environ.get("JRS_FREE_MODELS") == "1" else set()
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in left_out:
                build_data["force_include"][str(path)] = f"jrscli/models/{name}"


def bound(folder: Path) -> set[str]:
    """The files of the models whose licence is for non-commercial use only."""
    cards = {path.stem: path.read_text("utf-8") for path in folder.glob("*.yaml")}
    cards = {name: text for name, text in cards.items() if re.search(r"^graphs:", text, re.MULTILINE)}
    found = set()
    for path in folder.glob("*"):
        # the longest name that a file begins with is its model: heart-2-register.onnx belongs to heart-2, not to heart
        owners = [name for name in cards if path.stem == name or path.name.startswith((f"{name}-", f"{name}."))]
        licence = LICENCE.search(cards[max(owners, key=len)]) if owners else None
        if licence and "NC" in licence[1].upper().replace("_", "-").split("-"):
            found.add(path.name)
    return found
