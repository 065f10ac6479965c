"""How a training runs, whatever the method; and ``key=value`` settings of it, of the method and of the augmentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from jrscli.errors import InputError, UsageError
from jrscli.runtime.plain import PlainError, build, need
from jrscli.runtime.strict_yaml import YamlError, load
from jrscli.training.augment import Augmentation
from jrscli.training.simulated.beats import Cycle
from jrscli.training.simulated.fractions import Contrast, Fraction


@dataclass(frozen=True)
class Settings:
    """The settings of the loop.

    batch: cases or pairs per step. clip: the largest norm of a gradient. weight_decay: of AdamW (0: Adam).
    precision: "float32", or the type that torch.autocast computes in: "bfloat16" or "float16".
    validate_every, checkpoint_every: steps of an optimiser; both happen at the end of a round, and at the end of each stage.
    validation_pairs: how many pairs are registered each time.
    mixed_chance: how often a pair is one labelled and one unlabelled case, while fewer than half of the cases have labels.
    patients_chance: how often a pair is of two patients, where the data list simulates second images.
    cycle: how a method that learns from sequences gets them. fraction, contrast: how the second image is made where the data
    list has it simulated. patch: voxels of a part of the grid drawn at each step; without it the whole grid.
    tensorboard: whether the log is also written as TensorBoard curves.
    """

    seed: int = 0
    batch: int = 1
    clip: float = 1.0
    weight_decay: float = 0.0
    precision: str = "float32"
    validate_every: int = 200
    checkpoint_every: int = 100
    validation_pairs: int = 18
    mixed_chance: float = 0.5
    patients_chance: float = 0.0
    tensorboard: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)
    cycle: Cycle = field(default_factory=Cycle)
    fraction: Fraction = field(default_factory=Fraction)
    contrast: Contrast = field(default_factory=Contrast)
    patch: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        need(self.batch > 0 and self.clip > 0, "batch and clip must be positive")
        need(self.validate_every > 0 and self.checkpoint_every > 0, "validate_every and checkpoint_every are at least 1")
        need(0 <= self.mixed_chance <= 1 and 0 <= self.patients_chance <= 1, "mixed_chance and patients_chance are 0 … 1")
        need(self.patch is None or min(self.patch) > 0, "patch is three numbers of voxels")
        need(self.precision in ("float32", "bfloat16", "float16"), "precision is float32, bfloat16 or float16")


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """``{"config": {…}, "training": {…}, "data": {…}}`` from ``key=value`` texts.

    ``training.KEY`` sets the loop, ``training.augmentation.KEY`` the augmentation, ``training.cycle.KEY``,
    ``training.fraction.KEY`` and ``training.contrast.KEY`` what is simulated, ``data.KEY`` the data list, any other KEY the
    method's config.

    Raises UsageError `settings.form`.
    """
    found: dict[str, Any] = {part: {} for part in PARTS}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            raise UsageError(
                f"the setting {pair} is not KEY=VALUE", code="settings.form", hint="for example --set joint_rounds=50"
            )
        place = found
        for word in path[:-1] if path[0] in PARTS else ["config", *path[:-1]]:
            place = place.setdefault(word, {})
        try:
            place[path[-1]] = load(value)
        except YamlError:
            place[path[-1]] = value
    return found


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a YAML file: ``config``, ``training`` and ``data``, each with keys of its own.

    Raises InputError `settings.missing`, UsageError `settings.value`.
    """
    try:
        found = load(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"the settings {path.name} cannot be read: {error.strerror}", code="settings.missing", hint="check the path"
        ) from None
    except YamlError as error:
        raise UsageError(f"the settings {path.name} are not YAML: {error}", code="settings.value", hint=_SHAPE) from None
    whole = isinstance(found, Mapping) and set(found) <= set(PARTS) and all(isinstance(v, Mapping) for v in found.values())
    if not whole:
        raise UsageError(f"the settings {path.name} have other parts than expected", code="settings.value", hint=_SHAPE)
    return {part: dict(found.get(part, {})) for part in PARTS}


PARTS = ("config", "training", "data")
_SHAPE = "a settings file has the parts config, training and data, each with KEY: VALUE lines"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the keys of ``over``, branch by branch."""
    out = dict(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, Mapping) and isinstance(out.get(key), Mapping) else value
    return out


def built(kind: type, values: Mapping[str, Any]) -> Any:
    """An instance of a config class from plain values.

    Raises UsageError `settings.value`, with the keys that exist.
    """
    try:
        return build(kind, values)
    except PlainError as error:
        known = ", ".join(item.name for item in fields(kind))
        raise UsageError(f"a setting is not valid: {error}", code="settings.value", hint=f"known: {known}") from None
