"""The recipes in short: idea, reference, what they take and give, and what models of them were measured to do."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jrscli import methods
from jrscli.runtime.card import Card
from jrscli.runtime.card_record import Scores
from jrscli.training.run import build_method

OWN = "Our own recipe"
"""Where this stands in its file the papers that it names are of its parts."""
REFERENCE = re.compile(r"doi:\S+[^\s.,;)]|arXiv:[\d.]+\d")


@dataclass(frozen=True)
class Recipe:
    """One recipe with its default settings.

    idea: a sentence. reference: the first DOI or arXiv number that its file names; none for our own. graphs: inputs and outputs
    of each, by role. requires: roles besides the images without which it does not run. weights: their number. models: the
    scores on the cards of its models, by model and data set; none where none was measured.
    """

    name: str
    idea: str
    reference: str
    graphs: Mapping[str, str]
    requires: tuple[str, ...]
    weights: int
    models: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)


def recipes(cards: Iterable[Card] = ()) -> list[Recipe]:
    """All recipes by name. cards: of the models at hand."""
    cards = list(cards)
    return [_recipe(name, {card.name: card.scores for card in cards if card.method == name}) for name in methods.names()]


def _recipe(name: str, models: Mapping[str, Mapping[str, Scores]]) -> Recipe:
    said = importlib.import_module(f"jrscli.methods.{name}").__doc__ or ""
    first = said.split("\n\n")[0].replace("\n", " ").strip()
    reference = None if OWN in said else REFERENCE.search(said)
    method = build_method(name, {})
    graphs = {graph.name: f"{', '.join(graph.inputs)} → {', '.join(graph.outputs)}" for graph in method.graphs()}
    return Recipe(
        name,
        first.partition(": ")[2] or first,
        reference.group() if reference else "",
        graphs,
        method.requires,
        sum(weight.numel() for weight in method.parameters()),
        models,
    )
