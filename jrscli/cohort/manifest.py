"""A list of cases: CSV or YAML, one case per line, one column per argument or option of the command."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from jrscli.cohort.case import TASKS, Case, Input, Plan, Refused, with_keys
from jrscli.errors import InputError, UsageError
from jrscli.io.output import safe_stem

ENDINGS = (".csv", ".yaml", ".yml")
_ALSO = {"propagate-contours": {"fixed": "daily", "moving": "planning"}}
"""Names that the columns of one command may have, too."""
_HINT = "its columns are named after the arguments and options of the command: see docs/howto/cohorts.md"


def read_manifest(path: Path, task: str, options: Mapping[str, bool]) -> Plan:
    """The cases of a list; paths are relative to the list's folder. A case whose file is missing is refused.

    options: the names of the command's further options, and whether each takes paths.

    Raises InputError `manifest.missing`, `manifest.unreadable`, `manifest.empty`, `manifest.repeated`; UsageError
    `manifest.column`.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}", code="manifest.missing", hint="check the path")
    rows = list(_rows(path))
    if not rows:
        raise InputError(f"{path.name} lists no case", code="manifest.empty", hint=_HINT)
    _check_columns(rows, task, options)
    found, refused = [], []
    keys = [str(row.get("case") or "") for row in rows]
    for number, row in enumerate(rows, start=1):
        name = keys[number - 1] or f"case-{number:04d}"
        try:
            case = _case(row, task, options, path.parent, number)
        except InputError as error:
            refused.append(Refused(safe_stem(name), error, ()))
            continue
        found.append((name, f"{name}\n{case.inputs}", case))
    repeated = {key for key in keys if key and keys.count(key) > 1}
    if repeated:
        words = f"{len(repeated)} names of cases stand in {path.name} more than once"
        raise InputError(words, code="manifest.repeated", hint="give each case a name of its own, or leave that column out")
    return Plan(with_keys(found), tuple(refused))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
            for row in csv.DictReader(lines, strict=True):
                if None in row or any(value is None for value in row.values()):
                    raise ValueError("a line has more or fewer cells than the header")
                yield {str(key).strip(): str(value).strip() for key, value in row.items()}
            return
        content = yaml.safe_load(text)
        rows = content.get("cases") if isinstance(content, dict) else content
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("not a list of cases")
        yield from ({str(key): value for key, value in row.items()} for row in rows)
    except (OSError, ValueError, csv.Error, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path.name} is no list of cases: {reason}", code="manifest.unreadable", hint=_HINT) from error


def _check_columns(rows: list[dict[str, Any]], task: str, options: Mapping[str, bool]) -> None:
    columns = {_name(column, task) for row in rows for column in row}
    unknown = sorted(columns - {"case", *TASKS[task], *options})
    if unknown:
        words = f"no column is called {unknown[0]} for {task}"
        raise UsageError(words, code="manifest.column", hint=f"there are case, {', '.join(TASKS[task])} and its options")
    missing = [role for role in TASKS[task] if role not in columns]
    if missing:
        raise UsageError(f"the column {missing[0]} is missing", code="manifest.column", hint=_HINT)


def _name(column: str, task: str) -> str:
    name = column.strip().replace("-", "_")
    return _ALSO.get(task, {}).get(name, name)


def _case(row: Mapping[str, Any], task: str, options: Mapping[str, bool], folder: Path, number: int) -> Case:
    inputs: dict[str, Input] = {}
    words: list[str] = []
    for column, value in row.items():
        name = _name(column, task)
        cells = [str(one).strip() for one in (value if isinstance(value, list) else str(value or "").split(";"))]
        cells = [cell for cell in cells if cell]
        if name == "case" or not cells:
            continue
        if name in TASKS[task]:
            paths = tuple(folder / cell for cell in cells)
            if not all(path.exists() for path in paths):
                raise InputError(
                    f"line {number}: the {name} image does not exist",
                    code="input.missing",
                    hint="paths start at the list's folder",
                )
            inputs[name] = Input(paths, voxels=sum(_bytes(path) for path in paths))
        elif value in (True, "true", "yes"):
            words.append(f"--{name.replace('_', '-')}")
        elif value not in (False, "false", "no"):
            for cell in cells:
                words += [f"--{name.replace('_', '-')}", str(folder / cell) if options[name] else cell]
    missing = [role for role in TASKS[task] if role not in inputs]
    if missing:
        raise InputError(
            f"line {number}: {missing[0]} is empty", code="input.missing", hint="fill in the cell, or drop the line"
        )
    return Case("", inputs, tuple(words))


def _bytes(path: Path) -> int:
    """A stand-in for the number of voxels where no header was read."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())
