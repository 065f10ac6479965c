"""The contract of a method: its networks, its schedule, its graphs. The loop, logs and checkpoints exist once, in training/."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from jrscli.nn.regions import hard, one_hot, pasted
from jrscli.nn.warp import integrate, resize_field
from jrscli.roles import FIELDS, GRAPHS, INPUTS, ON_MAPS, OUTPUTS, SYNTHESIS
from jrscli.spatial.components import cleaned

Batches = Literal["pairs", "labelled", "labelled-pairs", "labelled-moving", "mixed", "template", "sequences"]
"""What a stage draws: two cases each time (labels optional on either side), single labelled images (as ``fixed``), two labelled
cases, a labelled moving case and a fixed one that is unlabelled where there are such cases, pairs of unlabelled cases (if any)
and a labelled image of another patient beside each, labelled cases with the template as the moving image, or pairs with the
frames of a simulated heart beat between them."""


@dataclass(frozen=True)
class Batch:
    """One training step's data, on one grid of d = 2 or 3 axes.

    Images lie in the card's intensity range, labels are one-hot with the background first. A case without labels has
    ``has_…_labels`` False: its label array must not be read, whatever it holds. Fields that a stage does not draw are None.

    classes_present: which foreground classes were drawn by the annotator at all, in every labelled image of the row.
    spacing: of the grid, mm.
    sequence: frames 0 … T of a beat; frame 0 is ``fixed`` and frame ``moving_frame`` is ``moving``.
    true_displacement: of a simulated pair, in voxels: what moves ``moving`` onto ``fixed``.
    labelled_image, labelled_target, labelled_present: an image of another patient, its labels, and which of them were drawn.
    """

    fixed: Float[Tensor, "b c *grid"]
    fixed_labels: Float[Tensor, "b classes *grid"]
    has_fixed_labels: Bool[Tensor, "b"]
    classes_present: Bool[Tensor, "b foreground"]
    spacing: Float[Tensor, "b d"]
    moving: Float[Tensor, "b c *grid"] | None = None
    moving_labels: Float[Tensor, "b classes *grid"] | None = None
    has_moving_labels: Bool[Tensor, "b"] | None = None
    sequence: Float[Tensor, "b t c *grid"] | None = None
    moving_frame: int = 0
    true_displacement: Float[Tensor, "b d *grid"] | None = None
    labelled_image: Float[Tensor, "b c *grid"] | None = None
    labelled_target: Float[Tensor, "b classes *grid"] | None = None
    labelled_present: Bool[Tensor, "b foreground"] | None = None

    def pair(self) -> tuple[Tensor, Tensor]:
        """The fixed and the moving image. Raises ValueError naming the field in a batch of single images."""
        if self.moving is None:
            raise ValueError("this loss needs the field 'moving'; draw the stage's batches as 'pairs'")
        return self.fixed, self.moving

    def labelled(self) -> tuple[Tensor, Tensor, Tensor]:
        """The labelled image beside a pair, its labels, and which were drawn. Raises ValueError where there is none."""
        if self.labelled_image is None or self.labelled_target is None or self.labelled_present is None:
            raise ValueError("this loss needs the field 'labelled_image'; draw the stage's batches as 'mixed'")
        return self.labelled_image, self.labelled_target, self.labelled_present

    def both_labels(self) -> tuple[Tensor, Tensor]:
        """The labels of the fixed and of the moving image. Raises ValueError unless every row has both."""
        known = self.has_moving_labels
        if self.moving_labels is None or known is None or not bool((known & self.has_fixed_labels).all()):
            raise ValueError("this loss needs the labels of both images; draw the stage's batches as 'labelled-pairs'")
        return self.fixed_labels, self.moving_labels


Terms = Mapping[str, Tensor]
"""Named terms of a loss, weights included; the loop minimises their sum and logs each."""


@dataclass(frozen=True)
class Turn:
    """Some steps of one optimiser.

    trains: the networks whose weights it changes. All others are frozen and in eval mode, yet pass gradients to their input.
    loss: its terms on a batch; None skips the step (a pair that has nothing to teach).
    rate: the optimiser's step size. rates: of networks that have one of their own. optimiser: Adam, RAdam or RMSprop.
    """

    trains: tuple[str, ...]
    loss: Callable[[Batch], Terms | None]
    repeats: int = 1
    rate: float = 1e-3
    optimiser: Literal["adam", "radam", "rmsprop"] = "adam"
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """``rounds`` times all turns in their order, a fresh optimiser for each turn.

    decay: fractions of the stage after which every rate is multiplied by ``decay_factor``; cosine: in place of these steps, a
    rate that falls to nothing along half a cosine. keep_best: at its end the stage takes back the weights that scored best on
    validation.
    before, after_round: hooks (pseudo-labels, averaged teachers). until: asked after each round whether the stage ends early.
    All must depend on the method's weights and buffers alone, which a checkpoint holds.
    """

    name: str
    turns: tuple[Turn, ...]
    rounds: int
    batches: Batches = "pairs"
    decay: tuple[float, ...] = ()
    decay_factor: float = 0.2
    cosine: bool = False
    keep_best: bool = True
    before: Callable[[], None] | None = None
    after_round: Callable[[int], None] | None = None
    until: Callable[[], bool] | None = None

    def rate_factor(self, done: int) -> float:
        """What the rates are multiplied by after ``done`` rounds."""
        part = done / max(self.rounds, 1)
        if self.cosine:
            return max(0.5 * (1 + math.cos(math.pi * part)), 1e-3)
        return float(self.decay_factor ** sum(part >= at for at in self.decay))


@dataclass(frozen=True)
class FieldKind:
    """How the register graph's output becomes a displacement in voxels of its inputs.

    A velocity is integrated by ``squarings`` squarings on its own grid. A field on a grid coarser by ``scale`` is in that
    grid's voxels, and resized corner to corner (`nn.warp.resize_field`). A region velocity is one velocity per label channel,
    background included, all channels of the first region first; each becomes a displacement, which counts where the labels of
    the image ``compose`` say so.
    """

    kind: Literal["displacement", "velocity", "region_velocity"] = "displacement"
    squarings: int = 7
    scale: int = 1
    compose: Literal["fixed", "moving"] = "fixed"

    def displacement(
        self,
        output: Float[Tensor, "b c *coarse"],
        shape: Sequence[int],
        regions: Float[Tensor, "b r *grid"] | None = None,
    ) -> Float[Tensor, "b d *grid"]:
        """The displacement, in voxels, on the inputs' grid of ``shape`` voxels. regions: for a region velocity.

        Raises ValueError where a region velocity comes without regions.
        """
        if self.kind == "displacement":
            return resize_field(output, shape)
        parts = output.reshape(-1, len(shape), *output.shape[2:])
        fields = resize_field(integrate(parts, self.squarings), shape)
        if self.kind == "velocity":
            return fields
        if regions is None:
            raise ValueError("a field of regions needs the labels that choose the region")
        return pasted(fields.reshape(*regions.shape[:2], *fields.shape[1:]), regions)


@dataclass(frozen=True)
class Graph:
    """One exported graph: ``module`` takes its inputs in order and returns its outputs in order, named by roles.

    channels: of the roles whose number is not told by the data: maps, what looks at them, states, velocities of regions.
    multiple: of what each axis must be a multiple, where that is not the method's.
    """

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    channels: Mapping[str, int] = field(default_factory=dict)
    multiple: int | None = None

    def __post_init__(self) -> None:
        unknown = [self.name] * (self.name not in GRAPHS)
        unknown += [role for role in self.inputs if role not in INPUTS] + [r for r in self.outputs if r not in OUTPUTS]
        if unknown:
            raise ValueError(f"not in jrscli/roles.py: {', '.join(unknown)}")


class Seen(NamedTuple):
    """What a method makes of a pair: the displacement in voxels, and logits of the fixed image if the same graph gives them."""

    displacement: Float[Tensor, "b d *grid"]
    fixed_logits: Float[Tensor, "b k *grid"] | None = None


class Method(nn.Module, ABC):
    """A published method: networks, stages and graphs. Subclasses are final and take a frozen ``Config`` dataclass.

    networks: by the names that turns use. field: what the graph ``register`` puts out.
    multiple: every axis of the grid must be a multiple of it. dynamic: the graphs take any such grid.
    requires: roles besides the images without which no graph runs; a user or the model's own segmenter gives them.
    clean_up: labels of its own that the method looks at lose their parts smaller than this share of the largest; in use too.
    iterations: passes of its context loop.
    departures: letters of the method's decisions that differ from its paper (docs/methods/NAME.md).
    """

    networks: nn.ModuleDict
    field: FieldKind = FieldKind()
    multiple: int = 16
    dynamic: bool = True
    requires: tuple[str, ...] = ()
    clean_up: float = 0.0
    iterations: int = 1
    departures: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._watched: dict[str, float] = {}

    @abstractmethod
    def stages(self) -> list[Stage]:
        """The schedule, first to last."""

    @abstractmethod
    def graphs(self) -> list[Graph]:
        """What is exported: one to three graphs."""

    def informed(self, reach: Float[Tensor, "k sides"]) -> None:  # most methods need not know
        """Hear what the labels of the training cases measure, before a training begins (`spatial.boxes.reach_of`), voxels.

        A method that needs it keeps it in a buffer, and gives it back as `regions`.
        """

    def regions(self) -> Float[Tensor, "k sides"] | None:
        """How far the box of each foreground label reaches, voxels, of a method that looks at each label in a box."""
        return None

    def graph(self, name: str) -> Graph | None:
        """The graph of that name, if the method has it."""
        return next((graph for graph in self.graphs() if graph.name == name), None)

    def on_pair(
        self,
        fixed: Float[Tensor, "b c *grid"],
        moving: Float[Tensor, "b c *grid"],
        labels: Mapping[str, Float[Tensor, "b classes *grid"]] | None = None,
    ) -> Seen | None:
        """What the exported graphs make of a pair; None where they need what is not at hand.

        labels: of "fixed" and "moving", where known. A method that segments uses its own in their place, as in use.
        """
        graph = next((graph for graph in self.graphs() if set(graph.outputs) & set(FIELDS)), None)
        given = {"fixed": fixed, "moving": moving}
        if graph and "hidden" in graph.inputs:  # a sequence of one frame
            given["hidden"] = fixed.new_zeros(len(fixed), graph.channels["hidden"], *fixed.shape[2:])
        synthesis = self.graph(SYNTHESIS)
        if synthesis:
            given["moving"] = synthesis.module(*(given[role] for role in synthesis.inputs))
        segment = self.graph("segment")
        for side, image in (("fixed", fixed), ("moving", given["moving"])):
            if graph and f"{side}_labels" in graph.inputs:
                found = segment.module(image) if segment else (labels or {}).get(side)
                if found is not None:
                    wanted = graph.channels.get(f"{side}_labels", found.shape[1])
                    given[f"{side}_labels"] = self.own_labels(found)[:, found.shape[1] - wanted :]
        if graph is None or not set(graph.inputs) <= set(given):
            return None
        mapping = self.graph(ON_MAPS.get(graph.name, ""))
        if mapping:
            given = {role: mapping.module(image) for role, image in given.items()}
        found = graph.module(*(given[role] for role in graph.inputs))
        outputs = dict(zip(graph.outputs, found if isinstance(found, tuple) else (found,), strict=True))
        side = self.field.compose
        regions = given.get(f"{side}_labels")
        if f"{side}_logits" in outputs:
            regions = hard(outputs[f"{side}_logits"])
        output = next(outputs[role] for role in FIELDS if role in outputs)
        return Seen(self.field.displacement(output, fixed.shape[2:], regions), outputs.get("fixed_logits"))

    def pull(
        self, fixed: Tensor, moving: Tensor, labels: Mapping[str, Tensor] | None = None
    ) -> Float[Tensor, "b d *grid"] | None:
        """The displacement of `on_pair`."""
        found = self.on_pair(fixed, moving, labels)
        return found and found.displacement

    def own_labels(self, maps: Float[Tensor, "b k *grid"]) -> Float[Tensor, "b k *grid"]:
        """1 where a map is the largest one, as in `hard`, small parts (``clean_up``) given to the background."""
        if not self.clean_up:
            return hard(maps)
        numbers = torch.stack([torch.from_numpy(cleaned(row, self.clean_up)) for row in maps.argmax(1).cpu().numpy()])
        return one_hot(numbers.to(maps.device), maps.shape[1]).to(maps)

    def watch(self, **values: Tensor | float) -> None:
        """Hand numbers to the log that no loss contains: how often a judge is right, how long a field is."""
        self._watched |= {name: float(value) for name, value in values.items()}

    def watched(self) -> dict[str, float]:
        """What was watched since the last call."""
        found, self._watched = self._watched, {}
        return found
