"""The contact phantom: slices of a flap that swings between two bodies and touches one of them for some frames of each cycle.

Two textured bodies with air between them; the flap is fixed to one (the body) and closes against the other (the wall), as the
soft palate does against the wall of the throat. Shapes, texture and timing differ from series to series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter, map_coordinates

from jrscli.runtime.plain import need
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume

NAMES = ("background", "wall", "flap", "body")
SHARP = 160.0
"""How fast grey values change across an edge: an edge is about two pixels of 128 wide."""


@dataclass(frozen=True)
class Contact:
    """series, frames: how many, and of how many frames each; cycle: frames of one swing, of which ``shortest`` to ``longest``
    are closed. gap, open_gap: air between flap and wall just before closing and at its widest, parts of the image's side;
    depth: how far a closed flap is pressed into the wall. drift: how far bodies wander from frame to frame.
    noise: SD, a part of the brightest tissue.
    """

    series: int = 24
    frames: int = 20
    cycle: int = 10
    shortest: int = 2
    longest: int = 6
    gap: float = 0.03
    open_gap: float = 0.1
    depth: float = 0.02
    drift: float = 0.006
    noise: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        need(self.series >= 2 and self.frames >= 2, "two series of two frames are the least")
        need(1 <= self.shortest <= self.longest <= self.cycle - 3, "a cycle needs three frames more than its longest closure")
        need(0 < self.gap <= self.open_gap and self.depth > 0, "gap, open_gap and depth are positive, open_gap the wider one")

    def names(self) -> list[str]:
        """What the series are called."""
        return [f"series-{n:02d}" for n in range(self.series)]


def closed_frames(contact: Contact, series: int) -> Bool[np.ndarray, "t"]:
    """Which frames are closed; never the first one."""
    return _gaps(contact, np.random.default_rng([contact.seed, series])) < 0


def frame(contact: Contact, series: int, number: int, geometry: Geometry) -> tuple[Volume, LabelMap]:
    """One frame of a series and its labels (1 wall, 2 flap, 3 body) on a grid of one slice."""
    rng = np.random.default_rng([contact.seed, series])
    gap = _gaps(contact, rng)[number]
    shape = geometry.shape[:2]
    bend, turns, phase = rng.uniform(0.005, 0.02), rng.uniform(0.6, 1.2), rng.uniform(0, 1)
    root = rng.uniform((0.38, 0.28), (0.42, 0.36))
    length, radius, edge = rng.uniform(0.26, 0.3), rng.uniform(0.035, 0.045), rng.uniform(0.28, 0.32)
    textures = [_texture(rng) for _ in range(3)]
    own = np.random.default_rng([contact.seed, series, number])
    shift = own.normal(0, contact.drift, (2, 2))  # of the wall and of the body
    x, y = np.meshgrid(*((np.arange(n) + 0.5) / n for n in shape), indexing="ij")

    def wall_at(height: np.ndarray) -> np.ndarray:
        return np.asarray(0.62 + shift[0, 0] + bend * np.sin(2 * np.pi * (turns * (height - shift[0, 1]) + phase)))

    root = root + shift[1]
    angle = 0.5
    for _ in range(12):  # the wall is nearly straight: this settles at once
        tip = root[1] + length * np.cos(angle)
        angle = float(np.arcsin(np.clip((wall_at(tip) - gap - radius - root[0]) / length, -0.95, 0.95)))
    along = (x - root[0]) * np.sin(angle) + (y - root[1]) * np.cos(angle)
    across = (x - root[0]) * np.cos(angle) - (y - root[1]) * np.sin(angle)
    inside = {  # distance to the border, positive inside
        1: x - wall_at(y),
        2: radius - np.hypot(along - np.clip(along, 0, length), across),
        3: np.maximum(edge + shift[1, 0] + bend * np.sin(9 * y) - x, 0.1 - np.hypot(x - root[0] + 0.05, y - root[1])),
    }
    places = {1: (x - shift[0, 0], y - shift[0, 1]), 2: (across + 0.5, along + 0.3), 3: (x - shift[1, 0], y - shift[1, 1])}
    labels = np.zeros(shape, np.uint32)
    image = np.full(shape, 0.08)
    for number_of, grey in ((2, 0.62), (1, 0.75), (3, 0.5)):  # a pressed flap gives way: the wall lies over it
        labels[inside[number_of] > 0] = number_of
        weight = 1 / (1 + np.exp(-SHARP * np.clip(inside[number_of], -0.2, 0.2)))
        tissue = grey + 0.1 * _read(textures[number_of - 1], *places[number_of])
        image = image * (1 - weight) + tissue * weight
    image = image * _gain(own, x, y) + own.normal(0, 0.75 * contact.noise, shape)
    scaled = np.maximum(1000 * image, 0).astype(np.float32)
    return Volume(scaled[..., None], geometry), LabelMap(labels[..., None], geometry, dict(enumerate(NAMES[1:], start=1)))


def _gaps(contact: Contact, rng: np.random.Generator) -> Float[np.ndarray, "t"]:
    """Air between flap and wall in each frame; below zero where the flap is pressed into the wall."""
    cycle = contact.cycle
    found = np.empty(0)
    while len(found) < contact.frames:
        held = int(rng.integers(contact.shortest, contact.longest + 1))
        start = int(rng.integers(2, cycle - held + 1))
        t = np.arange(cycle)
        # frames to the run of closed ones; the next cycle's is not looked at: the flap is open between them
        away = np.maximum(np.maximum(start - t, t - (start + held - 1)), 0)
        part = np.clip((away - 1) / 3, 0, 1)
        gap = contact.gap + (contact.open_gap - contact.gap) * (0.5 - 0.5 * np.cos(np.pi * part))
        found = np.concatenate([found, np.where(away == 0, -contact.depth, gap)])
    return found[: contact.frames]


def _texture(rng: np.random.Generator) -> Float[np.ndarray, "n n"]:
    fine = gaussian_filter(rng.standard_normal((192, 192)), 3)
    return np.asarray(fine / fine.std())


def _read(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(map_coordinates(texture, [x * 191, y * 191], order=1, mode="reflect"))


def _gain(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    a, b, c = rng.uniform(-0.06, 0.06, 3)
    return np.asarray(1 + a + b * (x - 0.5) + c * (y - 0.5))
