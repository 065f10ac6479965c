"""The card of a model: one YAML file beside its graphs that says everything a user or the runtime must know.

Every key is a field of one of these classes; an unknown one is an error, so that a card is never half understood.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from jrscli.errors import ModelError
from jrscli.roles import FIELDS, GRAPHS, INPUTS, LOGITS, ON_MAPS, SECOND, SEGMENT
from jrscli.runtime.card_graph import Field, Graph, Grid, Input, Output, Window
from jrscli.runtime.card_record import File, Golden, Score, Scores, Statistics, Trained
from jrscli.runtime.plain import PlainError, build, need, plain

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
USE = "research use, not a medical device"
DEMONSTRATION = f"{USE}; demonstration"
"""How the use of a model begins that is there to be looked at, and is never chosen by itself."""
LARGEST_CARD = 1_000_000


@dataclasses.dataclass(frozen=True)
class Card:
    """Everything about a model but its weights.

    labels: the names of the channels, background first; a label's number is its channel.
    volumes_cc: the least and the most that a label measures in images of the kind, as the model's own segmenter sees them: what
    tells an image the model knows from others.
    contrasts: what the channels of an image are, where it has several.
    requires: optional roles the model cannot do without. clean_up: labels that the model finds itself and looks at again lose
    their parts smaller than this share of the largest. template: the files of the roles "template" and "template_labels".
    regions_mm: of a model that looks at each label in a box: how far it reaches below and above the label's middle along each
    axis of the grid.
    iterations: passes of the context loop. refine: steps of refinement by the pair optimiser, where none are asked for.
    finish: whether the pair optimiser, after these steps if any, goes on on the images' own grid, finer than the network's.
    fusion: where a contour was carried, too: how much of the fused one is the model's, by label, 0 … 1; midway for the others.
    agreement: the Dice of the model's and a carried contour from which on the carried one is taken for right, by label.
    second_share: how much of the maps is that of the second graph that labels images, by label, 0 … 1; half for the others.
    departures: letters of the documented decisions that differ from the paper. scores: by data set.
    use: begins with "research use, not a medical device".
    """

    name: str
    method: str
    version: str
    licence: str
    grid: Grid
    graphs: Mapping[str, Graph]
    golden: Golden
    use: str
    labels: tuple[str, ...] = ()
    volumes_cc: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    field: Field = dataclasses.field(default_factory=Field)
    contrasts: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    clean_up: float = 0.0
    template: Mapping[str, File] = dataclasses.field(default_factory=dict)
    regions_mm: Mapping[str, tuple[float, float, float, float, float, float]] = dataclasses.field(default_factory=dict)
    iterations: int = 1
    refine: int = 0
    finish: bool = False
    fusion: Mapping[str, float] = dataclasses.field(default_factory=dict)
    agreement: Mapping[str, float] = dataclasses.field(default_factory=dict)
    second_share: Mapping[str, float] = dataclasses.field(default_factory=dict)
    departures: tuple[str, ...] = ()
    simulated_training: bool = False
    trained: Trained | None = None
    scores: Mapping[str, Scores] = dataclasses.field(default_factory=dict)
    limits: tuple[str, ...] = ()
    cite: str = ""

    def __post_init__(self) -> None:
        need(bool(NAME.fullmatch(self.name)), f"name {self.name!r}: small letters, digits and hyphens only")
        need(1 <= len(self.graphs) <= 3, f"one to three graphs are possible, found {len(self.graphs)}")
        for name, graph in self.graphs.items():
            need(name in GRAPHS, f"no graph is called {name} (known: {', '.join(GRAPHS)})")
            need(ON_MAPS.get(name, name) in self.graphs, f"the graph {name} needs the graph {ON_MAPS.get(name)} beside it")
            expected = self.golden.expected.get(name, {})
            need(set(expected) == set(graph.outputs), f"golden.expected.{name} must name the outputs of the graph")
            for role in graph.outputs:
                need(role not in LOGITS or len(self.labels) > 1, f"{role} needs labels, background first")
        need(not set(self.golden.expected) - set(self.graphs), "golden.expected names a graph that is not there")
        need(not set(self.requires) - set(INPUTS), f"requires names unknown roles: {', '.join(self.requires)}")
        known = {"template", "template_labels"}
        need(not set(self.template) - known, f"template has only {', '.join(sorted(known))}")
        need(not self.template or set(self.template) == known, f"template has all of {', '.join(sorted(known))}")
        foreground = set(self.labels[1:])
        need(not self.regions_mm or set(self.regions_mm) == foreground, "regions_mm has a box for each label")
        need(not self.regions_mm or bool(self.template), "regions_mm needs a template, which finds the labels")
        need(not set(self.volumes_cc) - set(self.labels[1:]), "volumes_cc names something that is no label")
        need(not set(self.fusion) - foreground, "fusion names something that is no label")
        need(all(0 <= share <= 1 for share in self.fusion.values()), "the shares of fusion are 0 … 1")
        need(not set(self.agreement) - foreground, "agreement names something that is no label")
        need(all(0 <= least <= 1 for least in self.agreement.values()), "the limits of agreement are 0 … 1")
        need(not set(self.second_share) - foreground, "second_share names something that is no label")
        need(all(0 <= share <= 1 for share in self.second_share.values()), "the shares of second_share are 0 … 1")
        need(not self.second_share or SECOND in self.graphs, f"second_share needs the graph {SECOND}")
        need(SECOND not in self.graphs or SEGMENT in self.graphs, f"the graph {SECOND} needs the graph segment beside it")
        need(self.use.startswith(USE), f"use must begin with: {USE}")
        need(0 <= self.clean_up <= 1, "clean_up is 0 … 1")
        need(self.iterations >= 1 and self.refine >= 0, "iterations is at least 1, refine at least 0")

    def grid_of(self, graph: str) -> Grid:
        """The grid that a graph works on."""
        return self.graphs[graph].grid or self.grid

    def golden_shape(self, graph: str) -> tuple[int, int, int]:
        """Voxels of a graph's golden run."""
        own = self.graphs[graph].grid
        return self.golden.shape if own is None or own.size is None else own.size

    @property
    def registers(self) -> bool:
        """Whether the model moves one image onto another."""
        return any(role in FIELDS for graph in self.graphs.values() for role in graph.outputs)

    @property
    def segments(self) -> bool:
        """Whether the model labels an image given alone."""
        return any("logits" in graph.outputs and "hidden" not in graph.inputs for graph in self.graphs.values())

    @property
    def modalities(self) -> tuple[str, ...]:
        """The DICOM Modality values its images may have; none = any."""
        found = [m for graph in self.graphs.values() for spec in graph.inputs.values() for m in spec.modality]
        return tuple(dict.fromkeys(found))

    def as_yaml(self) -> str:
        """The text of the card's file."""
        import yaml

        return yaml.safe_dump(plain(self), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)

    def write(self, path: Path | str) -> None:
        """Write the card."""
        Path(path).write_text(self.as_yaml(), encoding="utf-8", newline="\n")

    @staticmethod
    def read(path: Path | str) -> Card:
        """The card in a file.

        Raises ModelError `card.unreadable`, `card.invalid`.
        """
        path = Path(path)
        try:
            if path.stat().st_size > LARGEST_CARD:
                raise ModelError(f"{path.name} is too large for a card", code="card.unreadable", hint=_HINT)
            text = path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"the card {path.name} cannot be read: {error.strerror}", code="card.unreadable", hint=_HINT
            ) from None
        return parse(text, path.name)


_HINT = "give a card NAME.yaml as jrs export writes it, with its graphs beside it"


def parse(text: bytes, name: str) -> Card:
    """The card of this text.

    Raises ModelError `card.unreadable`, `card.invalid`.
    """
    from jrscli.runtime.strict_yaml import YamlError, load

    try:
        return build(Card, load(text))
    except YamlError as error:
        raise ModelError(f"{name} is not a card: {error}", code="card.unreadable", hint=_HINT) from None
    except PlainError as error:
        hint = "the card was made for another version of jrscli, or was changed by hand; export it again"
        raise ModelError(f"the card {name} is not valid: {error}", code="card.invalid", hint=hint) from None


__all__ = [  # noqa: RUF022  # the tree from its root
    "Card", "Grid", "Graph", "Input", "Window", "Output", "Field", "Golden", "Statistics", "File", "Trained", "Scores", "Score",
    "USE", "DEMONSTRATION", "parse",
]  # fmt: skip
