"""Simulated follow-ups: a scan whose labelled structures have shrunk, as tissue does in years, on another day at the scanner.

Nothing made here is a real follow-up. A shrinkage of zero gives scan and rescan: the same anatomy in another noise. What a
model is scored on should be made with other parameters than what it learned from (``reach_mm``, ``seed``).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from jrscli.nn.regions import one_hot
from jrscli.nn.warp import compose, integrate, warp
from jrscli.runtime.plain import need

SQUARINGS = 3
FITS = 2
"""How often the flow is made stronger or weaker until the volumes are what was asked for."""
LEAST_VOXELS = 8
"""Smaller structures keep their size."""


@dataclass(frozen=True)
class FollowUps:
    """visits: how many are made of each case, beside the scan itself. shrink: the largest share of its volume that a label
    loses, by a flow along the normal of its border which fades within ``reach_mm`` of it. drift_mm: how far the head lies
    elsewhere along each axis, at most. gain: the largest change of all grey values; noise: SD of white noise; both are parts
    of the image's range.
    """

    visits: int = 1
    shrink: float = 0.08
    reach_mm: float = 3.0
    drift_mm: float = 1.0
    gain: float = 0.1
    noise: float = 0.03
    seed: int = 0

    def __post_init__(self) -> None:
        need(self.visits >= 1, "one visit is made at least")
        need(0 <= self.shrink < 0.5 and self.reach_mm > 0, "shrink is 0 … 0.5, reach_mm is positive")
        need(min(self.drift_mm, self.gain, self.noise) >= 0, "no amount is negative")


class FollowUp(NamedTuple):
    """motion: moves the scan onto this visit (pull, voxels); shrunk: the share of its volume that each label lost."""

    image: Float[np.ndarray, "c *grid"]
    labels: Integer[np.ndarray, "*grid"] | None
    motion: Float[np.ndarray, "d *grid"]
    shrunk: Float[np.ndarray, "k"]


def follow_up(
    image: Float[np.ndarray, "c *grid"],
    labels: Integer[np.ndarray, "*grid"] | None,
    spacing_mm: Sequence[float],
    values: tuple[float, float],
    amounts: FollowUps,
    patient: str,
    visit: int,
) -> FollowUp:
    """Visit number ``visit`` (from 1) of a patient, the same whenever it is made. values: the range of the image.

    Without labels nothing shrinks.
    """
    rng = np.random.default_rng([amounts.seed, zlib.crc32(patient.encode()), visit])
    dims = image.ndim - 1
    mm = np.array(spacing_mm[:dims])
    count = 0 if labels is None else int(labels.max(initial=0))
    wanted = rng.uniform(0, amounts.shrink, count)
    drift = rng.uniform(-amounts.drift_mm, amounts.drift_mm, dims) / mm
    maps = torch.zeros(1, 1, *image.shape[1:])
    if labels is not None:
        maps = one_hot(torch.from_numpy(labels.astype(np.int64))[None], count + 1).float()
    flow, shrunk = _shrinking(maps, wanted, mm, amounts.reach_mm)
    shift = torch.from_numpy(drift).float().view(1, dims, *(1,) * dims).expand_as(flow)
    motion = compose(shift.contiguous(), flow)
    moved = warp(torch.from_numpy(image)[None], motion)[0].numpy()
    low, high = values
    grain = rng.standard_normal(image.shape).astype(np.float32) * amounts.noise * (high - low)
    moved = np.clip((moved - low) * (1 + rng.uniform(-amounts.gain, amounts.gain)) + low + grain, low, high)
    found = None if labels is None else warp(maps, motion).argmax(1)[0].numpy().astype(labels.dtype)
    return FollowUp(moved.astype(np.float32), found, motion[0].numpy(), shrunk)


def _shrinking(
    maps: Float[Tensor, "1 k *grid"], wanted: Float[np.ndarray, "n"], mm: Float[np.ndarray, "d"], reach_mm: float
) -> tuple[Float[Tensor, "1 d *grid"], Float[np.ndarray, "n"]]:
    """The pull field by which each label loses its share of volume, and the shares that it loses."""
    shape = maps.shape[2:]
    flows = [_inward(maps[0, n + 1].numpy() > 0.5, mm, reach_mm) for n in range(len(wanted))]
    sizes = maps[0, 1:].flatten(1).sum(1).numpy()
    strength = np.array([share * (size >= LEAST_VOXELS) for share, size in zip(wanted, sizes, strict=True)])
    shrunk = np.zeros(len(wanted))
    field = torch.zeros(1, len(shape), *shape)
    for _ in range(FITS if strength.any() else 0):
        velocity = sum(s * flow for s, flow in zip(strength, flows, strict=True))
        field = integrate(torch.from_numpy(np.asarray(velocity, np.float32))[None], SQUARINGS)
        shrunk = 1 - warp(maps, field)[0, 1:].flatten(1).sum(1).numpy() / np.maximum(sizes, 1)
        ratio = np.where(shrunk > 1e-4, wanted / np.maximum(shrunk, 1e-4), 1.0)
        strength = strength * np.clip(ratio, 0.5, 2.0)
    return field, shrunk


def _inward(mask: np.ndarray, mm: np.ndarray, reach_mm: float) -> Float[np.ndarray, "d *grid"]:
    """A pull velocity in voxels along the outward normal (what is pulled moves inwards), strongest at the border of the mask.

    Its strength is such that the whole volume would be gone, to first order.
    """
    if not mask.any():
        return np.zeros((mask.ndim, *mask.shape))
    outside, inside = distance_transform_edt(~mask, mm), distance_transform_edt(mask, mm)
    distance = np.where(mask, 0.5 * mm.min() - inside, outside - 0.5 * mm.min())
    smooth = gaussian_filter(distance, [1.0 / m for m in mm], mode="nearest")
    normal = np.stack(np.gradient(smooth, *mm))
    normal /= np.maximum(np.sqrt((normal**2).sum(axis=0)), 1e-6)
    fading = np.exp(-0.5 * (distance / reach_mm) ** 2)
    surface = np.abs(np.stack(np.gradient(mask.astype(float), *mm))).max(axis=0).sum()
    thickness_mm = mask.sum() / max(float(surface), 1e-6)
    velocity = np.stack([gaussian_filter(fading * part, [1.0 / m for m in mm], mode="nearest") for part in normal])
    return np.asarray(velocity * thickness_mm / mm.reshape(-1, *(1,) * mask.ndim))
