"""A model at work: volumes in, a field or probabilities out."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from jrscli.errors import InputError, ModelError, UsageError
from jrscli.progress import Progress, silent
from jrscli.roles import FIELDS, INPUTS, ON_MAPS, SECOND, SMOOTH, SYNTHESIS
from jrscli.runtime.card import Input
from jrscli.runtime.context import Pass, in_context, with_background
from jrscli.runtime.field import displacement, inverse_of
from jrscli.runtime.pair import Pair, PairField, letters_of, pair_up
from jrscli.runtime.prepare import mass_centre, network_grid, prepared, prepared_labels
from jrscli.runtime.probabilities import Probabilities, mixed, softmax
from jrscli.runtime.runner import Runner
from jrscli.runtime.store import Model
from jrscli.runtime.template import read_template
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.components import cleaned
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume

LEAST_SURE = 0.8
"""Where the labels are less sure than this on average, no field is pasted together along them."""


class Predictor:
    """What a model says of one image or of two; its graphs stay loaded from one image to the next.

    runner: loads and runs the graphs (see `Runner` for the options). context: rounds of the context loop after the first pass,
    for a model that has one; by default those of its card.

    Raises UsageError `usage.context` where the model has no such loop.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: str = "auto",
        threads: int | None = None,
        memory_bytes: int | None = None,
        context: int | None = None,
    ) -> None:
        self.model = model
        self.card = model.card
        self.passes = self._passes(context)
        self.runner = Runner(model, device=device, threads=threads, memory_bytes=memory_bytes)

    @cached_property
    def registering(self) -> str | None:
        """The graph that gives a field; not the one that is there for when its labels are not to be trusted."""
        fields = [name for name, graph in self.card.graphs.items() if set(graph.outputs) & set(FIELDS)]
        return next((name for name in fields if name != SMOOTH), None)

    @cached_property
    def mapping(self) -> str | None:
        """The graph that makes the map of an image which `registering` looks at; None where that looks at the images."""
        return ON_MAPS.get(self.registering or "")

    @cached_property
    def segmenting(self) -> str | None:
        """The graph that labels one image; not the one that does so besides."""
        graphs = ((name, graph) for name, graph in self.card.graphs.items() if name != SECOND)
        return next((name for name, graph in graphs if "logits" in graph.outputs and "hidden" not in graph.inputs), None)

    @cached_property
    def _segmenters(self) -> tuple[str, ...]:
        """The graphs that label one image, of which the one with the smallest voxels decides where their maps lie."""

        def voxel(name: str) -> float:
            return float(np.prod(self.card.grid_of(name).spacing_mm or (1.0, 1.0, 1.0)))

        both = (self.segmenting, SECOND) if SECOND in self.card.graphs else (self.segmenting,)
        return tuple(sorted(filter(None, both), key=voxel))

    @cached_property
    def remembers(self) -> bool:
        """Whether the graph that registers is run over a sequence, handing on a state from frame to frame."""
        return "hidden" in self.card.graphs[self._registering()].inputs

    @cached_property
    def template(self) -> tuple[Volume, LabelMap]:
        """The image that the model brings along, and its labels."""
        return read_template(self.model)

    def segment(self, image: Volume, *, grid: Geometry | None = None, progress: Progress = silent) -> Probabilities:
        """Where the labels probably are in the image, on the network's grid for it, or on ``grid``.

        A graph with a grid of its own looks at the image on that, and its maps are brought to ``grid``. Where two graphs label
        images, the maps are both of theirs, label by label in the shares of the card.

        Raises ModelError `model.task` for a model that labels nothing, InputError `role.missing`.
        """
        if self.segmenting is None:
            raise ModelError(f"{self.model.title} does not segment single images", code="model.task", hint=_LIST)
        first, *others = self._segmenters
        found = self._maps(first, image, grid, progress)
        for name in others:
            share = [self.card.second_share.get(label, 0.5) for label in self.card.labels]
            found = mixed(found, self._maps(name, image, grid, progress), share if name == SECOND else [1 - s for s in share])
        return found

    def _maps(self, name: str, image: Volume, grid: Geometry | None, progress: Progress) -> Probabilities:
        """What one graph says."""
        (role, spec), *others = self.card.graphs[name].inputs.items()
        if others and not self.card.regions_mm:
            raise self._missing(others[0][0])
        own = self.card.grid_of(name)
        mass = mass_centre(image) if own.centre == "mass" else None
        asked = grid if own is self.card.grid else None
        target = asked or network_grid(image.geometry, own, mass_mm=mass)
        if others:
            last = self.in_context(image, target, progress)[-1]
            return Probabilities(with_background(last.probabilities), target, self.card.labels)
        outputs = self.runner.run(name, {role: prepared(image, target, spec)}, progress)
        found = Probabilities(softmax(outputs["logits"]), target, self.card.labels)
        return found if grid is None else found.on(grid)

    def in_context(self, image: Volume, target: Geometry, progress: Progress = silent) -> list[Pass]:
        """Every pass of the context loop on the network's grid for an image (`jrscli.runtime.context.in_context`)."""
        template, labels = self.template
        specs, names = self.card.graphs[self._registering()].inputs, self.card.labels
        mass = mass_centre(template) if self.card.grid.centre == "mass" else None
        alike = replace(self.card.grid, size=target.shape, multiple=None, orientation=letters_of(target))
        own = network_grid(template.geometry, alike, spacing_mm=target.spacing_mm, mass_mm=mass)
        spacing = np.repeat(target.spacing_mm, 2)
        return in_context(
            self.runner.run,
            prepared(image, target, specs["fixed"]),
            prepared(template, own, specs["moving"]),
            prepared_labels(labels, own, len(names) - 1, names),
            np.array([self.card.regions_mm[name] for name in names[1:]]) / spacing,
            self.passes,
            displacement=lambda raw: displacement(raw, self.card.field, target.shape),
            progress=progress,
        )

    def pair(self, fixed: Volume, moving: Volume, start: AffineTransform | None = None) -> Pair:
        """Both images prepared for the graph that registers, the moving one translated by a model that does so; see `pair_up`.

        Raises ModelError `model.task` for a model that does not register.
        """
        inputs = self.card.graphs[self._registering()].inputs
        if self.mapping:
            inputs = dict.fromkeys(("fixed", "moving"), self.card.graphs[self.mapping].inputs["image"])
        synthesis = self.card.graphs.get(SYNTHESIS)
        moved = synthesis.inputs if synthesis else inputs
        specs = (inputs.get("fixed", Input()), moved.get("moving", Input()))
        found = pair_up(fixed, moving, self.card.grid, specs, start)
        if synthesis is None:
            return found
        images = {"fixed": found.fixed, "moving": found.moving}
        made = self.runner.run(SYNTHESIS, {role: images[role] for role in synthesis.inputs})
        return replace(found, moving=made["synthetic"])

    def segment_pair(
        self, pair: Pair, fixed: Volume, moving: Volume, progress: Progress = silent
    ) -> tuple[Probabilities, Probabilities]:
        """Where the labels probably are in both images, on the grid of the pair (the moving one as the start lays it)."""
        fixed_maps = self.segment(fixed, grid=pair.fixed_grid, progress=progress)
        if SYNTHESIS in self.card.graphs and self.segmenting:
            (role,) = self.card.graphs[self.segmenting].inputs
            logits = self.runner.run(self.segmenting, {role: pair.moving}, progress)["logits"]
            return fixed_maps, Probabilities(softmax(logits), pair.fixed_grid, self.card.labels)
        if pair.moving_grid is None:
            return fixed_maps, self.segment(moving, progress=progress).on(pair.fixed_grid, Transform((pair.start,)))
        moving_maps = self.segment(moving, grid=pair.moving_grid, progress=progress)
        return fixed_maps, Probabilities(moving_maps.array, pair.fixed_grid, moving_maps.names)

    def register(
        self,
        pair: Pair,
        *,
        fixed_labels: LabelMap | None = None,
        moving_labels: LabelMap | None = None,
        fixed_probabilities: Probabilities | None = None,
        moving_probabilities: Probabilities | None = None,
        hidden: Float32[np.ndarray, "c i j k"] | None = None,
        progress: Progress = silent,
    ) -> PairField:
        """The field that takes ``pair.moving`` onto ``pair.fixed``.

        hidden: what the frame before gave, for a graph that remembers; without it this is the first frame.
        Labels that the graph needs are those given, else the most probable ones. Probabilities lie on the grid of the pair.

        Raises InputError `role.missing` naming the option that supplies what is missing.
        """
        name = self._registering()
        images = {"fixed": pair.fixed, "moving": pair.moving}
        maps: dict[str, np.ndarray] = {}
        if self.mapping:
            maps = {side: self.runner.run(self.mapping, {"image": image})["structure_map"] for side, image in images.items()}
            images |= maps
        given = {"fixed": (fixed_labels, fixed_probabilities), "moving": (moving_labels, moving_probabilities)}
        inputs: dict[str, np.ndarray] = {}
        for role, spec in self.card.graphs[name].inputs.items():
            side, _, what = role.partition("_")
            if role in images:
                inputs[role] = images[role]
            elif side in given and what in ("labels", "probabilities"):
                inputs[role] = self._labels(role, spec, pair, *given[side])
            elif role == "hidden":
                empty = np.zeros((spec.channels, *pair.fixed_grid.shape), np.float32)
                inputs[role] = empty if hidden is None else hidden
            else:
                raise self._missing(role)
        outputs = self.runner.run(name, inputs, progress)
        seen = {
            side: Probabilities(softmax(outputs[f"{side}_logits"]), pair.fixed_grid, self.card.labels)
            for side in images
            if f"{side}_logits" in outputs
        }
        meaning, shape = self.card.field, pair.fixed_grid.shape
        regions, smooth = None, None
        if meaning.kind == "region_velocity":
            chooser = seen.get(meaning.compose)
            regions = _hard(chooser.array) if chooser else inputs[f"{meaning.compose}_labels"]
            smooth = doubt(regions, chooser) if SMOOTH in self.card.graphs else None
        if smooth:
            needed = self.card.graphs[SMOOTH].inputs
            outputs = self.runner.run(SMOOTH, {role: images[role] for role in needed}, progress)
            meaning = replace(meaning, kind="velocity")
        raw = next(outputs[role] for role in FIELDS if role in outputs)
        if self.card.grid.dims == 2:
            raw = _in_plane(raw)
        found = displacement(raw, meaning, shape, regions)
        return PairField(pair, found, inverse_of(raw, meaning, shape), seen, maps, smooth, outputs.get("hidden"))

    def _passes(self, context: int | None) -> int:
        if context is None:
            return self.card.iterations
        if not self.card.regions_mm:
            raise UsageError(
                f"{self.model.title} has no context loop",
                code="usage.context",
                hint="leave out --context; a model with a template has one (template and iterations in its card)",
            )
        return context + 1

    def _registering(self) -> str:
        if self.registering is None:
            raise ModelError(f"{self.model.title} does not register", code="model.task", hint=_LIST)
        return self.registering

    def _labels(
        self, role: str, spec: Input, pair: Pair, labels: LabelMap | None, probabilities: Probabilities | None
    ) -> Float32[np.ndarray, "c i j k"]:
        if labels is not None:
            hard = _hard if self.card.field.kind == "region_velocity" else np.asarray
            transform = Transform((pair.start,)) if role.startswith("moving") else None
            return hard(prepared_labels(labels, pair.fixed_grid, spec.channels, self.card.labels, transform))
        if probabilities is None:
            raise self._missing(role)
        maps = self._own(probabilities.array) if role.endswith("labels") else probabilities.array
        return maps if spec.channels == len(maps) else maps[1:]

    def _own(self, maps: Float32[np.ndarray, "c i j k"]) -> Float32[np.ndarray, "c i j k"]:
        """Labels that the model found: 1 for the most probable one of each voxel, small parts given to the background."""
        numbers = cleaned(maps.argmax(axis=0), self.card.clean_up, slices=self.card.grid.dims == 2)
        return (numbers[None] == np.arange(len(maps))[:, None, None, None]).astype(np.float32)

    def _missing(self, role: str) -> InputError:
        option = INPUTS[role].option
        hint = f"give it with {option} FILE" if option and option.startswith("--") else "this version of jrs cannot supply it"
        return InputError(f"{self.model.title} needs {INPUTS[role].meaning} ({role})", code="role.missing", hint=hint)


