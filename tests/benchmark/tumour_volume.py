"""How much a tumour's volume changes as its image is warped to another patient, by each of some trainings.

    python tests/benchmark/tumour_volume.py DATA RUN [RUN …]

DATA: the folder of the six BraTS patients. RUN: folders of `jrs train concurrent`. Every patient that a training did not see
is the moving image for all others; a tumour has no counterpart there, and a good field leaves its volume alone. Printed over
these pairs: the mean of |volume after / volume before − 1| (all labels of the tumour together, labels carried linearly, one
half counts), ± its SD; the mean displacement in and outside the tumour, voxels, since a field that does nothing changes no
volume either; and how much of the images' mean squared difference outside both tumours is left.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from trained import networks

from jrscli.nn.warp import warp
from jrscli.recipe import Method
from jrscli.training.cases import read_data
from jrscli.training.prepared import Cases
from jrscli.training.rows import as_batch

LIST = Path(__file__).parents[2] / "configs" / "brats-data.yaml"


def main() -> None:
    """Print one line per training."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("data", type=Path)
    words.add_argument("runs", type=Path, nargs="+")
    given = words.parse_args()
    sys.stdout.write("| training | pairs | volume change | voxels in the tumour | outside | difference left |\n")
    sys.stdout.write("|---" * 6 + "|\n")
    for run in given.runs:
        method, content = networks(run)
        grid, split = content["data"]["grid"], content["data"]["split"]
        data, found = read_data(LIST, root=given.data, changes={"grid": grid, "split": split})
        unseen = {case.patient for case in found if case.part != "train"}
        parts = [Cases(data, found, part) for part in ("train", "validation", "test")]
        images = {case.patient: as_batch(case, data, torch.device("cpu")) for part in parts for case in part}
        pairs = [(fixed, moving) for moving in sorted(unseen) for fixed in sorted(images) if fixed != moving]
        rows = np.array([measure(method, *images[fixed], *images[moving]) for fixed, moving in pairs])
        change, left = rows[:, 0], rows[:, 3]
        spread = f"{change.mean():.3f} ± {change.std(ddof=1):.3f} | {rows[:, 1].mean():.2f} | {rows[:, 2].mean():.2f}"
        sys.stdout.write(f"| {run.name} | {len(rows)} | {spread} | {left.mean():.2f} |\n")
        sys.stdout.flush()


@torch.no_grad()
def measure(method: Method, fixed: Tensor, fixed_labels: Tensor, moving: Tensor, labels: Tensor) -> tuple[float, ...]:
    """|change of volume|, mean displacement in the tumour and elsewhere, share of the difference that is left."""
    seen = method.on_pair(fixed, moving, {})
    if seen is None:
        raise SystemExit("a recipe that registers pairs is needed")
    field = seen.displacement
    tumour = 1 - labels[:, :1]
    moved = warp(tumour, field)
    change = abs(float((moved > 0.5).sum() / (tumour > 0.5).sum()) - 1)
    length, inside = field.norm(dim=1), moved[:, 0] > 0.5
    head = (fixed.abs().sum(dim=1) > 0) & ~inside & (fixed_labels[:, 0] > 0.5)
    before, after = (((one - fixed) ** 2).mean(dim=1)[head].mean() for one in (moving, warp(moving, field)))
    return change, float(length[inside].mean()), float(length[head].mean()), float(after / before)


if __name__ == "__main__":
    main()
