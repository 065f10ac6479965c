"""A checkpoint becomes a model: ONNX graphs that agree with torch, and the card that says all about them."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from jrscli.errors import ModelError, WriteError
from jrscli.recipe import Graph, Method
from jrscli.roles import FIELDS, INPUTS, LOGITS, ON_MAPS, OUTPUTS, SECOND, SYNTHESIS
from jrscli.runtime import card as cards
from jrscli.runtime.plain import PlainError, build, need
from jrscli.runtime.store import Model, read_model
from jrscli.runtime.template import template_bytes
from jrscli.spatial.geometry import Geometry
from jrscli.training import checkpoint
from jrscli.training.agreement import compare, golden_by_torch
from jrscli.training.cases import DataList
from jrscli.training.details import Details
from jrscli.training.half import kept_as_half, rounded
from jrscli.training.onnx_graph import onnx_bytes
from jrscli.training.run import build_method
from jrscli.training.segmenter import Segmenter, Wanted, segmenter_of
from jrscli.training.template import Template

GOLDEN_SEED = 7
SIMULATIONS = ("cycle", "fraction", "contrast")
"""The settings that say how images were simulated."""


def refuse_existing(folder: Path, name: str, *, overwrite: bool) -> None:
    """Raise WriteError `output.exists` where the folder holds a card of that name, unless it may be replaced."""
    if not overwrite and (folder / f"{name}.yaml").exists():
        raise WriteError(
            f"the folder holds a model {name} already", code="output.exists", hint="give another --name, or --overwrite"
        )


def export(
    source: Path | str, folder: Path | str, details: Details, segmenters: Mapping[str, Path | str] | None = None
) -> Model:
    """Write the graphs and the card of a trained method into a folder; nothing is left there where a check fails.

    source: a checkpoint of `jrs train`, or the folder with it; of a stage that is not finished its best weights so far count.
    segmenters: others, whose graphs label images in place of its own (`SEGMENT`) or besides (`SECOND`).

    Raises ModelError `checkpoint.missing`, `checkpoint.unreadable`, `export.failed`, `export.differs`, `export.segmenter`,
    `card.invalid`.
    """
    content = checkpoint.load(source)
    data = _data_of(content)
    method = build_method(content["method"], content["config"])
    method.load_state_dict(content["best"] or content["weights"])
    method.eval()
    if not details.volumes_cc:
        known = {name: (low, high) for name, (low, high) in content.get("volumes_cc", {}).items()}
        details = dataclasses.replace(details, volumes_cc=known)
    if content.get("cropped", False) if details.cropped is None else details.cropped:
        # what the network never saw must not reach it: beyond the crop it would find things that are not there
        method.dynamic = False
        seen = details.largest or content.get("largest")
        data = dataclasses.replace(data, grid=dataclasses.replace(data.grid, largest=tuple(seen) if seen else None))
    settings = content["settings"]
    wanted = Wanted(data.labels, data.input, data.grid, "" if details.licence else data.licence)
    return export_method(
        method,
        data,
        Path(folder),
        details,
        method_name=content["method"],
        seed=int(settings["seed"]),
        simulation={key: settings[key] for key in SIMULATIONS if key in settings},
        template=_template_of(content.get("template")),
        segmenters=[segmenter_of(file, wanted, name) for name, file in (segmenters or {}).items()],
    )


def export_method(
    method: Method,
    data: DataList,
    folder: Path,
    details: Details,
    *,
    method_name: str,
    seed: int,
    simulation: Mapping[str, Mapping[str, Any]] | None = None,
    template: Template | None = None,
    segmenters: Sequence[Segmenter] = (),
) -> Model:
    """The same for a method in memory. simulation: the settings ``cycle``, ``fraction`` and ``contrast`` of its training.

    Raises what `export` raises.
    """
    files: dict[str, bytes] = {}
    # what torch computes, and ONNX is compared with, is what is kept
    made = {graph.name: rounded(graph) if details.half_weights else graph for graph in method.graphs()}
    if details.half_weights:
        segmenters = [dataclasses.replace(one, graph=rounded(one.graph)) for one in segmenters]
    others = {one.graph.name: one for one in segmenters}
    try:
        history = trained(method, data, details, seed, simulation or {})
        graphs = {name: _graph(graph, method, data, details, files) for name, graph in made.items() if name not in others}
        for name, one in others.items():
            made[name], graphs[name] = one.graph, segmenter_graph(one, method, data, details, files)
            other = trained(one.method, one.data, details, seed, one.content["settings"])
            history = with_segmenter(history, one, other.simulation)
        card = _card(graphs, method, data, details, method_name, history)
    except PlainError as error:
        raise ModelError(f"no card can be made: {error}", code="card.invalid", hint="see jrs export --help") from None
    card = dataclasses.replace(card, golden=golden_by_torch(card, made.values()))
    brought = {}
    if template is not None:
        brought = {
            "template": template_bytes(template.image, template.geometry),
            "template_labels": template_bytes(template.labels, template.geometry),
        }
        named = {role: (f"{card.name}-{role.replace('_', '-')}.npz", hashlib.sha256(data)) for role, data in brought.items()}
        card = dataclasses.replace(
            card,
            template={role: cards.File(file, digest.hexdigest()) for role, (file, digest) in named.items()},
            regions_mm=_regions_mm(method, data),
        )
    return written(card, {**files, **brought}, folder, made.values())


def _graph(graph: Graph, method: Method, data: DataList, details: Details, files: dict[str, bytes]) -> cards.Graph:
    """What the card says of a graph, whose bytes go to ``files``."""
    inputs = {role: _input(role, graph, data) for role in graph.inputs}
    shape = (data.grid.size or ())[: data.grid.dims]
    dynamic = graph.multiple or (method.multiple if method.dynamic else None)
    file = f"{details.name}-{graph.name}.onnx"
    need(bool(cards.NAME.fullmatch(details.name)), f"name {details.name!r}: small letters, digits and hyphens only")
    content = onnx_bytes(graph, [spec.channels for spec in inputs.values()], shape, dynamic)
    content = files[graph.name] = kept_as_half(content) if details.half_weights else content
    outputs = {role: _output(role, graph, data) for role in graph.outputs}
    return cards.Graph(file=file, sha256=hashlib.sha256(content).hexdigest(), inputs=inputs, outputs=outputs)


def segmenter_graph(
    segmenter: Segmenter, method: Method, data: DataList, details: Details, files: dict[str, bytes]
) -> cards.Graph:
    """What the card of a model on this grid says of the graph of another training."""
    if not segmenter.own_grid:
        return _graph(segmenter.graph, method, data, details, files)
    found = _graph(segmenter.graph, segmenter.method, segmenter.data, details, files)
    grid = dataclasses.replace(_grid(segmenter.method, segmenter.data), largest=None, start=cards.Grid.start)
    return dataclasses.replace(found, grid=grid)


def _card(
    graphs: Mapping[str, cards.Graph],
    method: Method,
    data: DataList,
    details: Details,
    method_name: str,
    history: cards.Trained,
) -> cards.Card:
    """The card, its golden run still empty."""
    size = data.grid.size or (1, 1, 1)
    nothing = cards.Statistics(0.0, 0.0, 0.0, 0.0)
    return cards.Card(
        name=details.name,
        method=method_name,
        version=details.version,
        licence=details.licence or data.licence,
        grid=_grid(method, data),
        graphs=graphs,
        golden=cards.Golden(GOLDEN_SEED, size, {n: dict.fromkeys(g.outputs, nothing) for n, g in graphs.items()}),
        use=f"{cards.DEMONSTRATION if details.demonstration else cards.USE}; a network trained on {data.name}",
        labels=data.labels,
        volumes_cc=details.volumes_cc,
        field=cards.Field(method.field.kind, method.field.squarings, method.field.scale, method.field.compose),
        contrasts=data.contrasts,
        requires=method.requires,
        clean_up=method.clean_up,
        iterations=method.iterations,
        refine=details.refine,
        finish=details.finish,
        fusion=details.fusion,
        agreement=details.agreement,
        second_share=details.second_share,
        departures=method.departures,
        simulated_training=data.simulated or bool(history.simulation),
        trained=history,
        scores=details.scores,
        limits=details.limits,
        cite=details.cite,
    )


def _grid(method: Method, data: DataList) -> cards.Grid:
    """The grid of a data list, as the graphs of a method take it."""
    i, j, k = (method.multiple if n < data.grid.dims else 1 for n in range(3))
    return dataclasses.replace(data.grid, multiple=(i, j, k) if method.dynamic else None)


def _regions_mm(method: Method, data: DataList) -> dict[str, tuple[float, float, float, float, float, float]]:
    """The box of each label of a method that has such."""
    regions = method.regions()
    if regions is None:
        return {}
    spacing = np.repeat(data.grid.spacing_mm or (1.0, 1.0, 1.0), 2)
    found = {}
    for name, reach in zip(data.labels[1:], regions.cpu().numpy(), strict=True):
        a, b, c, d, e, f = (round(float(value), 2) for value in reach * spacing)
        found[name] = (a, b, c, d, e, f)
    return found


def _template_of(content: Mapping[str, Any] | None) -> Template | None:
    if content is None:
        return None
    labels = content["labels"].numpy()
    i, j, k = labels.shape
    return Template(content["image"].numpy(), labels, Geometry((i, j, k), np.array(content["affine"])))


def _data_of(content: Mapping[str, Any]) -> DataList:
    try:
        return build(DataList, content["data"])
    except PlainError as error:
        raise ModelError(
            f"the checkpoint's data list is not valid: {error}", code="checkpoint.unreadable", hint="it is of another version"
        ) from None


def _input(role: str, graph: Graph, data: DataList) -> cards.Input:
    kind, channels = INPUTS[role].kind, graph.channels.get(role, 1)
    if kind == "image" and graph.name in ON_MAPS:
        return cards.Input(channels=channels)
    if kind == "image":
        # the moving image of another contrast may be of another modality; after the synthesis it is of the fixed one's
        other = data.pairs == "modalities" and role == "moving" and graph.name == SYNTHESIS
        return dataclasses.replace(data.input, modality=()) if other else data.input
    if kind == "state":
        return cards.Input(channels=channels)
    need(kind in ("labels", "probabilities"), f"how to prepare {role} is not known")
    return cards.Input(channels=graph.channels.get(role, len(data.labels)))


def _output(role: str, graph: Graph, data: DataList) -> cards.Output:
    if role in LOGITS:
        return cards.Output("logits", len(data.labels))
    if role in FIELDS:
        return cards.Output("voxels", graph.channels.get(role, data.grid.dims))
    if OUTPUTS[role].kind == "state":
        return cards.Output("state", graph.channels.get(role, 1))
    return cards.Output("map", graph.channels.get(role, 1))


def trained(
    method: Method, data: DataList, details: Details, seed: int, settings: Mapping[str, Mapping[str, Any]]
) -> cards.Trained:
    """How the weights came about."""
    from jrscli import __version__

    date = details.date or datetime.now(UTC).date().isoformat()
    used = ["cycle"] if any(stage.batches == "sequences" for stage in method.stages()) else []
    used += ["fraction"] * data.simulates + ["contrast"] * (data.pairs == "modalities")
    simulation = {name: value for part in used for name, value in _numbers(part, settings.get(part, {}))}
    simulation |= data.simulate.parameters() if data.simulate else {}
    return cards.Trained(data.name, data.licence, "train", seed, details.config, f"jrscli {__version__}", date, simulation)


def with_segmenter(history: cards.Trained, segmenter: Segmenter, simulation: Mapping[str, float]) -> cards.Trained:
    """The same of a model that is labelled by somebody else, or by a second one too."""
    words = segmenter.words
    if segmenter.graph.name == SECOND:
        words = "; ".join(filter(None, (history.segmenter, f"a second one: {words}")))
    return dataclasses.replace(history, simulation={**history.simulation, **simulation}, segmenter=words)


def _numbers(part: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The settings of a simulation, one number each: ``fraction.peak_mm.0``, ``fraction.peak_mm.1`` …"""
    for key, value in settings.items():
        if isinstance(value, list | tuple):
            yield from ((f"{part}.{key}.{n}", float(item)) for n, item in enumerate(value))
        else:
            yield f"{part}.{key}", float(value)


def written(card: cards.Card, files: Mapping[str, bytes], folder: Path, graphs: Iterable[Graph]) -> Model:
    """Write aside, read back, compare with torch; only then everything goes where it belongs, the card last."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as scratch:
        aside = Path(scratch)
        beside = {name: graph.file for name, graph in card.graphs.items()}
        beside |= {role: entry.file for role, entry in card.template.items()}
        for name, data in files.items():
            (aside / beside[name]).write_bytes(data)
        path = aside / f"{card.name}.yaml"
        card.write(path)
        model = read_model(path)
        for graph in graphs:
            compare(model, graph)
        for name in [*beside.values(), path.name]:
            (aside / name).replace(folder / name)
    return read_model(folder / path.name)
