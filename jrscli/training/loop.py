"""The loop: a recipe's stages and turns, run once for all methods, to be stopped and resumed at any moment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jrscli.errors import JrsError
from jrscli.progress import Progress, silent
from jrscli.recipe import Method, Stage, Terms, Turn
from jrscli.training import checkpoint
from jrscli.training.cpu import quicken
from jrscli.training.distributed import Ranks
from jrscli.training.log import Log
from jrscli.training.prepared import Cases
from jrscli.training.sampling import Sampler
from jrscli.training.settings import Settings
from jrscli.training.validate import Examples, validate, validation_pairs

Scored = Callable[[str, int, Mapping[str, float]], None]
"""``scored(stage, rounds, scores)``: hears what a validation found."""


def unheard(stage: str, rounds: int, scores: Mapping[str, float]) -> None:
    """The listener that does nothing."""


class Diverged(JrsError):
    """A loss is no longer a number."""


@dataclass
class State:
    """Where a training is: after ``rounds`` rounds of stage number ``stage``; best = the stage's best score and weights."""

    stage: int = 0
    rounds: int = 0
    best_score: float = float("-inf")
    best: dict[str, Tensor] | None = None
    scores: dict[str, float] | None = None


class Loop:
    """Runs the stages of a method; ``folder`` gets the checkpoint and the log.

    description: what a checkpoint carries besides the weights (method, config, data list …).
    template: the number of the training case that is the template, of a method that has one.
    """

    def __init__(
        self,
        method: Method,
        training: Cases,
        validation: Cases,
        settings: Settings,
        folder: Path,
        *,
        device: torch.device,
        description: dict[str, Any],
        template: int | None = None,
        progress: Progress = silent,
        scored: Scored = unheard,
    ) -> None:
        self.ranks = Ranks()
        self.method = method.to(device)
        if device.type == "cpu":
            quicken(self.method, training.data.grid.dims)
        self.settings, self.folder, self.device = settings, folder, device
        self.description, self.progress, self.scored = description, progress, scored
        self.validation = validation
        brought = None if template is None else training[template]
        self.pairs = (
            [(n, n) for n in validation.labelled] if brought else validation_pairs(validation, settings.validation_pairs)
        )
        self.examples = Examples(validation, device, fraction=settings.fraction, contrast=settings.contrast, template=brought)
        self.sampler = Sampler(
            training,
            seed=settings.seed,
            batch=settings.batch,
            augmentation=settings.augmentation,
            device=device,
            mixed_chance=settings.mixed_chance,
            patients_chance=settings.patients_chance,
            cycle=settings.cycle,
            fraction=settings.fraction,
            contrast=settings.contrast,
            patch=settings.patch,
            template=template,
            rank=self.ranks.rank,
        )
        self.state = State()
        self.optimisers: list[torch.optim.Optimizer] = []
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "float16" and device.type == "cuda")
        self.log: Log | None = None

    def run(self, resumed: dict[str, Any] | None = None) -> dict[str, float]:
        """Train to the end; the last validation scores. resumed: a checkpoint of the same training to go on from."""
        stages = self.method.stages()
        if resumed is not None:
            self._restore(stages, resumed)
        else:
            torch.manual_seed(self.settings.seed + self.ranks.rank)
        self.ranks.share(self.method)
        if self.ranks.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.log = Log(self.folder, keep=int(resumed["lines"]) if resumed else 0, tensorboard=self.settings.tensorboard)
        while self.state.stage < len(stages):
            self._stage(stages[self.state.stage])
        return dict(self.state.scores or {})

    def _stage(self, stage: Stage) -> None:
        if self.state.rounds == 0:
            self.optimisers = self._fresh(stage)
            if stage.before:
                stage.before()
        total = stage.rounds
        steps = max(sum(turn.repeats for turn in stage.turns), 1)
        validate_every = max(self.settings.validate_every // steps, 1)
        save_every = max(self.settings.checkpoint_every // steps, 1)
        while self.state.rounds < total:
            number = self.state.rounds
            sums, watched = self._round(stage, number)
            if stage.after_round:
                stage.after_round(number)
            self.state.rounds = number + 1
            self._write(stage, "train", sums)
            self._write(stage, "watch", watched)
            self.progress(stage.name, number + 1, total)
            if stage.until and self._agreed(stage.until):
                break
            if (number + 1) % validate_every == 0 and number + 1 < total:
                self._validate(stage)
            if (number + 1) % save_every == 0 and number + 1 < total:
                self._save()
        self._validate(stage)
        if stage.keep_best and self.state.best is not None:
            self.method.load_state_dict(self.state.best)
        self.state = State(self.state.stage + 1, scores=self.state.scores)
        self.optimisers = []
        self._save()

    def _round(self, stage: Stage, number: int) -> tuple[dict[str, float], dict[str, float]]:
        """All turns once; the mean of each term of the losses, and of each number that the method watches."""
        sums: dict[str, list[float]] = {}
        watched: dict[str, list[float]] = {}
        for place, (turn, optimiser) in enumerate(zip(stage.turns, self.optimisers, strict=True)):
            for group, rate in zip(optimiser.param_groups, _rates(turn), strict=True):
                group["lr"] = rate * stage.rate_factor(number)
            with self._training(turn):
                for repeat in range(turn.repeats):
                    batch = self.sampler.draw(stage.batches, self.state.stage, number, place, repeat)
                    with torch.autocast(self.device.type, self._dtype(), enabled=self.settings.precision != "float32"):
                        terms = turn.loss(batch)
                    for name, seen in self.method.watched().items():
                        watched.setdefault(f"{'+'.join(turn.trains)}.{name}", []).append(seen)
                    if terms is None and self.ranks.size == 1:
                        continue
                    self._step(turn, optimiser, terms or {})
                    for name, value in (terms or {}).items():
                        sums.setdefault(f"{'+'.join(turn.trains)}.{name}", []).append(float(value.detach()))
        return _means(sums), _means(watched)

    def _agreed(self, until: Callable[[], bool]) -> bool:
        """The first process's answer, for all of them."""
        self.ranks.share(self.method)
        return until()

    def _step(self, turn: Turn, optimiser: torch.optim.Optimizer, terms: Terms) -> None:
        total = sum((value.float() for value in terms.values()), torch.zeros((), device=self.device))
        if not bool(torch.isfinite(total)):
            bad = ", ".join(name for name, value in terms.items() if not bool(torch.isfinite(value))) or "the sum"
            raise Diverged(
                f"the loss is not a number any more ({bad})",
                code="train.diverged",
                hint="use a smaller rate, or precision=float32; go on from the last checkpoint with --resume",
            )
        optimiser.zero_grad(set_to_none=True)
        if total.requires_grad:
            self.scaler.scale(total).backward()
        weights = self._weights(turn)
        self.ranks.average(weights)
        self.scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(weights, self.settings.clip)
        self.scaler.step(optimiser)
        self.scaler.update()

    @contextmanager
    def _training(self, turn: Turn) -> Iterator[None]:
        """The turn's networks learn; all others are frozen and in eval mode."""
        for name, network in self.method.networks.items():
            network.train(name in turn.trains).requires_grad_(name in turn.trains)
        try:
            yield
        finally:
            self.method.eval().requires_grad_(True)

    def _weights(self, turn: Turn) -> list[nn.Parameter]:
        return [weight for name in turn.trains for weight in self.method.networks[name].parameters()]

    def _fresh(self, stage: Stage) -> list[torch.optim.Optimizer]:
        kinds: dict[str, Any] = {
            "adam": torch.optim.AdamW,
            "radam": partial(torch.optim.RAdam, decoupled_weight_decay=True),
            "rmsprop": torch.optim.RMSprop,
        }
        decay = self.settings.weight_decay
        return [kinds[turn.optimiser](self._groups(turn), lr=turn.rate, weight_decay=decay) for turn in stage.turns]

    def _groups(self, turn: Turn) -> Any:
        """The weights that share a step size: all of them, or those of each network."""
        if not turn.rates:
            return self._weights(turn)
        return [{"params": list(self.method.networks[name].parameters())} for name in turn.trains]

    def _dtype(self) -> torch.dtype:
        return torch.float16 if self.settings.precision == "float16" else torch.bfloat16

    def _validate(self, stage: Stage) -> None:
        self.ranks.share(self.method)
        found = validate(self.method, self.examples, self.pairs)
        self._write(stage, "validation", found)
        score = sum(value for name, value in found.items() if name in ("registration", "segmentation"))
        self.scored(stage.name, self.state.rounds, found)
        self.state.scores = found
        if found and score > self.state.best_score:  # without a validation part the last weights are kept
            self.state.best_score = score
            self.state.best = copy.deepcopy(self.method.state_dict())

    def _write(self, stage: Stage, what: str, values: dict[str, float]) -> None:
        if self.log:
            self.log.add(stage.name, self.state.rounds, what, values)

    def _save(self) -> None:
        if not self.log:
            return
        state = self.state
        checkpoint.save(
            self.folder / checkpoint.FILE,
            {
                **self.description,
                "stage": state.stage,
                "rounds": state.rounds,
                "best_score": state.best_score,
                "best": state.best,
                "scores": state.scores,
                "weights": self.method.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "scaler": self.scaler.state_dict(),
                "random": torch.get_rng_state(),
                "random_device": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
                "lines": self.log.lines,
            },
        )

    def _restore(self, stages: list[Stage], content: dict[str, Any]) -> None:
        self.method.load_state_dict(content["weights"])
        self.state = State(content["stage"], content["rounds"], content["best_score"], content["best"], content["scores"])
        if self.state.stage < len(stages) and self.state.rounds:
            self.optimisers = self._fresh(stages[self.state.stage])
            for optimiser, state in zip(self.optimisers, content["optimisers"], strict=True):
                optimiser.load_state_dict(state)
        self.scaler.load_state_dict(content["scaler"])
        torch.set_rng_state(content["random"])
        if self.device.type == "cuda" and content.get("random_device") is not None:
            torch.cuda.set_rng_state(content["random_device"], self.device)


def _rates(turn: Turn) -> list[float]:
    """The step size of each group of weights."""
    return [turn.rates.get(name, turn.rate) for name in turn.trains] if turn.rates else [turn.rate]


def _means(found: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: sum(values) / len(values) for name, values in found.items()}
