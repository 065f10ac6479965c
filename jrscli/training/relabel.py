"""A finished model with the segmenter of another training: what registers stays as it is, bit by bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jrscli import methods
from jrscli.errors import ModelError
from jrscli.roles import FIELDS, SEGMENT, SYNTHESIS
from jrscli.runtime import card as cards
from jrscli.runtime.plain import PlainError
from jrscli.runtime.store import Model, read_model
from jrscli.training.agreement import golden_by_torch
from jrscli.training.details import Details
from jrscli.training.export import segmenter_graph, trained, with_segmenter, written
from jrscli.training.half import rounded
from jrscli.training.run import build_method
from jrscli.training.segmenter import Segmenter, Wanted, segmenter_of


def relabel(source: Path, folder: Path, details: Details, segmenter: Path | str, name: str = SEGMENT) -> Model:
    """Write the model of the card ``source`` into a folder, its images labelled by the network of a checkpoint.

    name: `SEGMENT` for one in place of its own, `SECOND` for one besides. details: of the new card; what they leave out (grid,
    volumes, licence, simulation) stays as the model has it.

    Raises ModelError `export.segmenter` for a model that does not register two images, and what `export` raises.
    """
    model = read_model(source)
    card = model.card
    register = next((graph for graph in card.graphs.values() if set(graph.outputs) & set(FIELDS)), None)
    if register is None or "fixed" not in register.inputs or SYNTHESIS in card.graphs or card.regions_mm:
        raise ModelError(
            f"{model.title} registers in a way of its own, that no other segmenter fits",
            code="export.segmenter",
            hint="give a model that registers two images",
        )
    licence = "" if details.licence else card.licence
    other = segmenter_of(segmenter, Wanted(card.labels, register.inputs["fixed"], card.grid, licence), name)
    other.method.dynamic = other.method.dynamic if other.own_grid else not card.grid.is_static
    if details.half_weights:
        other = dataclasses.replace(other, graph=rounded(other.graph))
    kept = {key: graph for key, graph in card.graphs.items() if key != name}
    files = {key: model.graph_file(key)[0] for key in kept}
    on_model = dataclasses.replace(other.data, grid=card.grid)
    try:
        graphs = {key: dataclasses.replace(graph, file=f"{details.name}-{key}.onnx") for key, graph in kept.items()}
        graphs[name] = segmenter_graph(other, other.method, on_model, details, files)
        expected = {**card.golden.expected, name: dict.fromkeys(graphs[name].outputs, cards.Statistics(0, 0, 0, 0))}
        use = cards.DEMONSTRATION if details.demonstration else cards.USE
        history = card.trained and _trained(card.trained, card.method, other, details)
        new = dataclasses.replace(
            card,
            name=details.name,
            version=details.version,
            grid=dataclasses.replace(card.grid, largest=details.largest or card.grid.largest),
            licence=details.licence or card.licence,
            graphs=graphs,
            golden=dataclasses.replace(card.golden, expected=expected),
            use=f"{use}; a network trained on {card.trained.data if card.trained else other.data.name}",
            volumes_cc=details.volumes_cc or card.volumes_cc,
            refine=details.refine,
            simulated_training=other.data.simulated or (bool(history.simulation) if history else card.simulated_training),
            finish=details.finish,
            fusion=details.fusion,
            agreement=details.agreement,
            second_share=details.second_share,
            trained=history,
            scores=details.scores,
            limits=details.limits,
            cite=details.cite,
        )
    except PlainError as error:
        raise ModelError(f"no card can be made: {error}", code="card.invalid", hint="see jrs export --help") from None
    new = dataclasses.replace(new, golden=golden_by_torch(new, [other.graph]))
    return written(new, files, folder, [other.graph])


def _trained(was: cards.Trained, method: str, segmenter: Segmenter, details: Details) -> cards.Trained:
    """How both came about. Sequences that the model's own recipe does not learn from were its former segmenter's."""
    stages = build_method(method, {}).stages() if method in methods.names() else []
    own = not stages or any(stage.batches == "sequences" for stage in stages)
    kept = {key: value for key, value in was.simulation.items() if own or not key.startswith("cycle.")}
    made = trained(segmenter.method, segmenter.data, details, was.seed, segmenter.content["settings"])
    new = dataclasses.replace(was, simulation=kept, version=made.version, date=made.date)
    return with_segmenter(new, segmenter, made.simulation)
