"""Scan and rescan (simulated): the same hippocampus in two noises and gains, labelled twice, by each of some trainings.

    python tests/benchmark/scan_rescan.py DATA RUN [RUN …] [--part test]

DATA: the folder of the hippocampus set. RUN: folders of `jrs train`. Of each scan of the part two visits are made in which
nothing moved and nothing shrank (`training.simulated.followups`). Printed are the mean over the patients, ± its SD, of: Dice
between the labels of both visits; the difference of their volumes, % of the mean (per label, then averaged); Dice of both
with the true labels, without which a network that finds nothing would be the most consistent one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from trained import networks

from jrscli.recipe import Method
from jrscli.training.cases import DataList, read_data
from jrscli.training.prepared import Cases, Prepared
from jrscli.training.rows import as_batch
from jrscli.training.validate import hard_dice

LIST = Path(__file__).parents[2] / "configs" / "hippocampus-followups-data.yaml"
AMOUNTS = {"visits": 2, "shrink": 0, "drift_mm": 0, "gain": 0.1, "noise": 0.05, "seed": 1}
"""Other noise than the trainings saw."""


def main() -> None:
    """Print one line per training."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("data", type=Path)
    words.add_argument("runs", type=Path, nargs="+")
    words.add_argument("--part", default="validation", choices=("validation", "test"))
    given = words.parse_args()
    data, found = read_data(LIST, root=given.data, changes={"simulate": {"followups": AMOUNTS}})
    cases = Cases(data, found, given.part)
    visits: dict[str, list[int]] = {}
    for number, case in enumerate(cases.cases):
        if case.made:
            visits.setdefault(case.patient, []).append(number)
    sys.stdout.write(
        "| training | patients | Dice between visits | volumes apart, % | Dice with the truth |\n" + "|---" * 5 + "|\n"
    )
    for run in given.runs:
        method, _ = networks(run)
        rows = [compare(method, data, *(cases[n] for n in pair)) for pair in visits.values()]
        means = " | ".join(f"{a:.3f} ± {s:.3f}" for a, s in zip(np.mean(rows, 0), np.std(rows, 0, ddof=1), strict=True))
        sys.stdout.write(f"| {run.name} | {len(rows)} | {means} |\n")
        sys.stdout.flush()


@torch.no_grad()
def compare(method: Method, data: DataList, *visits: Prepared) -> tuple[float, float, float]:
    """Dice between the labels of two visits, their volumes' difference in %, the mean Dice with the true labels."""
    segment = method.graph("segment")
    if segment is None:
        raise SystemExit("a recipe that labels single images is needed")
    classes, predicted, right = len(data.labels), list[Tensor](), list[float]()
    for visit in visits:
        image, labels = as_batch(visit, data, torch.device("cpu"))
        predicted.append(segment.module(image).argmax(1))
        right.append(hard_dice(predicted[-1], labels.argmax(1), classes))
    sizes = np.array([[float((one == label).sum()) for label in range(1, classes)] for one in predicted])
    apart = np.abs(sizes[0] - sizes[1]) / np.maximum(sizes.mean(axis=0), 1)
    return hard_dice(*predicted, classes), float(apart.mean()) * 100, float(np.mean(right))


if __name__ == "__main__":
    main()
