"""The settings of ``jrs node``: options over the keys of a YAML file over defaults."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.errors import InputError, ModelError, UsageError

if TYPE_CHECKING:
    from jrscli.io.dicom_receive import Door
    from jrscli.io.dicom_send import Destination

_ELSEWHERE = {"config", "once", "quiet", "verbose", "debug"}
_NAMES = {"task_options": "options"}


@dataclass(frozen=True)
class Settings:
    """What a node does. words: options of the task."""

    output: Path
    door: Door
    destination: Destination
    task: str
    words: tuple[str, ...]
    pair: str
    quiet_seconds: float
    keep_days: float
    retry_seconds: float
    timeout_per_case: float | None
    threads: int | None


def settings_of(context: Any, config: Path | None) -> Settings:
    """The settings from the options of a command line and, for those not given there, from a file.

    Raises ModelError `extra.missing`, InputError `node.config`, UsageError `usage.missing` and what is wrong with a value.
    """
    try:
        from jrscli.io.dicom_receive import Door, Peer, is_title
        from jrscli.io.dicom_send import Destination
    except ModuleNotFoundError as error:
        if error.name != "pynetdicom":
            raise
        raise ModelError(
            "jrs node needs pynetdicom, which is not installed", code="extra.missing", hint="pip install 'jrscli[node]'"
        ) from None
    values = _values(context, config)
    for name in ("output", "accept", "send_to"):
        if not values[name]:
            word = "--" + name.replace("_", "-")
            raise UsageError(
                f"{word} is missing", code="usage.missing", hint=f"give {word}, or {name}: in the file of --config"
            )
    if not is_title(values["title"]):
        raise UsageError("--title is no AE title", code="node.title", hint="1 to 16 printable characters, no backslash")
    try:
        words = tuple(shlex.split(values["task_options"]))
    except ValueError:
        raise UsageError("--options has a quote without end", code="node.options", hint="close the quote") from None
    task = str(getattr(values["task"], "value", values["task"]))
    _refuse_ours(task, words)
    return Settings(
        Path(values["output"]),
        Door(
            values["title"],
            values["host"],
            values["port"],
            tuple(Peer.of(one) for one in values["accept"]),
            int(values["max_object_mb"] * 1e6),
            values["max_associations"],
        ),
        Destination.of(values["send_to"]),
        task,
        words,
        str(getattr(values["pair"], "value", values["pair"])),
        values["quiet_for"],
        values["keep_days"],
        values["retry_every"],
        values["timeout_per_case"],
        values["threads"],
    )


def _values(context: Any, config: Path | None) -> dict[str, Any]:
    parameters = {one.name: one for one in context.command.params if one.name not in _ELSEWHERE | {"help"}}
    values = {name: context.params[name] for name in parameters}
    by_key = {_NAMES.get(name, name): name for name in parameters}
    for key, value in (_document(config) if config else {}).items():
        if key not in by_key:
            raise _unfit(f"it has a key that is none: {key!r}", f"one of {', '.join(sorted(by_key))}")
        name = by_key[key]
        if context.get_parameter_source(name).name == "COMMANDLINE":
            continue
        if key == "output" and isinstance(value, str) and config is not None:
            value = str(config.parent / value)  # paths in a file start at the file
        if isinstance(value, list) != (key == "accept") or isinstance(value, dict) or value is None:
            raise _unfit(f"the value of {key} is none", "accept is a list, everything else one text or number")
        values[name] = _parsed(context, max(parameters[name].opts, key=len), value if isinstance(value, list) else [value])[
            name
        ]
    return values


def _parsed(context: Any, option: str, values: list[Any]) -> dict[str, Any]:
    """The parameters of the command as if the option had been given with these values."""
    try:
        found = context.command.make_context("node", [f"{option}={value}" for value in values])
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise _unfit(f"the value of {option[2:]} is none", f"jrs node --help says what {option} takes") from None
    params: dict[str, Any] = found.params
    return params


def _document(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        raise _unfit("it is not there or no YAML", "check the path, and the indentation") from None
    if not isinstance(found, dict):
        raise _unfit("it holds no keys with values", "one line per option, for example  port: 11112")
    return found


def _unfit(words: str, hint: str) -> InputError:
    return InputError(f"the file of --config cannot be used: {words}", code="node.config", hint=hint)


def _refuse_ours(task: str, words: tuple[str, ...]) -> None:
    from jrscli.cli.batch_words import OURS
    from jrscli.cli.main import command

    ours = {word for one in command().commands[task].params if one.name in OURS for word in (*one.opts, *one.secondary_opts)}
    for word in words:
        if word.partition("=")[0] in ours:
            raise UsageError(f"{word} has no place in --options", code="node.options", hint="the node itself has that option")
