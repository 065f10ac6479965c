"""The errors of jrscli, and the notices that are not errors.

JrsError                     exit 1   anything this package refuses or cannot do
├── WriteError               exit 1   an output cannot be written
├── UsageError               exit 2   wrong options or arguments
├── GateFailed               exit 3   results were written, and a check failed
├── InputError               exit 4   a path or file that cannot be used
│   └── GeometryError        exit 4   a place in the patient that makes no sense, or two that do not fit
├── ModelError               exit 5   a model or an optional part is missing or unfit
└── ProviderError            exit 6   the asked device, or cluster, is not there

Each carries a stable ``code`` (``series.tilt``); words may change, codes do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the command ``jrs``; when several apply, `worst` picks one."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    GATE = 3
    INPUT = 4
    MODEL = 5
    PROVIDER = 6
    INTERRUPTED = 130

    @staticmethod
    def worst(codes: list[ExitCode]) -> ExitCode:
        """The code that wins when several apply: 130 > 5 > 6 > 4 > 1 > 3 > 2 > 0."""
        order = [130, 5, 6, 4, 1, 3, 2, 0]
        return min(codes, key=lambda code: order.index(int(code)), default=ExitCode.OK)


class JrsError(Exception):
    """What was found, what was expected (``message``) and what to do about it (``hint``).

    notices: what had been repaired or seen before this stopped the work.
    """

    exit_code: ExitCode = ExitCode.FAILURE
    notices: tuple[Notice, ...] = ()

    def __init__(self, message: str, *, code: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint


class WriteError(JrsError):
    """An output cannot be written."""


class UsageError(JrsError):
    """Options or arguments that do not go together, or do not exist."""

    exit_code = ExitCode.USAGE


class GateFailed(JrsError):
    """Results were written and marked, and a check on them failed."""

    exit_code = ExitCode.GATE


class InputError(JrsError):
    """A path or file that cannot be used."""

    exit_code = ExitCode.INPUT


class GeometryError(InputError):
    """A geometry that makes no sense, or two that do not fit together."""


class ModelError(JrsError):
    """A model or an optional part of the package is missing or does not take this input."""

    exit_code = ExitCode.MODEL


class ProviderError(JrsError):
    """The asked device, execution provider or cluster is not usable."""

    exit_code = ExitCode.PROVIDER


@dataclass(frozen=True)
class Notice:
    """A repair or an oddity that the user should hear of: printed as ``warning:`` and kept in run.json."""

    code: str
    message: str
