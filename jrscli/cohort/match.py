"""Cases by patterns that the user gives: ``fixed={case}/*_ED.nii.gz``."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from jrscli.cohort.case import TASKS, Case, Input, Plan, Refused, with_keys
from jrscli.errors import InputError, UsageError

_HINT = "write ROLE=PATTERN with {case} in it, for example fixed='{case}/*_ED.nii.gz'"


def matched(root: Path, task: str, patterns: Iterable[str]) -> Plan:
    """The cases whose files fit the patterns: what stands in the place of ``{case}`` names them, as the user wants it.

    Patterns are relative to ``root``; ``*`` and ``?`` stay within a name, ``**/`` crosses folders. A case that has not exactly
    one file or folder for each role is refused with `match.missing` or `match.several`.

    Raises UsageError `usage.match`, InputError `input.missing`, `match.none`.
    """
    if not root.is_dir():
        raise InputError("no such folder", code="input.missing", hint="name the folder that the patterns start at")
    expressions = _expressions(task, list(patterns))
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in _paths(root):
        name = path.relative_to(root).as_posix()
        for role, expression in expressions.items():
            fits = expression.fullmatch(name)
            if fits:
                found[fits["case"]][role].append(path)
    if not found:
        raise InputError("no file fits the patterns", code="match.none", hint=_HINT)
    named, refused = [], []
    for key, roles in sorted(found.items()):
        paths = tuple(path for files in roles.values() for path in files)
        bad = next((role for role in expressions if len(roles[role]) != 1), None)
        if bad is None:
            inputs = {role: Input((files[0],), voxels=_size(files[0])) for role, files in roles.items()}
            named.append((key, key, Case("", inputs)))
            continue
        count = len(roles[bad])
        code = "match.several" if count else "match.missing"
        error = InputError(
            f"{count} files for {bad}, where one is needed", code=code, hint="make the pattern narrower or wider"
        )
        refused.append((key, error, paths))
    keys = with_keys([(key, key, Case("", {})) for key, _, _ in refused])
    return Plan(with_keys(named), tuple(Refused(c.key, e, p) for c, (_, e, p) in zip(keys, refused, strict=True)))


def _expressions(task: str, patterns: list[str]) -> dict[str, re.Pattern[str]]:
    found: dict[str, re.Pattern[str]] = {}
    for text in patterns:
        role, equals, pattern = text.partition("=")
        if not equals or role not in TASKS[task] or "{case}" not in pattern or role in found:
            words = f"--match {text} is not understood: {task} takes {', '.join(TASKS[task])}, each once"
            raise UsageError(words, code="usage.match", hint=_HINT)
        found[role] = re.compile(_regular(pattern.removeprefix("./")))
    missing = [role for role in TASKS[task] if role not in found]
    if missing:
        raise UsageError(f"--match {missing[0]}=… is missing", code="usage.match", hint=_HINT)
    return found


def _regular(pattern: str) -> str:
    parts = {"{case}": "(?P<case>[^/]+?)", "**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\{case\}|\*\*/|\*|\?)", pattern)
    text = "".join(parts.get(token, re.escape(token)) for token in tokens)
    head, middle, rest = text.partition(parts["{case}"])
    return head + middle + rest.replace(parts["{case}"], "(?P=case)")


def _paths(root: Path) -> Iterable[Path]:
    """Files and folders below ``root``, each real folder once."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in (*folders, *sorted(files)) if not name.startswith("."))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
