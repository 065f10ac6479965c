"""The inputs of a recorded run, found by their hashes, and the words that ran it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jrscli.cli.talk import Talk
from jrscli.errors import InputError, UsageError


def hashes_in(given: Mapping[str, Any]) -> set[str]:
    """The hashes of everything that was read.

    Raises InputError `rerun.inputs` where a file was missing in the run itself.
    """
    found: set[str] = set()
    for value in given.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict) and "sha256" in one:
                if one["sha256"] is None:
                    raise InputError(
                        "an input of the run was missing", code="rerun.inputs", hint="there is nothing to do again"
                    )
                found.add(one["sha256"])
    return found


def found_inputs(where: Iterable[Path], wanted: set[str], talk: Talk) -> dict[str, tuple[Path, ...]]:
    """Paths by hash: of a file or a folder one path, of a series that does not fill a folder those of its slices.

    Raises InputError `rerun.inputs`, `input.missing`.
    """
    from jrscli.io.content import existing
    from jrscli.io.hashes import input_sha256
    from jrscli.io.survey import survey

    found: dict[str, tuple[Path, ...]] = {}
    for start in where:
        root = existing(start)
        inside = sorted(root.rglob("*")) if root.is_dir() else []
        for number, path in enumerate([root, *inside]):
            if wanted <= found.keys():
                return found
            talk("inputs", number, len(inside) + 1)
            digest = input_sha256(path)
            if digest in wanted:
                found.setdefault(digest, (path,))
        if root.is_dir() and not wanted <= found.keys():
            for series in survey(root).series:
                found.setdefault(_of_series(series.paths), series.paths)
    left = wanted - found.keys()
    if left:
        raise InputError(
            f"{len(left)} of {len(wanted)} inputs are not among what was given",
            code="rerun.inputs",
            hint="they are known by their content: give the files, or folders that hold them, unchanged",
        )
    return {digest: found[digest] for digest in wanted}


def _of_series(paths: tuple[Path, ...]) -> str:
    """The hash that a folder of these files would have."""
    import hashlib

    from jrscli.io.hashes import input_sha256

    return hashlib.sha256("".join(sorted(input_sha256(path) for path in paths)).encode()).hexdigest()


def linked(files: tuple[Path, ...], folder: Path) -> Path:
    """One path for an input: its own, or a folder of links to the slices of a series."""
    if len(files) == 1:
        return files[0]
    folder.mkdir(parents=True)
    for number, path in enumerate(files, start=1):
        link = folder / f"{number:05d}.dcm"
        try:
            link.symlink_to(path.resolve())
        except OSError:  # a system without links for everybody
            shutil.copyfile(path, link)
    return folder


def words_of(command_name: str, given: Mapping[str, Any], paths: Mapping[str, Path], more: list[str]) -> list[str]:
    """The words that give a command what it was given; ``more`` are those that its record does not hold.

    Raises UsageError `rerun.private`, `rerun.command`.
    """
    from jrscli.cli.main import command

    known = command().commands.get(command_name)
    if known is None:
        raise UsageError(f"there is no command {command_name} any more", code="rerun.command", hint="see: jrs --help")
    hidden = [name for name, value in given.items() if _is_private(value)]
    parameters = {parameter.name: parameter for parameter in known.params}
    missing = [name for name in hidden if name not in parameters or not set(parameters[name].opts) & set(more)]
    if missing:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise UsageError(
            f"the run used {options}, whose values run.json does not hold: they may name a patient",
            code="rerun.private",
            hint=f"give them again: --add '{options.split()[0]} VALUE'",
        )
    arguments: list[str] = []
    options_: list[str] = []
    for name, value in given.items():
        parameter = parameters.get(name)
        if parameter is None or name in hidden:
            continue
        values = [_word(one, paths) for one in (value if isinstance(value, list) else [value])]
        if parameter.param_type_name == "argument":
            arguments += values
        elif isinstance(value, bool):
            options_.append(max(parameter.opts if value else parameter.secondary_opts, key=len))
        elif parameter.multiple:
            options_ += [word for one in values for word in (max(parameter.opts, key=len), one)]
        else:
            options_ += [max(parameter.opts, key=len), *values]
    return [*arguments, *options_, *more]


def _is_private(value: Any) -> bool:
    return any(isinstance(one, dict) and "private" in one for one in (value if isinstance(value, list) else [value]))


def _word(value: Any, paths: Mapping[str, Path]) -> str:
    return str(paths[value["sha256"]]) if isinstance(value, dict) else str(value)
