"""What a card says of running its graphs: the grid, the grey values, inputs and outputs, the meaning of a field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from jrscli.roles import INPUTS, OUTPUTS
from jrscli.runtime.plain import need

FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SHA256 = re.compile(r"[0-9a-f]{64}")
ORIENTATION = re.compile(r"[RLAPSI]{3}")


@dataclass(frozen=True)
class Grid:
    """The grid a model works on.

    dims: 3, or 2 for slices (a slice is a volume one voxel thick).
    orientation: where the array's axes point, as letters ("RAS": the first to the patient's right, …); None leaves an image as
    it is stored. spacing_mm: in that order; None leaves it.
    size: voxels per axis. Alone it is the one shape the graphs take; with ``multiple`` it is the least one.
    multiple: of what each axis must be a multiple; the axes are padded up to it.
    centre: what of an image lies in the middle of its grid: "image" (its middle) or "mass" (the centre of its grey values).
    start: how a pair comes together before the network: "centers" (each image on a grid of its own, the two laid upon each
    other), "header" (one grid in the patient) or "linear" (the pair optimiser's linear stage; needs torch).
    largest: of a model that sees crops, the largest image among those that it learned from, voxels per axis.
    patch, overlap: voxels of a tile and of what neighbours share, for graphs that may be run tile by tile.
    """

    dims: int = 3
    orientation: str | None = "RAS"
    spacing_mm: tuple[float, float, float] | None = None
    size: tuple[int, int, int] | None = None
    multiple: tuple[int, int, int] | None = None
    largest: tuple[int, int, int] | None = None
    centre: str = "image"
    start: str = "centers"
    patch: tuple[int, int, int] | None = None
    overlap: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        need(self.dims in (2, 3), f"dims is 2 or 3, not {self.dims}")
        if self.orientation is not None:
            good = ORIENTATION.fullmatch(self.orientation) and len({"RLAPSI".index(c) // 2 for c in self.orientation}) == 3
            need(bool(good), f"orientation {self.orientation} is not three letters like RAS")
        need(self.spacing_mm is None or min(self.spacing_mm) > 0, "spacing_mm must be positive")
        for name in ("size", "multiple", "largest", "patch"):
            values = getattr(self, name)
            need(values is None or min(values) > 0, f"{name} must be positive")
        need(self.size is not None or self.multiple is not None, "size or multiple is needed")
        need(self.centre in ("image", "mass"), f"centre is image or mass, not {self.centre}")
        need(self.start in ("centers", "header", "linear"), f"start is centers, header or linear, not {self.start}")
        need((self.patch is None) == (self.overlap is None), "patch and overlap come together")
        if self.patch is not None and self.overlap is not None:
            fits = all(0 <= o < p for o, p in zip(self.overlap, self.patch, strict=True))
            need(fits, "overlap must be smaller than patch")
            whole = self.multiple is None or all(p % m == 0 for p, m in zip(self.patch, self.multiple, strict=True))
            need(whole, "patch must be a multiple of multiple")

    @property
    def is_static(self) -> bool:
        """Whether the graphs take one shape only."""
        return self.multiple is None


@dataclass(frozen=True)
class Window:
    """Which grey values go to the ends of an input's ``range``: one of the three.

    percentiles: of the whole image, as (1, 99). values: scanner units, as (-200, 200) HU. zscore: the mean goes to 0 and one
    standard deviation to 1, over the voxels that are not zero; nothing is cut off.
    """

    percentiles: tuple[float, float] | None = None
    values: tuple[float, float] | None = None
    zscore: bool = False

    def __post_init__(self) -> None:
        given = (self.percentiles is not None) + (self.values is not None) + self.zscore
        need(given == 1, "one of percentiles, values and zscore is needed")
        for pair in (self.percentiles, self.values):
            need(pair is None or pair[0] < pair[1], "the first value must be the smaller one")


@dataclass(frozen=True)
class Input:
    """How one input of a graph is prepared.

    channels: of the tensor (labels: one per label of the card, with or without the background). modality: DICOM Modality values
    it was made for; none = any. window: see `Window`; windows: several of them, one channel each (of every contrast), the first
    one showing most. range: the values the network gets.
    """

    channels: int = 1
    modality: tuple[str, ...] = ()
    window: Window | None = None
    range: tuple[float, float] = (0.0, 1.0)
    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        need(self.channels > 0, "channels must be positive")
        need(not self.windows or self.window is None, "window and windows exclude each other")
        need(not self.windows or self.channels % len(self.windows) == 0, "each of the windows is a channel of every contrast")
        need(self.range[0] < self.range[1], "range must rise")


@dataclass(frozen=True)
class Output:
    """One output of a graph. units: "voxels" for a field, "logits" …; channels: of the tensor, where it is not 1."""

    units: str
    channels: int = 1


@dataclass(frozen=True)
class Graph:
    """One ONNX file: its name beside the card, its hash, its inputs and outputs by role.

    external_data: further files the graph may read, each by its hash (weights beyond 2 GB); none as a rule.
    grid: of a graph that labels one image on voxels of its own, or slice by slice; None: the grid of the card.
    """

    file: str
    sha256: str
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    external_data: Mapping[str, str] = field(default_factory=dict)
    grid: Grid | None = None

    def __post_init__(self) -> None:
        for name in (self.file, *self.external_data):
            need(bool(FILE.fullmatch(name)), f"{name!r} is not a plain file name")
        need(self.file.endswith(".onnx"), f"{self.file} does not end with .onnx")
        for digest in (self.sha256, *self.external_data.values()):
            need(bool(SHA256.fullmatch(digest)), "a sha256 is 64 hexadecimal digits, lower case")
        need(bool(self.inputs) and bool(self.outputs), "a graph has at least one input and one output")
        for role in self.inputs:
            need(role in INPUTS, f"no input role is called {role} (known: {', '.join(INPUTS)})")
        for role in self.outputs:
            need(role in OUTPUTS, f"no output role is called {role} (known: {', '.join(OUTPUTS)})")
        need(("hidden" in self.inputs) == ("hidden" in self.outputs), "hidden is an input and an output, or neither")
        alone = set(self.inputs) == {"image"} and set(self.outputs) == {"logits"}
        need(self.grid is None or alone, "only a graph that labels one image has a grid of its own")
        need(self.grid is None or self.grid.size is not None, "a graph's own grid needs its size")


@dataclass(frozen=True)
class Field:
    """What a field output means.

    kind: "displacement"; "velocity" (its exponential, by ``squarings`` squarings, is the displacement); "region_velocity" (one
    velocity per label channel, each integrated, then taken where its label is).
    scale: how many voxels of the image one voxel of the output spans; the values are in voxels of the output.
    compose: whose labels choose the region: "fixed" or "moving".
    """

    kind: str = "displacement"
    squarings: int = 7
    scale: int = 1
    compose: str = "fixed"

    def __post_init__(self) -> None:
        kinds = ("displacement", "velocity", "region_velocity")
        need(self.kind in kinds, f"kind is one of {', '.join(kinds)}, not {self.kind}")
        need(0 <= self.squarings <= 12, "squarings is 0 … 12")
        need(self.scale in (1, 2, 4, 8), "scale is 1, 2, 4 or 8")
        need(self.compose in ("fixed", "moving"), f"compose is fixed or moving, not {self.compose}")
