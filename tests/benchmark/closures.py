"""Closures captured on the contact phantom (simulated): models, the pair optimiser, and nothing done.

    python tests/benchmark/closures.py configs/contact-data.yaml models/with-masks.yaml models/without-masks.yaml

Of each series of the part (--part test) the first frame, which is open, is registered to every other one; its labels are
carried along, linearly, the largest one counts. A closure is a run of frames in which flap and wall touch
(`jrscli.metrics.closures`); it is captured if the carried labels touch in one of its frames. Dice is the mean over the labels
of all frames.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jrscli.metrics.closures import closures, is_closed
from jrscli.runtime.predict import Predictor
from jrscli.runtime.store import find_model
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.training.cases import read_data
from jrscli.training.simulated.contact import NAMES, Contact, frame

FLAP, WALL = NAMES.index("flap"), NAMES.index("wall")
Register = Callable[[Volume, Volume], Transform]


@dataclass
class Row:
    """What one way of registering reached: closures of all series together, and the Dice of every frame."""

    reference: int = 0
    captured: int = 0
    invented: int = 0
    dice: list[float] = field(default_factory=list)


def main() -> None:
    """Print one line per way."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("data", type=Path)
    words.add_argument("models", nargs="*")
    words.add_argument("--part", default="test", choices=("validation", "test"))
    words.add_argument("--size", type=int, help="voxels per axis [those of the list]")
    words.add_argument("--optimiser", action="store_true", help="the pair optimiser too")
    given = words.parse_args()
    data, cases = read_data(given.data)
    contact = data.simulate.contact if data.simulate else None
    if contact is None or data.grid.size is None or data.grid.spacing_mm is None:
        raise SystemExit("a data list with simulate: contact is needed")
    size = given.size or data.grid.size[0]
    mm = data.grid.spacing_mm[0] * data.grid.size[0] / size
    grid = Geometry((size, size, 1), np.diag([mm, mm, mm, 1.0]))
    names = sorted({case.patient for case in cases if case.part == given.part})
    ways: dict[str, Register] = {"nothing done": lambda fixed, moving: Transform(())}
    if given.optimiser:
        ways["pair optimiser"] = by_optimiser
    ways |= {name: by_model(name) for name in given.models}
    tell(f"{len(names)} series of the part {given.part}, {contact.frames} frames each, {size}² (simulated)")
    for way, register in ways.items():
        row = Row()
        for name in names:
            follow(contact, contact.names().index(name), grid, register, row)
        caught = f"{row.captured:3d} of {row.reference} closures captured, {row.invented} invented"
        tell(f"{Path(way).stem:24s} {caught}; Dice {np.mean(row.dice):.4f} ± {np.std(row.dice):.4f}")


def tell(line: str) -> None:
    """A line on stdout, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def follow(contact: Contact, series: int, grid: Geometry, register: Register, row: Row) -> None:
    """Register the first frame of a series to all others."""
    moving, labels = frame(contact, series, 0, grid)
    true, found = [], []
    for number in range(1, contact.frames):
        fixed, truth = frame(contact, series, number, grid)
        carried = carried_by(register(fixed, moving), labels, grid)
        for one, to in ((truth.array, true), (carried, found)):
            to.append(is_closed(one[..., 0] == FLAP, one[..., 0] == WALL))
        for label in range(1, len(NAMES)):
            a, b = truth.array == label, carried == label
            row.dice.append(float(2 * (a & b).sum() / (a.sum() + b.sum())))
    seen = closures(true, found)
    row.reference, row.captured = row.reference + seen.reference, row.captured + seen.captured
    row.invented += seen.invented


def carried_by(transform: Transform, labels: LabelMap, grid: Geometry) -> np.ndarray:
    """The labels on the fixed grid: one map each, read linearly, the largest one counts."""
    maps = [Volume(labels.mask(n).astype(np.float32), labels.geometry) for n in range(len(NAMES))]
    return np.stack([resample(one, grid, transform, outside=float(n == 0)).array for n, one in enumerate(maps)]).argmax(axis=0)


def by_model(name: str) -> Register:
    """A model, without refinement."""
    from jrscli.workflows.register_by_model import register_by_model

    predictor = Predictor(find_model(name), device="cpu", threads=1)
    return lambda fixed, moving: register_by_model(fixed, moving, predictor, init="header", refine=0).transform


def by_optimiser(fixed: Volume, moving: Volume) -> Transform:
    """The pair optimiser, from where the images lie."""
    from jrscli.workflows.register import register

    return register(fixed, moving, init="header").transform


if __name__ == "__main__":
    main()
