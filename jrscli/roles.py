"""The roles: what a graph of a model takes and gives, and the names its graphs may have. The one list of them.

Recipes name their batches and graphs by these words, cards list them, and the runtime fills and reads them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """What one input or output is.

    kind: "image" (scanner values, prepared as the card says), "labels" (one channel per label, 0 … 1), "probabilities" (the
    softmax of logits), "field" (one channel per array axis, voxels), "logits" (one channel per label, background first),
    "map" (any feature of the image), "state" (what a graph hands on to its next run).
    option: the option of ``jrs`` that supplies an input, where one does.
    """

    kind: str
    meaning: str
    option: str | None = None


INPUTS: dict[str, Role] = {
    "fixed": Role("image", "the image that stays", "FIXED"),
    "moving": Role("image", "the image that is moved onto it", "MOVING"),
    "fixed_labels": Role("labels", "labels of the fixed image", "--fixed-labels"),
    "moving_labels": Role("labels", "labels of the moving image", "--moving-labels"),
    "sequence": Role("image", "the frames of a cine, one after the other", "CINE"),
    "template": Role("image", "the model's own moving image"),
    "template_labels": Role("labels", "the labels of the template"),
    "image": Role("image", "any one image", "IMAGE"),
    "fixed_probabilities": Role("probabilities", "where the labels probably are in the fixed image"),
    "hidden": Role("state", "what the graph gave for the frame before"),
}

OUTPUTS: dict[str, Role] = {
    "displacement": Role("field", "pull displacement on the fixed grid"),
    "velocity": Role("field", "stationary velocity, or one per region; its exponential is the displacement"),
    "logits": Role("logits", "labels of the one image"),
    "fixed_logits": Role("logits", "labels of the fixed image"),
    "moving_logits": Role("logits", "labels of the moving image"),
    "structure_map": Role("map", "what the registration of a structure-guided method looks at"),
    "synthetic": Role("image", "the moving image in the contrast of the fixed one"),
    "confidence": Role("map", "how sure the network is, 0 … 1"),
    "hidden": Role("state", "what the graph wants back with the next frame"),
}

FIELDS = ("displacement", "velocity")
"""Outputs that register."""
LOGITS = ("logits", "fixed_logits", "moving_logits")
"""Outputs that segment."""
ON_MAPS = {"align": "transform"}
"""Graphs whose ``fixed`` and ``moving`` are no images but the maps that another graph of the model makes of each."""
SMOOTH = "smooth"
"""The graph whose one smooth field stands in where labels that compose a field are empty or doubtful."""
SYNTHESIS = "synthesize"
"""The graph whose ``synthetic`` image takes the place of the moving one in all that follows."""
SEGMENT = "segment"
"""The graph that labels one image."""
SECOND = "second_segment"
"""Another graph that labels one image: the mean of its maps and those of `SEGMENT` counts, label by label."""
GRAPHS = ("register", SEGMENT, SECOND, "joint", "step", "synthesize", "transform", "align", "smooth")
"""What the graphs of a model may be called."""


def output_name(role: str, inputs: Collection[str]) -> str:
    """What an output is called in the file of a graph with these inputs: its role, or next_ROLE if an input has that name."""
    return f"next_{role}" if role in inputs else role
