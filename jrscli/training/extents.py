"""What the labels of the training cases measure, for methods that look at each structure in a box of its own."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jrscli.spatial.boxes import reach_of, sides_of
from jrscli.training.prepared import Cases


def extents(cases: Cases) -> Float[Tensor, "k sides"]:
    """The reach of the box of each foreground label, voxels (`spatial.boxes.reach_of`); the whole grid where no case has it.

    Labels that were not drawn, or are not to be trusted, do not count.
    """
    dims = cases.data.grid.dims
    size = np.array(cases.data.grid.size or (1, 1, 1), float)[:dims]
    found = []
    for n in range(1, len(cases.data.labels)):
        drawn = [case.labels == n for case in cases if case.labels is not None and case.drawn[n - 1]]
        sides = [one for mask in drawn if (one := sides_of(mask)) is not None]
        found.append(reach_of(np.array(sides))[: 2 * dims] if sides else np.repeat(size, 2))
    return torch.tensor(np.array(found), dtype=torch.float32)
