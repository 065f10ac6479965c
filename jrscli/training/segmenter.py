"""The segmenting graph of another training, for a model that registers well and is labelled better by somebody else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jrscli.errors import ModelError
from jrscli.recipe import Graph, Method
from jrscli.roles import SEGMENT
from jrscli.runtime.card import Grid, Input
from jrscli.runtime.plain import PlainError, build
from jrscli.training import checkpoint
from jrscli.training.cases import DataList
from jrscli.training.run import build_method


@dataclass(frozen=True)
class Segmenter:
    """graph: labels one image. method, data, content: the recipe, the data list and the checkpoint it came from.

    own_grid: whether it labels on voxels that are not those of the model.
    """

    graph: Graph
    method: Method
    data: DataList
    content: dict[str, Any]
    own_grid: bool = False

    @property
    def words(self) -> str:
        """For the card."""
        return f"{self.content['method']}, seed {self.content['settings']['seed']}, trained by itself"


@dataclass(frozen=True)
class Wanted:
    """What the model that is to have a segmenter says of labels, grey values and voxels.

    licence: of its own training images, where nobody says under which one both are to be given away.
    """

    labels: tuple[str, ...]
    input: Input
    grid: Grid
    licence: str = ""


def segmenter_of(source: Path | str, model: Wanted, name: str = SEGMENT) -> Segmenter:
    """The graph that labels an image, of a checkpoint of whatever recipe; one for slices labels them as they were taken.

    model: whose labels and grey values must be those of the other training. name: of the graph in the model.

    Raises ModelError `export.segmenter` and the codes of `checkpoint.load`.
    """
    content = checkpoint.load(source)
    method = build_method(content["method"], content["config"])
    method.load_state_dict(content["best"] or content["weights"])
    method.eval()
    graph = next((graph for graph in method.graphs() if graph.name == SEGMENT and graph.inputs == ("image",)), None)
    try:
        other = build(DataList, content["data"])
    except PlainError as error:
        raise _unfit(f"its data list is not valid ({error})") from None
    if graph is None:
        raise _unfit("it has no graph that labels an image")
    if other.labels != model.labels or other.input != model.input:
        raise _unfit("its labels, or the way images enter it, are others")
    if model.licence and other.licence != model.licence:
        raise ModelError(
            f"the segmenter's images are under {other.licence}, the model's under {model.licence}",
            code="export.segmenter",
            hint="say in the details (--card) under which licence both may be given away: licence",
        )
    if other.grid.dims == 3 and model.grid.dims == 2:
        raise _unfit("it needs volumes where the model sees slices")
    own_grid = any(getattr(other.grid, key) != getattr(model.grid, key) for key in ("dims", "spacing_mm", "orientation"))
    if own_grid and content.get("cropped", False):
        method.dynamic = False
    return Segmenter(replace(graph, name=name), method, other, content, own_grid)


def _unfit(why: str) -> ModelError:
    return ModelError(
        f"the segmenter does not fit the model: {why}",
        code="export.segmenter",
        hint="train both on data lists with the same labels, window and grid",
    )
