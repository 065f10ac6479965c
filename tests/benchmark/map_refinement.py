"""Refinement of ISTN on its own maps: Dice over steps, by the network's weights (the paper) and by the field (`engine.refine`).

    python tests/benchmark/map_refinement.py DATA/hippocampus RUN --steps 0 5 10 20 50 --keep docs/methods/map-refinement.csv

RUN is the folder of a training of istn with one map per label. On the validation part and the network's grid; also the Dice of
the labels that the maps themselves show (a voxel is the label of the largest map above a half): no refinement on maps can know
more than that.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from trained import networks

from jrscli.engine.refine import refine
from jrscli.methods.istn import Istn
from jrscli.nn.warp import warp
from jrscli.recipe import Batch
from jrscli.spatial.geometry import Geometry
from jrscli.training.cases import read_data
from jrscli.training.prepared import Cases
from jrscli.training.validate import Example, Examples, hard_dice, validation_pairs

LIST = Path(__file__).parents[2] / "configs" / "hippocampus-data.yaml"


@dataclass(frozen=True)
class Point:
    """All pairs after so many steps of one way. worst: the largest fall of a pair's Dice against no step at all."""

    way: str
    steps: int
    dice: float
    worst: float


def shown(maps: Tensor, labels: Tensor) -> float:
    """The Dice of what the maps show against one-hot labels, background first."""
    found = torch.cat([torch.full_like(maps[:, :1], 0.5), maps], dim=1).argmax(1)
    return hard_dice(found, labels.argmax(1), labels.shape[1])


def after(example: Example, field: Tensor) -> float:
    """The Dice of the labels after a displacement."""
    classes = example.fixed_labels.shape[1]
    return hard_dice(warp(example.moving_labels, field).argmax(1), example.fixed_labels.argmax(1), classes)


def by_weights(method: Istn, example: Example, steps: int) -> Tensor:
    """The paper's: a copy of the spatial transformer learns this pair."""
    known, present = torch.tensor([True]), torch.ones(1, example.fixed_labels.shape[1] - 1, dtype=torch.bool)
    spacing = torch.ones(1, example.fixed.ndim - 2)
    batch = Batch(example.fixed, example.fixed_labels, known, present, spacing, example.moving, example.moving_labels, known)
    return method.refined(batch, steps)[0]


@torch.no_grad()
def by_field(method: Istn, example: Example, start: Tensor, steps: int, grid: Geometry) -> Tensor:
    """What ``jrs register --refine`` does."""
    maps = tuple(method.networks["transform"](image)[0].numpy() for image in (example.fixed, example.moving))
    images = (example.fixed[0, 0].numpy(), example.moving[0, 0].numpy())
    with torch.enable_grad():
        found = refine(start[0].numpy(), *images, grid, steps=steps, maps=(maps[0], maps[1]), device="cpu")
    return torch.from_numpy(found)[None]


def curves(method: Istn, examples: list[Example], steps: list[int], grid: Geometry) -> list[Point]:
    """Both ways over the steps."""
    with torch.no_grad():
        starts = [method.networks["align"](*method._seen(_as_pair(one))) for one in examples]
    before = np.array([after(one, start) for one, start in zip(examples, starts, strict=True)])
    points = [Point("none", 0, float(before.mean()), 0.0)]
    for count in [n for n in steps if n]:
        for way in ("weights", "field"):
            fields = (
                by_weights(method, one, count) if way == "weights" else by_field(method, one, start, count, grid)
                for one, start in zip(examples, starts, strict=True)
            )
            dice = np.array([after(one, field) for one, field in zip(examples, fields, strict=True)])
            points.append(Point(way, count, float(dice.mean()), float((before - dice).max())))
    return points


def _as_pair(example: Example) -> Batch:
    known = torch.tensor([True])
    present, spacing = torch.ones(1, 1, dtype=torch.bool), torch.ones(1, 3)
    return Batch(example.fixed, example.fixed_labels, known, present, spacing, example.moving, example.moving_labels, known)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 5, 10, 20, 50])
    parser.add_argument("--pairs", type=int, default=18)
    parser.add_argument("--keep", type=Path, help="a CSV file for the points")
    given = parser.parse_args()
    method, _ = networks(given.run)
    assert isinstance(method, Istn)
    data, found = read_data(LIST, root=given.data)
    cases = Cases(data, found, "validation")
    examples = [Examples(cases, torch.device("cpu")).pair(*pair) for pair in validation_pairs(cases, given.pairs)]
    with torch.no_grad():
        seen = [shown(method.networks["transform"](one.fixed), one.fixed_labels) for one in examples]
    i, j, k = (int(n) for n in examples[0].fixed.shape[2:])
    grid = Geometry((i, j, k), np.diag([*(data.grid.spacing_mm or (1.0, 1.0, 1.0)), 1.0]))
    points = [Point("maps themselves", 0, float(np.mean(seen)), 0.0), *curves(method, examples, given.steps, grid)]
    for point in points:
        sys.stdout.write(f"{point.way:<16} {point.steps:>4} steps  Dice {point.dice:.4f}  worst fall {point.worst:.4f}\n")
    if given.keep:
        with given.keep.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["way", "steps", "dice", "worst_fall"])
            rows.writerows([point.way, point.steps, f"{point.dice:.4f}", f"{point.worst:.4f}"] for point in points)


if __name__ == "__main__":
    main()