def doubt(regions: Float32[np.ndarray, "r i j k"], seen: Probabilities | None) -> str | None:
    """Why regions (background first) are not to be trusted with composing a field; None where they are.

    seen: what they were made from, where the model made them.
    """
    empty = [n for n, region in enumerate(regions) if not region.any()]
    if empty:
        return f"region {empty[0]} of {len(regions)} is empty"
    if seen is not None:
        inside = seen.array.argmax(axis=0) > 0
        sure = float(seen.array.max(axis=0)[inside].mean())
        if sure < LEAST_SURE:
            return f"the labels are {sure:.2f} sure on average, below {LEAST_SURE:g}"
    return None


_LIST = "see what each model does with: jrs models list"


def _in_plane(field: Float32[np.ndarray, "c i j k"]) -> Float32[np.ndarray, "d i j k"]:
    """The fields of slices (two channels each) with a third component of zero."""
    pairs = field.reshape(-1, 2, *field.shape[1:])
    return np.concatenate([pairs, np.zeros_like(pairs[:, :1])], axis=1).reshape(-1, *field.shape[1:])


def _hard(maps: Float32[np.ndarray, "c i j k"]) -> Float32[np.ndarray, "c i j k"]:
    """1 for the most probable label of each voxel, 0 for the others."""
    return (maps.argmax(axis=0)[None] == np.arange(len(maps))[:, None, None, None]).astype(np.float32)
