"""``jrs train --list``: the recipes, each in a few lines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jrscli.runtime.card_record import Scores
    from jrscli.training.recipes import Recipe

WIDTH = 100
INDENT = 15


def found() -> list[Recipe]:
    """The recipes, with the scores of the models at hand."""
    from jrscli.runtime.store import all_models
    from jrscli.training.recipes import recipes

    return recipes(model.card for model in all_models()[0])


def document(listed: list[Recipe]) -> dict[str, Any]:
    """The recipes as JSON."""
    from dataclasses import asdict

    return {"recipes": [asdict(recipe) for recipe in listed]}


def lines(recipe: Recipe) -> Iterator[str]:
    """A recipe in lines for a reader: idea, graphs by roles, reference, and what its models reach where that was measured."""
    first, *more = textwrap.wrap(recipe.idea[0].upper() + recipe.idea[1:].rstrip(".") + ".", WIDTH - INDENT)
    yield recipe.name.ljust(INDENT) + first
    said = [*more, *(f"{name}: {roles}" for name, roles in recipe.graphs.items())]
    needs = f"; needs {', '.join(recipe.requires)}" if recipe.requires else ""
    said.append(f"{recipe.weights / 1e6:.2f} M weights{needs}; {recipe.reference or 'our own'}")
    for model, by_data in recipe.models.items():
        said += [f"{model}: {_scores(scores)} ({data}, {scores.split})" for data, scores in by_data.items()]
    if not any(recipe.models.values()):
        said.append("no model at hand has scores")
    yield from (" " * INDENT + line for line in said)


def _scores(scores: Scores) -> str:
    parts = (("registration", scores.registration), ("segmentation", scores.segmentation))
    return ", ".join(f"{task} Dice {part.values['dice']:.3f}" for task, part in parts if part and "dice" in part.values)
