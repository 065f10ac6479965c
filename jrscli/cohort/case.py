"""A case: one run of a command on the images of one patient."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from jrscli.errors import JrsError, UsageError
from jrscli.io.output import safe_stem
from jrscli.io.pseudonym import own_salt

TASKS: Mapping[str, tuple[str, ...]] = {
    "register": ("fixed", "moving"),
    "propagate-contours": ("planning", "contours", "daily"),
    "segment": ("image",),
    "evaluate": ("reference", "prediction"),
}
"""The commands that a cohort can be run through, with their arguments in order."""


@dataclass(frozen=True)
class Input:
    """What a case reads in one role. series: the files are the slices of one series, in whatever folders they lie."""

    paths: tuple[Path, ...]
    series: bool = False
    voxels: int = 0

    @property
    def words(self) -> str:
        """The input as a person finds it: its file, or the folder of its slices."""
        if not self.series:
            return " ".join(str(path) for path in self.paths)
        folders = {path.parent for path in self.paths}
        return f"{min(folders)}/ ({len(self.paths)} files)"


@dataclass(frozen=True)
class Case:
    """key: names the case in folders and logs, and holds no patient data. options: words for the command."""

    key: str
    inputs: Mapping[str, Input]
    options: tuple[str, ...] = ()

    @property
    def voxels(self) -> int:
        """About how many voxels the case reads."""
        return sum(one.voxels for one in self.inputs.values())


@dataclass(frozen=True)
class Refused:
    """Something that should have been a case and cannot be one."""

    key: str
    error: JrsError
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what cannot be."""

    cases: tuple[Case, ...]
    refused: tuple[Refused, ...] = field(default=())

    def chosen(
        self,
        *,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        shard: tuple[int, int] = (1, 1),
        limit: int | None = None,
    ) -> Plan:
        """The part of the plan that is asked for: keys that match, the share of this shard, the first ``limit`` cases.

        Shards split by a hash of the key, so that they need not know of one another.
        """
        wanted, unwanted = tuple(include), tuple(exclude)

        def here(key: str) -> bool:
            named = not wanted or any(fnmatchcase(key, one) for one in wanted)
            share = int(hashlib.sha256(key.encode()).hexdigest(), 16) % shard[1] == shard[0] - 1
            return named and share and not any(fnmatchcase(key, one) for one in unwanted)

        cases = tuple(case for case in self.cases if here(case.key))[:limit]
        return Plan(cases, tuple(one for one in self.refused if here(one.key)))


def with_keys(cases: Iterable[tuple[str, str, Case]]) -> tuple[Case, ...]:
    """The cases, each under a key of its own: its name, with a part of a keyed hash where the name alone does not do.

    cases: name, what tells it from others of that name (a path, UIDs), and the case.
    """
    found = list(cases)
    names = [safe_stem(name) for name, _, _ in found]
    once = {name for name in names if names.count(name) == 1}
    keyed = [
        replace(case, key=name if name in once and name == wanted else f"{name}-{tail(what)}")
        for name, (wanted, what, case) in zip(names, found, strict=True)
    ]
    return tuple(sorted(keyed, key=lambda case: case.key))


def tail(what: str) -> str:
    """Six hexadecimal digits for a text that may name a patient: no way back without this account's salt."""
    return hmac.new(own_salt(), what.encode(), hashlib.sha256).hexdigest()[:6]


def shard_of(text: str) -> tuple[int, int]:
    """``K/N`` as two numbers, 1 ≤ K ≤ N.

    Raises UsageError `usage.shard`.
    """
    one, slash, other = text.partition("/")
    if slash and one.isdecimal() and other.isdecimal() and 1 <= int(one) <= int(other):
        return int(one), int(other)
    raise UsageError(f"--shard {text} is no share", code="usage.shard", hint="write K/N, for example 2/8: the second of eight")
