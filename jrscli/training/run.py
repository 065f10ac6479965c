"""A training from its files: method by name, data list, settings; new, or resumed from its folder."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jrscli import methods
from jrscli.errors import UsageError
from jrscli.progress import Progress, silent
from jrscli.recipe import Method
from jrscli.runtime.plain import PlainError, build, plain
from jrscli.training import checkpoint
from jrscli.training.cases import DataList, read_data
from jrscli.training.extents import extents
from jrscli.training.loop import Loop, Scored, unheard
from jrscli.training.prepared import Cases, largest, mostly_cropped, volumes_cc
from jrscli.training.settings import Settings, built
from jrscli.training.template import choose_template, shipped

CONFIG_FILE = "config.yaml"


@dataclass(frozen=True)
class Trained:
    """What a training left: its folder, and the last scores on the validation part."""

    folder: Path
    scores: Mapping[str, float]


def method_named(name: str) -> Any:
    """The module of a recipe; it has ``METHOD`` and ``Config``.

    Raises UsageError `method.unknown`.
    """
    if name not in methods.names():
        raise UsageError(f"no method named '{name}'", code="method.unknown", hint=f"there are: {', '.join(methods.names())}")
    return importlib.import_module(f"jrscli.methods.{name}")


def build_method(name: str, config: Mapping[str, Any]) -> Method:
    """A method with the config of these plain values.

    Raises UsageError `method.unknown`, `settings.value`.
    """
    module = method_named(name)
    return module.METHOD(built(module.Config, config))


def train(
    method: str,
    data: Path | str,
    folder: Path | str,
    *,
    config: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    root: Path | str | None = None,
    resume: bool = False,
    device: torch.device | None = None,
    progress: Progress = silent,
    scored: Scored = unheard,
) -> Trained:
    """Train a method on a data list; the folder gets ``checkpoint.pt``, ``log.csv`` and ``config.yaml``.

    config: of the method; what the data list says (classes, axes) is filled in. training: of the loop (`Settings`).
    changes: keys of the data list to be set otherwise. scored: hears every validation.
    resume: go on from the folder's checkpoint, which must be of the same method, config and settings.

    Raises UsageError `train.exists`, `train.other`, `settings.value`, and the errors of `read_data`.
    """
    folder = Path(folder)
    module = method_named(method)
    listed, cases = read_data(data, root=root, changes=changes)
    values = {**_from_data(module.Config, listed), **(config or {})}
    settings = built(Settings, training or {})
    torch.manual_seed(settings.seed)
    network = module.METHOD(built(module.Config, values))
    _check_grid(network, listed, settings.patch)
    training_cases = Cases(listed, cases, "train")
    description = {
        "method": method,
        "config": dataclasses.asdict(network.config),
        "settings": dataclasses.asdict(settings),
        "data": plain(listed),
        "versions": _versions(),
        # reads every case once: a file that cannot be read stops the training here and not hours later
        "cropped": mostly_cropped(training_cases),
        "largest": largest(training_cases),
        "volumes_cc": {name: list(both) for name, both in volumes_cc(training_cases).items()},
    }
    resumed, template = None, None
    brings = "template" in network.requires
    if resume:
        resumed = checkpoint.load(folder)
        _same(resumed, method, network.config, settings, listed)
        template = resumed["template"]["number"] if brings else None
    elif (folder / checkpoint.FILE).exists():
        raise UsageError(
            f"{folder.name} holds a training already",
            code="train.exists",
            hint="go on with --resume, or give another folder with -o",
        )
    elif brings:
        template = choose_template(training_cases, listed.template)
    network.informed(extents(training_cases))
    folder.mkdir(parents=True, exist_ok=True)
    loop = Loop(
        network,
        training_cases,
        Cases(listed, cases, "validation"),
        settings,
        folder,
        device=device or torch.device("cpu"),
        description=description if template is None else {**description, "template": _carried(training_cases, template)},
        template=template,
        progress=progress,
        scored=scored,
    )
    if loop.ranks.first:
        _write_config(folder, description)
    return Trained(folder, loop.run(resumed))


def _carried(cases: Cases, template: int) -> dict[str, Any]:
    """A template as a checkpoint holds it."""
    found = shipped(cases, template)
    return {
        "number": template,
        "image": torch.from_numpy(found.image),
        "labels": torch.from_numpy(found.labels),
        "affine": found.geometry.affine.tolist(),
    }


def _from_data(config: type, data: DataList) -> dict[str, Any]:
    """What the data list settles of a config."""
    known = {item.name for item in dataclasses.fields(config)}
    dims = data.grid.dims
    settled: dict[str, Any] = {"classes": len(data.labels) or 1, "dims": dims, "channels": data.channels}
    settled |= {"size": (data.grid.size or ())[:dims], "spacing_mm": (data.grid.spacing_mm or (1.0, 1.0, 1.0))[:dims]}
    return {name: value for name, value in settled.items() if name in known}


def _check_grid(method: Method, data: DataList, patch: tuple[int, ...] | None) -> None:
    if patch and not method.dynamic:
        raise UsageError("the method needs the whole grid", code="data.grid", hint="leave training.patch out")
    size = (patch or data.grid.size or ())[: data.grid.dims]
    if any(n % method.multiple for n in size):
        raise UsageError(
            f"a grid of {size} voxels where the method needs multiples of {method.multiple}",
            code="data.grid",
            hint="change training.patch" if patch else "change grid.size in the data list",
        )


def _same(resumed: Mapping[str, Any], method: str, config: Any, settings: Settings, data: DataList) -> None:
    """Raise UsageError `train.other` unless the checkpoint was made with these; a key that is newer than it has its default."""
    now = {"config": config, "settings": settings, "data": data}
    differs = [] if resumed["method"] == method else ["method"]
    for key, value in now.items() if not differs else ():
        try:
            same = build(type(value), resumed[key]) == value
        except PlainError:
            same = False
        differs += [] if same else [key]
    if differs:
        raise UsageError(
            f"the checkpoint was made with another {differs[0]}",
            code="train.other",
            hint="give the same method, data list and settings, or another folder with -o",
        )


def _versions() -> dict[str, str]:
    from jrscli import __version__

    return {"jrscli": __version__, "torch": str(torch.__version__)}


def _write_config(folder: Path, description: Mapping[str, Any]) -> None:
    import yaml

    text = yaml.safe_dump(plain(description), sort_keys=False, allow_unicode=True, width=120)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
