"""Guides on a grid, and the objective that they enter beside the similarity of the images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jrscli.nn.filters import shrunk
from jrscli.nn.warp import sample, warp

VOUCHED_OVERLAP, VOUCHED_MM = 0.3, 10.0
"""Labels that overlap this much in the mean, or landmarks this close, vouch for a linear map that the images do not."""
LANDMARKS = 4.0
"""Weight of the landmarks beside the labels'; see docs/explanation/how-it-registers.md."""


def soft_dice(one: Float[Tensor, "#b c i j k"], other: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c"]:
    """The Dice of maps between 0 and 1, per map; 1 where both are empty."""
    both = one.sum((2, 3, 4)) + other.sum((2, 3, 4))
    return (2 * (one * other).sum((2, 3, 4)) + 1) / (both + 1)


@dataclass(frozen=True, eq=False)
class Guides:
    """What the two sides have to bring together, fixed first.

    maps: where each label is, 0 … 1, one channel per label. points: landmarks, voxels of the grid of their side.
    """

    maps: tuple[Float[Tensor, "1 c i j k"], Float[Tensor, "1 c l m n"]]
    points: tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]
    weight: float = 1.0

    def at(self, size: Sequence[int]) -> Guides:
        """The same on a coarser grid over the same corners."""
        old = self.maps[0].shape[2:]
        ratio = [(m - 1) / (n - 1) if n > 1 else 1.0 for n, m in zip(old, size, strict=True)]
        scale = self.points[0].new_tensor(ratio)
        one, other = (shrunk(side, size) if side.shape[1] else side.new_zeros(1, 0, *size) for side in self.maps)
        return Guides((one, other), (self.points[0] * scale, self.points[1] * scale), self.weight)

    def swapped(self) -> Guides:
        """The guides of the opposite direction."""
        return Guides(self.maps[::-1], self.points[::-1], self.weight)

    def within(self, weight: Float[Tensor, "1 1 i j k"]) -> Guides:
        """The same with labels only where both images can show them: an organ that one image cuts is not squeezed into it."""
        return Guides((self.maps[0] * weight, self.maps[1] * weight), self.points, self.weight)

    def still(self) -> Float[Tensor, "1 3 i j k"]:
        """The field on this grid that moves nothing."""
        return self.maps[0].new_zeros(1, 3, *self.maps[0].shape[2:])

    def facts(self, field: Float[Tensor, "1 3 i j k"], spacing: Sequence[float]) -> dict[str, float | str | int]:
        """How many guides there are, and how well they agree before and after a pull field (voxels).

        Labels: the mean Dice at the level 0.5. Landmarks: the mean distance in the unit of ``spacing``.
        """
        found: dict[str, float | str | int] = {}
        for when, u in (("before", self.still()), ("after", field)):
            if self.maps[0].shape[1]:
                inside = [(side > 0.5).to(u.dtype) for side in (self.maps[0], warp(self.maps[1], u))]
                dice = soft_dice(inside[0], inside[1]).mean()
                found |= {"guiding_labels": self.maps[0].shape[1], f"label_overlap_{when}": round(float(dice), 4)}
            if len(self.points[0]):
                away = (landed(u, self.points[0]) - self.points[1]) * field.new_tensor(spacing)
                found |= {"landmarks": len(away), f"landmarks_{when}_mm": round(float(away.norm(dim=1).mean()), 3)}
        return found


def vouched(facts: Mapping[str, float | str | int]) -> bool:
    """Whether guides that agree so before the deformable stage show that the linear map is right."""
    overlap, away = float(facts.get("label_overlap_before", 0)), float(facts.get("landmarks_before_mm", math.inf))
    return overlap >= VOUCHED_OVERLAP or away <= VOUCHED_MM


def landed(field: Float[Tensor, "1 3 i j k"], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Where a field takes points, both in voxels."""
    return points + sample(field, points.T[None, :, :, None, None])[0, :, :, 0, 0].T


class Objective:
    """What a field is judged by on one level; minimised.

    The similarity of the image channels after the field; with guides also 1 − the mean soft Dice of the labels (a label that
    neither image shows counts as nothing), and for each landmark √(1 + d²), d in voxels of the finest axis: far ones pull no
    harder than near ones, so that a wrong one does not decide. A landmark counts like a blob as wide as the steps are smooth
    (``sigma``, voxels of the finest axis): once smoothed, its pull has the size of the images' own.
    """

    def __init__(
        self,
        moving: Float[Tensor, "1 c i j k"],
        similarity: Callable[[Tensor], Tensor],
        guides: Guides | None,
        coarseness: Sequence[float],
        sigma: float,
    ) -> None:
        self.similarity = similarity
        self.guides = guides
        self.images = moving.shape[1]
        self.moving = moving if guides is None else torch.cat([moving, guides.maps[1]], dim=1)
        self.coarseness = moving.new_tensor(coarseness)
        size = moving.shape[2:]
        wide = [math.sqrt(2 * math.pi) * sigma / c if n > 1 else 1.0 for c, n in zip(coarseness, size, strict=True)]
        self.blob = math.prod(wide) / math.prod(size)

    def __call__(self, field: Float[Tensor, "1 3 i j k"]) -> Float[Tensor, ""]:
        """The loss of a field in voxels."""
        moved = warp(self.moving, field)
        total = self.similarity(moved[:, : self.images])
        if self.guides is None:
            return total
        if self.guides.maps[0].shape[1]:
            dice = soft_dice(self.guides.maps[0], moved[:, self.images :])
            total = total + self.guides.weight * (1 - dice.mean())
        here, there = self.guides.points
        if len(here):
            away = ((landed(field, here) - there) * self.coarseness).square().sum(1)
            total = total + LANDMARKS * self.guides.weight * self.blob * (1 + away).sqrt().sum()
        return total
