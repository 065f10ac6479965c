"""Where labels probably are: the softmax of a segmenter on its grid, and the labels it means on any grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from jrscli.runtime.prepare import on_grid
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume

LEAST = 1e-6
"""Of the background, so that a sum of maps is never nothing."""


def softmax(logits: Float32[np.ndarray, "c i j k"]) -> Float32[np.ndarray, "c i j k"]:
    """Shares that add up to one over the channels."""
    shares = np.exp(logits - logits.max(axis=0, keepdims=True))
    shares /= shares.sum(axis=0, keepdims=True)
    return shares


@dataclass(frozen=True, eq=False)
class Probabilities:
    """One map per label on one grid, background first; names: of the channels."""

    array: Float32[np.ndarray, "c i j k"]
    geometry: Geometry
    names: tuple[str, ...]

    def on(self, geometry: Geometry, transform: Transform | None = None) -> Probabilities:
        """The maps on another grid (transform: from its mm to these), linear between voxels; background beyond."""
        if transform is None and geometry.matches(self.geometry):
            return self
        maps = [
            on_grid(Volume(channel, self.geometry), geometry, transform, float(n == 0)) for n, channel in enumerate(self.array)
        ]
        return Probabilities(np.stack(maps), geometry, self.names)

    def labels(self, geometry: Geometry) -> LabelMap:
        """The most probable label of every voxel of ``geometry``; a label's number is its channel."""
        best = on_grid(Volume(self.array[0], self.geometry), geometry, None, 1.0)
        out = np.zeros(geometry.shape, np.uint32)
        for n in range(1, len(self.array)):  # one label at a time: memory does not grow with their number
            here = on_grid(Volume(self.array[n], self.geometry), geometry, None, 0.0)
            wins = here > best
            out[wins] = n
            best[wins] = here[wins]
        return LabelMap(out, geometry, dict(enumerate(self.names[1:], start=1)))

    def confidence(self) -> dict[str, float]:
        """The mean probability of each label over the voxels it wins; a label that wins none is left out."""
        winner = self.array.argmax(axis=0)
        found = {name: self.array[n][winner == n] for n, name in enumerate(self.names) if n}
        return {name: round(float(values.mean()), 4) for name, values in found.items() if values.size}


def mixed(one: Probabilities, other: Probabilities, shares: Sequence[float]) -> Probabilities:
    """Both, on the grid of the first: ``(1 − s) one + s other`` with a share s for each label, so that they add up to one."""
    weight = np.array(shares, np.float32).reshape(-1, 1, 1, 1)
    maps = (1 - weight) * one.array + weight * other.on(one.geometry).array
    maps[0] += LEAST  # where each of them sees only what the other one decides, nothing is left
    return Probabilities(maps / maps.sum(axis=0, keepdims=True), one.geometry, one.names)
