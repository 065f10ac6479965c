"""What of a model's card no checkpoint can know: its name, licence, limits, measured scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jrscli.errors import ModelError
from jrscli.runtime import card as cards
from jrscli.runtime.plain import PlainError, build, need
from jrscli.runtime.strict_yaml import YamlError, load
from jrscli.training import checkpoint

CARD = ".yaml"
"""How the name of a card ends."""


@dataclass(frozen=True)
class Details:
    """What of a card no checkpoint can know.

    volumes_cc: as in a card, in place of what the training images gave. scores: as in a card, filled in by who measured them.
    refine: steps of refinement where none are asked for. cropped: whether images are larger than the grid and are used cropped
    to it, as they were in training; in place of what the training images gave. finish, fusion, agreement, second_share: as in
    a card, chosen on validation. largest: of the grid of a model that sees crops, in place of what the training images gave.
    demonstration: the model shows a method and is never chosen by itself. half_weights: weights are rounded to half-precision
    numbers and kept as such, in files of half the size; they are used in single precision.
    """

    name: str
    version: str = "0.1.0"
    licence: str = ""
    refine: int = 0
    cropped: bool | None = None
    largest: tuple[int, int, int] | None = None
    finish: bool = False
    fusion: Mapping[str, float] = dataclasses.field(default_factory=dict)
    agreement: Mapping[str, float] = dataclasses.field(default_factory=dict)
    second_share: Mapping[str, float] = dataclasses.field(default_factory=dict)
    cite: str = ""
    limits: tuple[str, ...] = ()
    volumes_cc: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    scores: Mapping[str, cards.Scores] = dataclasses.field(default_factory=dict)
    config: str = ""
    date: str = ""
    demonstration: bool = False
    half_weights: bool = False

    def __post_init__(self) -> None:
        need(self.largest is None or min(self.largest) > 0, "largest must be positive")


def read_details(
    path: Path | None,
    *,
    name: str | None = None,
    refine: int | None = None,
    half_weights: bool | None = None,
    source: Path | str | None = None,
) -> Details:
    """The details in a YAML file (or none), with what is given besides; without a name the checkpoint's method is the name,
    or that of the model whose card ``source`` is.

    Raises ModelError `card.unreadable`, `card.invalid`, and the codes of `checkpoint.load`.
    """
    found: Any = {}
    try:
        if path is not None:
            found = load(path.read_bytes())
        options = {"name": name, "refine": refine, "half_weights": half_weights}
        given = {key: value for key, value in options.items() if value is not None}
        merged = {**found, **given} if isinstance(found, dict) else found
        if isinstance(merged, dict) and "name" not in merged and source is not None:
            path_of = Path(source)
            merged["name"] = path_of.stem if path_of.suffix == CARD else checkpoint.load(source)["method"].replace("_", "-")
        return build(Details, merged)
    except OSError as error:
        raise ModelError(
            f"the details cannot be read: {error.strerror}", code="card.unreadable", hint="check the path of --card"
        ) from None
    except (PlainError, YamlError) as error:
        known = ", ".join(item.name for item in dataclasses.fields(Details))
        raise ModelError(f"the details are not valid: {error}", code="card.invalid", hint=f"known: {known}") from None
