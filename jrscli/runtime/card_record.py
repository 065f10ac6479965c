"""What a card says of how its model came about and what it was measured to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jrscli.runtime.card_graph import FILE, SHA256
from jrscli.runtime.plain import need


@dataclass(frozen=True)
class Statistics:
    """Four numbers that tell one tensor from another."""

    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True)
class Golden:
    """A run that can be repeated: inputs made from ``seed`` and ``shape``, and what came out, by graph and output role."""

    seed: int
    shape: tuple[int, int, int]
    expected: Mapping[str, Mapping[str, Statistics]]


@dataclass(frozen=True)
class File:
    """A file beside the card, with its hash."""

    file: str
    sha256: str

    def __post_init__(self) -> None:
        need(bool(FILE.fullmatch(self.file)), f"{self.file!r} is not a plain file name")
        need(bool(SHA256.fullmatch(self.sha256)), "a sha256 is 64 hexadecimal digits, lower case")


@dataclass(frozen=True)
class Trained:
    """How the weights came about. data: the name of the set; split: which part of it; config: the file of settings.

    simulation: parameters of what was simulated while it learned; none where nothing was. segmenter: which other training made
    the graph that labels images, where one did.
    """

    data: str
    licence: str
    split: str
    seed: int
    config: str
    version: str
    date: str
    simulation: Mapping[str, float] = field(default_factory=dict)
    segmenter: str = ""


@dataclass(frozen=True)
class Score:
    """What was measured on one task. n: how many cases; values: by metric ("dice", "dice_refine_0", "folding_percent" …)."""

    n: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Scores:
    """What was measured on one data set. baselines: the same run without the model ("affine": {dice: …}, …)."""

    split: str
    registration: Score | None = None
    segmentation: Score | None = None
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
