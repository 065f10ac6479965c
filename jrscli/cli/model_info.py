"""A model in words: ``jrs models info``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jrscli.runtime.card import Grid, Scores
    from jrscli.runtime.store import Model


def document(model: Model) -> dict[str, Any]:
    """The card as JSON, with the model's own hash, where it comes from, and commands that use it."""
    from jrscli.runtime.plain import plain

    return {**plain(model.card), "sha256": model.sha256, "origin": model.origin, "commands": list(_commands(model))}


def lines(model: Model) -> Iterator[str]:
    """The card in lines for a reader."""
    card = model.card
    yield f"{model.title}   {card.use}"
    yield f"method       {card.method}" + (f" (departures {', '.join(card.departures)})" if card.departures else "")
    yield f"licence      {card.licence}"
    yield f"images       {', '.join(card.modalities) or 'any modality'}; {_grid(card.grid)}"
    yield from (f"             {name}: {_grid(graph.grid)}" for name, graph in card.graphs.items() if graph.grid)
    if card.contrasts:
        yield f"contrasts    {', '.join(card.contrasts)}, in this order"
    if card.labels:
        yield f"labels       {', '.join(card.labels[1:])}"
    further = ", then on the images' own grid" if card.finish else ""
    yield f"refinement   {card.refine} steps of the pair optimiser by default (--refine N){further}"
    if card.requires:
        yield f"needs        {', '.join(card.requires)}"
    if card.trained:
        trained = card.trained
        yield f"trained      on {trained.data} ({trained.split}; {trained.licence}), {trained.date}, by {trained.version}"
    if card.simulated_training:
        yield "             on simulated pairs"
    for name, scores in card.scores.items():
        yield from _scores(name, scores)
    for limit in card.limits:
        yield f"limit        {limit}"
    for graph in card.graphs.values():
        yield f"graph        {graph.file}   sha256 {graph.sha256[:16]}…"
    yield f"card         {model.path}   sha256 {model.sha256[:16]}…"
    if card.cite:
        yield f"cite         {card.cite}"
    for command in _commands(model):
        yield f"run          {command}"


def _grid(grid: Grid) -> str:
    spacing = " at " + " × ".join(f"{s:g}" for s in grid.spacing_mm) + " mm" if grid.spacing_mm else ""
    if grid.size is None:
        return f"any size{spacing}"
    word = "tiles of " if grid.patch else "up to " if grid.multiple is None else "from "
    whole = f", the middle of images of up to {_times(grid.largest)}" if grid.largest else ""
    return f"{word}{_times(grid.patch or grid.size)} voxels{spacing}{whole}"


def _times(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))


def _scores(name: str, scores: Scores) -> Iterator[str]:
    for task, part in (("registration", scores.registration), ("segmentation", scores.segmentation)):
        if part is not None:
            values = ", ".join(f"{metric} {value:.4g}" for metric, value in part.values.items())
            yield f"scores       {name} ({scores.split}), {task}, n = {part.n}: {values}"
    for baseline, numbers in scores.baselines.items():
        yield f"             {baseline}: " + ", ".join(f"{metric} {value:.4g}" for metric, value in numbers.items())


def _commands(model: Model) -> Iterator[str]:
    name = str(model.path) if model.origin == "path" else model.card.name
    if model.card.registers:
        yield f"jrs register FIXED MOVING --model {name}"
    if model.card.segments:
        yield f"jrs segment IMAGE --model {name}"
