"""How well linear maps fit a pair of images, a whole batch of maps at once."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jrscli.engine.guidance import Guidance
from jrscli.engine.guides import Guides, soft_dice
from jrscli.engine.prepare import tensor_of, working_grid
from jrscli.nn.losses import LocalCorrelation, MutualInformation
from jrscli.nn.warp import identity_like, sample
from jrscli.spatial.resample import resample_smoothed
from jrscli.spatial.volume import Volume

INFORMATION_SAMPLES = 8_000
WINDOW = 2.0
"""Half the window of the local correlation, voxels of the finest axis."""
NOISE = 0.05
"""Texture weaker than this hardly counts."""


class Fit:
    """A pair on one grid size, and how well a batch of maps fits it."""

    def __init__(
        self,
        fixed: Volume,
        moving: Volume,
        voxels: int,
        weight: Volume | None,
        device: torch.device,
        guidance: Guidance | None = None,
    ) -> None:
        grid = working_grid(fixed.geometry, voxels)
        # both sides on about the same spacing: the finer one would otherwise bring detail that the other cannot have
        self.spacing = min(s for s, n in zip(grid.spacing_mm, grid.shape, strict=True) if n > 1 or grid.shape == (1, 1, 1))
        moving_grid = working_grid(moving.geometry, voxels)
        self.fixed = tensor_of(resample_smoothed(fixed, grid).array, device)
        self.moving = tensor_of(resample_smoothed(moving, moving_grid).array, device)
        self.weight = None if weight is None else tensor_of(resample_smoothed(weight, grid).array, device)
        coarseness = np.array(grid.spacing_mm) / self.spacing
        self.correlation = LocalCorrelation(self.fixed, [max(1, round(WINDOW / c)) for c in coarseness], NOISE)
        # mutual information needs fewer samples than the correlation: every n-th voxel along each axis
        self.stride = max(1, round((self.fixed.numel() / INFORMATION_SAMPLES) ** (1 / 3)))
        self.information = MutualInformation(self._thinned(self.fixed)[0])
        self.index = identity_like(self.fixed.expand(-1, 3, -1, -1, -1))[0]
        self.to_mm = torch.tensor(grid.affine, dtype=torch.float32, device=device)
        self.to_index = torch.tensor(np.linalg.inv(moving_grid.affine), dtype=torch.float32, device=device)
        self.size = torch.tensor(moving_grid.shape, dtype=torch.float32, device=device).view(1, 3, 1, 1, 1)
        self.moving_mm = torch.tensor(moving_grid.spacing_mm, dtype=torch.float32, device=device)
        self.guides = guidance.on(grid, moving_grid, None, device) if guidance else None

    def _thinned(self, image: Float[Tensor, "b 1 i j k"]) -> Float[Tensor, "b n"]:
        n = self.stride
        return image[:, 0, ::n, ::n, ::n].flatten(1)

    def _index(self, maps: Float[Tensor, "b 4 4"]) -> Float[Tensor, "b 3 i j k"]:
        """Where every map takes the voxels, in voxels of the moving grid."""
        total = self.to_index @ maps @ self.to_mm
        return torch.einsum("bxy,yijk->bxijk", total[:, :3, :3], self.index) + total[:, :3, 3].view(-1, 3, 1, 1, 1)

    def _moved(self, index: Float[Tensor, "b 3 i j k"]) -> tuple[Float[Tensor, "b 1 i j k"], Float[Tensor, "b 1 i j k"]]:
        """The moving image through every map, and how much each voxel of it counts."""
        moved = sample(self.moving.expand(len(index), -1, -1, -1, -1), index)
        covered = ((index + 0.5).clamp(0, 1) * (self.size - 0.5 - index).clamp(0, 1)).prod(1, keepdim=True)
        return moved, covered if self.weight is None else covered * self.weight

    def value(self, maps: Float[Tensor, "b 4 4"], *, information: bool = True) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
        """The similarity of every map (local squared correlation + mutual information if asked), and the share it covers.

        Both are means over the covered part, times the root of that share: a map gains little by moving the image away.
        Guides count beside them, `_guided`.
        """
        index = self._index(maps)
        moved, weight = self._moved(index)
        axes = (1, 2, 3, 4)
        full = float(self.fixed.numel() if self.weight is None else self.weight.sum().clamp_min(1.0))
        share = weight.sum(axes) / full
        local = (self.correlation.map(moved) * weight).sum(axes) / (full * (share + 1e-3))
        if information:
            local = local + self.information(self._thinned(moved), self._thinned(weight))
        value = local * (share + 1e-3).sqrt()
        return (value if self.guides is None else value + self._guided(self.guides, maps, index)), share

    def _guided(self, guides: Guides, maps: Float[Tensor, "b 4 4"], index: Float[Tensor, "b 3 i j k"]) -> Float[Tensor, "b"]:
        """How well every map brings the guides together: the mean soft Dice of the labels, and how close landmarks come.

        Each 0 … 1 times the weight of the guides; a landmark counts a half at a distance of two voxels of this grid.
        """
        value = index.new_zeros(len(index))
        labels = guides.maps[1]
        if labels.shape[1]:
            value = value + soft_dice(guides.maps[0], sample(labels.expand(len(index), -1, -1, -1, -1), index)).mean(1)
        here, there = guides.points
        if len(here):
            total = self.to_index @ maps @ self.to_mm
            away = (here @ total[:, :3, :3].mT + total[:, None, :3, 3] - there) * self.moving_mm
            value = value + (1 / (1 + away.square().sum(2) / (2 * self.spacing) ** 2)).mean(1)
        return guides.weight * value

    def signed_correlation(self, maps: Float[Tensor, "1 4 4"]) -> float:
        """Σ sign·cc / Σ cc of the local correlation, −1 … 1: near 1 where both images show one contrast."""
        with torch.no_grad():
            moved, weight = self._moved(self._index(maps))
            signed = self.correlation.signed_map(moved) * weight
            return float(signed.sum() / signed.abs().sum().clamp_min(1e-6))
