"""What the user gave on the command line, as run.json holds it: hashes in place of paths, and nothing that names a patient."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from jrscli import __version__

TALK = {"output", "exist", "json", "quiet", "verbose", "debug", "progress", "threads", "write_field"}
"""Options that say where results go and how it is told, not what is computed."""
PRIVATE = {"roi", "exclude", "select", "gate_rule"}
"""Options whose values may name a patient or an ROI: kept as a keyed hash that only this account can compare."""
MAYBE_FILES = {"init", "model"}
"""Words that may also be the path of a file."""


def given_to(command: str) -> tuple[dict[str, Any], str]:
    """What was given to the command that runs, and its fingerprint; nothing where no command of that name runs."""
    from jrscli.cli.plain import current_context

    context = current_context()
    if context is None or context.info_name != command:
        return {}, ""
    given = given_by(context)
    return given, fingerprint_of(command, given)


def given_by(context: Any) -> dict[str, Any]:
    """Every argument and option that stood on the command line, by its name."""
    found: dict[str, Any] = {}
    for parameter in context.command.params:
        name = parameter.name
        source = context.get_parameter_source(name)
        value = context.params.get(name)
        if source is None or source.name != "COMMANDLINE" or name in TALK or value in (None, (), []):
            continue
        # Typer hands over paths as Path; older ones as text of this type
        kind = getattr(getattr(parameter, "type", None), "name", "")
        found[name] = _plain(name, value, kind in ("path", "file", "directory"))
    return found


def fingerprint_of(command: str, given: dict[str, Any]) -> str:
    """A hash of the command, what was given to it, the version, and where a model is chosen by itself of all cards at hand."""
    document = {"command": command, "given": given, "jrs": __version__, "models": _models(given)}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _plain(name: str, value: Any, path: bool) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(name, one, path) for one in value]
    if name in PRIVATE:
        from jrscli.io.pseudonym import own_salt

        return {"private": hmac.new(own_salt(), str(value).encode(), hashlib.sha256).hexdigest()[:16]}
    if path or isinstance(value, Path) or (name in MAYBE_FILES and Path(str(value)).is_file()):
        from jrscli.io.hashes import input_sha256

        try:
            return {"sha256": input_sha256(Path(value))}
        except OSError:
            return {"sha256": None}  # missing: the command itself says so, in its own words
    return value if isinstance(value, bool | int | float | str) else str(getattr(value, "value", value))


def _models(given: dict[str, Any]) -> list[str]:
    """The hashes of the cards that the result may depend on."""
    from jrscli.io.hashes import input_sha256
    from jrscli.runtime.store import card_files

    name = given.get("model", "auto")
    if name == "none" or isinstance(name, dict):
        return []
    paths = [path for path in card_files() if name in ("auto", path.stem)]
    return sorted(input_sha256(path) for path in paths)
