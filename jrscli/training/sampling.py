"""What each step of a training sees: drawn from the step's own number, so that a resumed run sees what an unbroken one did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jrscli.errors import UsageError
from jrscli.recipe import Batch, Batches
from jrscli.training.augment import Augmentation, augment
from jrscli.training.patches import cropped
from jrscli.training.prepared import Cases, Prepared
from jrscli.training.rows import as_batch, drawn_in, in_range, in_unit, simulated_of
from jrscli.training.simulated.beats import Cycle, beat, velocity_between
from jrscli.training.simulated.fractions import Contrast, Fraction


class Sampler:
    """Draws batches of one part of the data.

    cycle: how sequences are made. fraction, contrast: how images are, of which the second is simulated.
    patch: voxels of a part of the grid that is drawn instead of the whole. template: the number of the case that is it, by
    default the first labelled one.
    mixed_chance: how often a pair is one labelled and one unlabelled case, while fewer than half of the cases have labels.
    patients_chance: how often a pair is of two patients, where second images are simulated.
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
        patients_chance: float = 0.0,
        cycle: Cycle = Cycle(),
        fraction: Fraction = Fraction(),
        contrast: Contrast = Contrast(),
        patch: tuple[int, ...] | None = None,
        template: int | None = None,
        rank: int = 0,
    ) -> None:
        self.cases = cases
        self.cycle, self.fraction, self.contrast, self.patch = cycle, fraction, contrast, patch
        self._velocities: dict[tuple[int, int], Tensor] = {}
        self.seed = seed
        self.batch = batch
        self.augmentation = augmentation
        self.device = device
        self.mixed_chance, self.patients_chance = mixed_chance, patients_chance
        self.rank = rank
        self.visits = cases.data.pairs == "visits"
        self.labelled = cases.labelled
        self.template = template if template is not None else next(iter(self.labelled), 0)
        self.unlabelled = sorted(set(range(len(cases))) - set(self.labelled))

    def draw(self, kind: Batches, *step: int) -> Batch:
        """The batch of this step; ``step`` is any row of whole numbers that names it (stage, round, turn, repeat)."""
        rng = np.random.default_rng([self.seed, self.rank, *step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        if kind == "labelled":
            pool = self.labelled or range(len(self.cases))
            return self._batch([int(rng.choice(pool)) for _ in range(self.batch)], None, generator)
        if kind == "mixed":
            return self._beside(rng, generator)
        if kind == "template":
            return self._onto_template(rng, generator)
        if kind in ("pairs", "sequences"):
            few = 2 * len(self.labelled) < len(self.cases)
            mixed = few and rng.random() < self.mixed_chance and not self.cases.data.within_patient
            simulated = self.cases.data.simulates
            apart = simulated and self.patients_chance > 0 and rng.random() < self.patients_chance
            pairs = [self._apart(rng) if apart else self._pair(rng, mixed) for _ in range(self.batch)]
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

    def _apart(self, rng: np.random.Generator) -> tuple[int, int]:
        """Cases of two patients, whatever the data list registers."""
        first = int(rng.integers(len(self.cases)))
        patient = self.cases.cases[first].patient
        return first, int(rng.choice([n for n, case in enumerate(self.cases.cases) if case.patient != patient]))

    def _beside(self, rng: np.random.Generator, generator: torch.Generator) -> Batch:
        """Pairs of cases whose labels are not known, where there are such, and a labelled image of another patient for each."""
        pairs, others = [], []
        for _ in range(self.batch):
            firsts = [n for n in self.unlabelled if self._others(n, self.unlabelled)] or range(len(self.cases))
            first = int(rng.choice(firsts))
            second = int(rng.choice(self._others(first, self.unlabelled) or self._others(first, range(len(self.cases)))))
            whose = {self.cases[n].patient for n in (first, second)}
            free = [n for n in self.labelled if self.cases[n].patient not in whose]
            if not free:
                raise _too_few(len(self.labelled))
            pairs.append((first, second))
            others.append(int(rng.choice(free)))
        aside = self._batch(others, None, generator)
        found = self._batch([a for a, _ in pairs], [b for _, b in pairs], generator)
        return replace(
            found,
            labelled_image=aside.fixed,
            labelled_target=aside.fixed_labels,
            labelled_present=aside.classes_present,
        )

    def _onto_template(self, rng: np.random.Generator, generator: torch.Generator) -> Batch:
        """Labelled cases, and as the moving image the template, which is always as it is shipped."""
        free = [n for n in self.labelled if self.cases[n].patient != self.cases[self.template].patient]
        if not free:
            raise _too_few(len(self.labelled))
        chosen = [int(rng.choice(free)) for _ in range(self.batch)]
        images, labels, _ = self._stack(chosen, [0.0] * self.batch, generator, None)
        rows = [self.template] * self.batch
        moving, moving_labels = (torch.stack(parts) for parts in zip(*(self._tensors(n, 0.0) for n in rows), strict=True))
        common = self._common(images, labels, chosen, rows)
        return self._finished(
            {**common, "moving": moving, "moving_labels": moving_labels, "has_moving_labels": self._known(rows)}, generator
        )

    def _onto(self, rng: np.random.Generator, pool: Sequence[int]) -> tuple[int, int]:
        """A fixed case of the pool and a labelled moving one."""
        movers = [n for n in self.labelled if self._others(n, pool)]
        if not movers:
            raise _too_few(len(self.labelled))
        moving = int(rng.choice(movers))
        return int(rng.choice(self._others(moving, pool))), moving

    def _others(self, case: int, pool: Sequence[int]) -> list[int]:
        """Those of the pool that make a pair with the case (`Cases.make_a_pair`)."""
        return [n for n in pool if self.cases.make_a_pair(case, n)]

    def _batch(self, fixed: list[int], moving: list[int] | None, generator: torch.Generator) -> Batch:
        place = torch.Generator().manual_seed(generator.initial_seed() + 1) if self.visits else None
        at_first = place.get_state() if place else None
        heights = self._heights(len(fixed), generator)
        images, labels, known = self._stack(fixed, heights, generator, place)
        if moving is None:
            return self._finished(self._common(images, labels, fixed), generator)
        if self.cases.data.simulates and moving == fixed:
            return self._finished(self._simulated(images, labels, fixed, generator), generator)
        if place is not None and at_first is not None:
            place.set_state(at_first)  # two visits are moved alike: what lies between them is the patient's own motion
        common = self._common(images, labels, fixed, moving)
        images, labels, known = self._stack(moving, heights, generator, place)
        return self._finished({**common, "moving": images, "moving_labels": labels, "has_moving_labels": known}, generator)

    def _simulated(self, images: Tensor, labels: Tensor, chosen: list[int], generator: torch.Generator) -> dict[str, Any]:
        """Each row as the moving image, what is simulated of it as the fixed one."""
        data = self.cases.data
        rows = [
            simulated_of(image, one, data, self.fraction, self.contrast, generator)
            for image, one in zip(images, labels, strict=True)
        ]
        fixed, fixed_labels, moving, moving_labels, motion = (torch.stack(parts) for parts in zip(*rows, strict=True))
        common = self._common(fixed, fixed_labels, chosen)
        also = {"moving": moving, "moving_labels": moving_labels, "has_moving_labels": common["has_fixed_labels"]}
        return {**common, **also, "true_displacement": motion}

    def _finished(self, found: dict[str, Any], generator: torch.Generator) -> Batch:
        """The batch of these parts: a patch of the grid if one is asked for, images in their range."""
        if self.patch is not None:
            found = cropped(found, self.patch, generator)
        for role in ("fixed", "moving"):
            if role in found:
                found[role] = in_range(found[role], self.cases.data)
        return Batch(**found)

    def _sequences(self, pairs: list[tuple[int, int]], generator: torch.Generator) -> Batch:
        """A beat from the first case of each pair to the second and back; all its frames are moved and coloured alike."""
        frames, fixed_labels, moving_labels = [], [], []
        for (a, b), height in zip(pairs, self._heights(len(pairs), generator), strict=True):
            (one, one_labels), (other, other_labels) = (self._tensors(n, height) for n in (a, b))
            velocity = self._velocity(a, b)
            velocity = velocity[_slice_at(height, len(velocity))]
            rows = beat(one, other, velocity, self.cycle, generator)
            labels = torch.cat([one_labels, other_labels])
            flat, labels = self._augmented(rows.flatten(0, 1), labels, generator)
            rows = flat.unflatten(0, rows.shape[:2])
            frames.append(rows)
            fixed_labels.append(labels[: len(one_labels)])
            moving_labels.append(labels[len(one_labels) :])
        sequence = torch.stack(frames)
        sequence = in_range(sequence, self.cases.data)
        firsts, seconds = ([pair[side] for pair in pairs] for side in (0, 1))
        return Batch(
            **self._common(sequence[:, 0], torch.stack(fixed_labels), firsts, seconds),
            moving=sequence[:, self.cycle.peak],
            moving_labels=torch.stack(moving_labels),
            has_moving_labels=self._known(seconds),
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

    def _common(self, images: Tensor, labels: Tensor, chosen: list[int], *others: list[int]) -> dict[str, Any]:
        """What every batch holds. others: the cases of the other images of each row."""
        spacing = (self.cases.data.grid.spacing_mm or (1.0, 1.0, 1.0))[: images.ndim - 2]
        present = torch.stack(
            [drawn_in([self.cases[n] for n in rows], labels.shape[1], self.device) for rows in (chosen, *others)]
        )
        return {
            "fixed": images,
            "fixed_labels": labels,
            "has_fixed_labels": self._known(chosen),
            "classes_present": present.all(0),
            "spacing": torch.tensor([spacing] * len(images), device=self.device),
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
            rows.append(self._augmented(*row, generator, place))
        return torch.stack([image for image, _ in rows]), torch.stack([labels for _, labels in rows]), self._known(chosen)

    def _augmented(
        self, image: Tensor, labels: Tensor, generator: torch.Generator, place: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.augmentation is None:
            return image, labels
        return augment(image, labels, self.augmentation, generator, place, bounded=not self.cases.data.window.zscore)

    def _known(self, chosen: list[int]) -> Tensor:
        """Which of the cases have labels."""
        return torch.tensor([self.cases[n].labels is not None for n in chosen], device=self.device)

    def _tensors(self, number: int, height: float) -> tuple[Tensor, Tensor]:
        """Image (0 … 1) and labels of a case, or of its slice at this height."""
        case, data = self.cases[number], self.cases.data
        if data.grid.dims == 2:
            k = _slice_at(height, case.image.shape[3])
            labelled = None if case.labels is None else case.labels[..., k : k + 1]
            case = Prepared(case.patient, case.image[..., k : k + 1], labelled, case.drawn)
        image, labels = as_batch(case, data, self.device)
        return in_unit(image[0], data), labels[0]


def _too_few(labelled: int) -> UsageError:
    return UsageError(
        f"{labelled} training cases have labels, which gives no pair that this method could learn from",
        code="data.labels",
        hint="give more labels, or another method: deepatlas takes any number",
    )


def _slice_at(height: float, count: int) -> int:
    return min(int(height * count), count - 1)
