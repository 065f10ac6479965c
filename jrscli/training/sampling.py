"""What each step of a training sees: drawn from the step's own number, so that a resumed run sees what an unbroken one did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from jrscli.errors import UsageError
from jrscli.recipe import Batch, Batches
from jrscli.training.augment import Augmentation, augment
from jrscli.training.prepared import Cases, Prepared


class Sampler:
    """Draws batches of one part of the data.

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
        rank: int = 0,
    ) -> None:
        self.cases = cases
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
        if kind == "pairs":
            mixed = 2 * len(self.labelled) < len(self.cases) and rng.random() < self.mixed_chance and not self.visits
            pairs = [self._pair(rng, mixed) for _ in range(self.batch)]
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
        images, labels, known = self._stack(fixed, generator, place)
        dims = images.ndim - 2
        classes = labels.shape[1]
        spacing = (self.cases.data.grid.spacing_mm or (1.0, 1.0, 1.0))[:dims]
        common = {
            "fixed": images,
            "fixed_labels": labels,
            "has_fixed_labels": known,
            "classes_present": torch.ones(len(fixed), max(classes - 1, 0), dtype=torch.bool, device=self.device),
            "spacing": torch.tensor([spacing] * len(fixed), device=self.device),
        }
        if moving is None:
            return Batch(**common)
        if place is not None and at_first is not None:
            place.set_state(at_first)  # two visits are moved alike: what lies between them is the patient's own motion
        images, labels, known = self._stack(moving, generator, place)
        return Batch(**common, moving=images, moving_labels=labels, has_moving_labels=known)

    def _stack(
        self, chosen: list[int], generator: torch.Generator, place: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = [self._row(self.cases[n], generator, place) for n in chosen]
        known = torch.tensor([self.cases[n].labels is not None for n in chosen], device=self.device)
        return torch.stack([image for image, _ in rows]), torch.stack([labels for _, labels in rows]), known

    def _row(self, case: Prepared, generator: torch.Generator, place: torch.Generator | None) -> tuple[Tensor, Tensor]:
        image = torch.from_numpy(case.image).to(self.device)
        one_hot = one_hot_of(case, len(self.cases.data.labels), self.device)
        if self.augmentation is None:
            return image, one_hot
        return augment(image, one_hot, self.augmentation, generator, place)


def one_hot_of(case: Prepared, classes: int, device: torch.device) -> Tensor:
    """The labels as one channel per class, background first; all NaN where the case has none, so that no loss reads them."""
    if case.labels is None:
        return torch.full((classes, *case.image.shape[1:]), torch.nan, device=device)
    numbers = torch.from_numpy(case.labels).to(device).long()
    return functional.one_hot(numbers, classes).movedim(-1, 0).float()
