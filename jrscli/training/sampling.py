"""What each step of a training sees: drawn from the step's own number, so that a resumed run sees what an unbroken one did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from jrscli.errors import UsageError
from jrscli.recipe import Batch, Batches
from jrscli.training.augment import Augmentation, augment
from jrscli.training.cases import DataList
from jrscli.training.cycles import Cycle, beat, velocity_between
from jrscli.training.prepared import Cases, Prepared


class Sampler:
    """Draws batches of one part of the data.

    cycle: how sequences are made.
    mixed_chance: how often a pair is one labelled and one unlabelled case, while fewer than half of the cases have labels.
    """

    def __init__(
        self,
        cases: Cases,
        *,
        seed: int,
        batch: int = 1,
        augmentation: Augmentation | None = None,
        device: torch.device,
        mixed_chance: float = 0.5,
        cycle: Cycle = Cycle(),
        rank: int = 0,
    ) -> None:
        self.cases = cases
        self.cycle = cycle
        self._velocities: dict[tuple[int, int], Tensor] = {}
        self.seed = seed
        self.batch = batch
        self.augmentation = augmentation
        self.device = device
        self.mixed_chance = mixed_chance
        self.rank = rank
        self.visits = cases.data.pairs == "visits"
        self.labelled = cases.labelled
        self.unlabelled = sorted(set(range(len(cases))) - set(self.labelled))

    def draw(self, kind: Batches, *step: int) -> Batch:
        """The batch of this step; ``step`` is any row of whole numbers that names it (stage, round, turn, repeat)."""
        rng = np.random.default_rng([self.seed, self.rank, *step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        if kind == "labelled":
            pool = self.labelled or range(len(self.cases))
            return self._batch([int(rng.choice(pool)) for _ in range(self.batch)], None, generator)
        if kind in ("pairs", "sequences"):
            mixed = 2 * len(self.labelled) < len(self.cases) and rng.random() < self.mixed_chance and not self.visits
            pairs = [self._pair(rng, mixed) for _ in range(self.batch)]
            if kind == "sequences":
                return self._sequences(pairs, generator)
        else:
            chosen: Sequence[int] = self.labelled
            if kind == "labelled-moving":
                chosen = self.unlabelled or range(len(self.cases))
            pairs = [self._onto(rng, chosen) for _ in range(self.batch)]
        return self._batch([a for a, _ in pairs], [b for _, b in pairs], generator)

    def _pair(self, rng: np.random.Generator, mixed: bool) -> tuple[int, int]:
        """Fixed and moving. Rows of one batch are alike in which side has labels, where ``mixed``."""
        if mixed and self.labelled and self.unlabelled:
            one, other = int(rng.choice(self.labelled)), int(rng.choice(self.unlabelled))
            return (one, other) if self.batch == 1 and rng.random() < 0.5 else (other, one)
        everyone = range(len(self.cases))
        paired = [n for n in everyone if self._others(n, everyone)] if self.visits else everyone
        if not paired:
            raise UsageError(
                "no patient of the training part has two images",
                code="data.labels",
                hint="leave pairs: visits out of the data list, or name two cases of one patient",
            )
        first = int(rng.choice(paired)) if self.visits else int(rng.integers(len(self.cases)))
        return first, int(rng.choice(self._others(first, range(len(self.cases)))))

    def _onto(self, rng: np.random.Generator, pool: Sequence[int]) -> tuple[int, int]:
        """A fixed case of the pool and a labelled moving one."""
        movers = [n for n in self.labelled if self._others(n, pool)]
        if not movers:
            raise UsageError(
                f"{len(self.labelled)} training cases have labels, which gives no pair that this method could learn from",
                code="data.labels",
                hint="give more labels, or another method: deepatlas takes any number",
            )
        moving = int(rng.choice(movers))
        return int(rng.choice(self._others(moving, pool))), moving

    def _others(self, case: int, pool: Sequence[int]) -> list[int]:
        """Those of the pool that make a pair with the case: of another patient, or another visit of the same one."""
        return [n for n in pool if self.cases.make_a_pair(case, n)]

    def _batch(self, fixed: list[int], moving: list[int] | None, generator: torch.Generator) -> Batch:
        place = torch.Generator().manual_seed(generator.initial_seed() + 1) if self.visits else None
        at_first = place.get_state() if place else None
        heights = self._heights(len(fixed), generator)
        images, labels, known = self._stack(fixed, heights, generator, place)
        common = self._common(images, labels, known)
        if moving is None:
            return Batch(**common)
        if place is not None and at_first is not None:
            place.set_state(at_first)  # two visits are moved alike: what lies between them is the patient's own motion
        images, labels, known = self._stack(moving, heights, generator, place)
        return Batch(**common, moving=images, moving_labels=labels, has_moving_labels=known)

    def _sequences(self, pairs: list[tuple[int, int]], generator: torch.Generator) -> Batch:
        """A beat from the first case of each pair to the second and back; all its frames are moved and coloured alike."""
        frames, fixed_labels, moving_labels = [], [], []
        for (a, b), height in zip(pairs, self._heights(len(pairs), generator), strict=True):
            (one, one_labels), (other, other_labels) = (self._tensors(n, height) for n in (a, b))
            velocity = self._velocity(a, b)
            velocity = velocity[_slice_at(height, len(velocity))]
            rows = beat(one, other, velocity, self.cycle, generator)
            labels = torch.cat([one_labels, other_labels])
            if self.augmentation is not None:
                flat, labels = augment(rows.flatten(0, 1), labels, self.augmentation, generator)
                rows = flat.unflatten(0, rows.shape[:2])
            frames.append(rows)
            fixed_labels.append(labels[: len(one_labels)])
            moving_labels.append(labels[len(one_labels) :])
        sequence = torch.stack(frames)
        known, also = (self._known([pair[side] for pair in pairs]) for side in (0, 1))
        return Batch(
            **self._common(sequence[:, 0], torch.stack(fixed_labels), known),
            moving=sequence[:, self.cycle.peak],
            moving_labels=torch.stack(moving_labels),
            has_moving_labels=also,
            sequence=sequence,
            moving_frame=self.cycle.peak,
        )

    def _velocity(self, a: int, b: int) -> Tensor:
        """What moves case a onto case b, one row per slice; the way back is its negative, so each pair is fitted once."""
        key = (min(a, b), max(a, b))
        if key not in self._velocities:
            (one, one_labels), (other, other_labels) = (as_batch(self.cases[n], self.cases.data, self.device) for n in key)
            both = all(self.cases[n].labels is not None for n in key)
            self._velocities[key] = velocity_between(one, other, (one_labels, other_labels) if both else None, self.cycle)
        found = self._velocities[key]
        return found if (a, b) == key else -found

    def _common(self, images: Tensor, labels: Tensor, known: Tensor) -> dict[str, Any]:
        """What every batch holds."""
        count, classes = len(images), labels.shape[1]
        spacing = (self.cases.data.grid.spacing_mm or (1.0, 1.0, 1.0))[: images.ndim - 2]
        return {
            "fixed": images,
            "fixed_labels": labels,
            "has_fixed_labels": known,
            "classes_present": torch.ones(count, max(classes - 1, 0), dtype=torch.bool, device=self.device),
            "spacing": torch.tensor([spacing] * count, device=self.device),
        }

    def _heights(self, count: int, generator: torch.Generator) -> list[float]:
        """Which slice of each row a method for slices gets, as a part of the way through the image; the same for a pair."""
        if self.cases.data.grid.dims == 3:
            return [0.0] * count
        return [float(height) for height in torch.rand(count, generator=generator)]

    def _stack(
        self, chosen: list[int], heights: list[float], generator: torch.Generator, place: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = []
        for n, height in zip(chosen, heights, strict=True):
            row = self._tensors(n, height)
            rows.append(row if self.augmentation is None else augment(*row, self.augmentation, generator, place))
        return torch.stack([image for image, _ in rows]), torch.stack([labels for _, labels in rows]), self._known(chosen)

    def _known(self, chosen: list[int]) -> Tensor:
        """Which of the cases have labels."""
        return torch.tensor([self.cases[n].labels is not None for n in chosen], device=self.device)

    def _tensors(self, number: int, height: float) -> tuple[Tensor, Tensor]:
        """Image and labels of a case, or of its slice at this height."""
        case, data = self.cases[number], self.cases.data
        if data.grid.dims == 2:
            k = _slice_at(height, case.image.shape[3])
            case = Prepared(
                case.patient, case.image[..., k : k + 1], None if case.labels is None else case.labels[..., k : k + 1]
            )
        image, labels = as_batch(case, data, self.device)
        return image[0], labels[0]


def _slice_at(height: float, count: int) -> int:
    return min(int(height * count), count - 1)


def as_batch(case: Prepared, data: DataList, device: torch.device) -> tuple[Tensor, Tensor]:
    """Image and one-hot labels as a network takes them: one row, or one row per slice for a method for slices."""
    image, labels = torch.from_numpy(case.image).to(device), one_hot_of(case, len(data.labels), device)
    if data.grid.dims == 2:
        return image.movedim(-1, 0), labels.movedim(-1, 0)
    return image[None], labels[None]


def one_hot_of(case: Prepared, classes: int, device: torch.device) -> Tensor:
    """The labels as one channel per class, background first; all NaN where the case has none, so that no loss reads them."""
    if case.labels is None:
        return torch.full((classes, *case.image.shape[1:]), torch.nan, device=device)
    numbers = torch.from_numpy(case.labels).to(device).long()
    return functional.one_hot(numbers, classes).movedim(-1, 0).float()
