"""Usage errors found by the parser, in our two lines, with what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from jrscli.errors import UsageError


def usage_error(error: Any) -> UsageError:
    """The parser's complaint as a UsageError with a hint."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "jrs"
    see = f"see: {command} --help"
    kind = type(error).__name__
    message = error.format_message().splitlines()[0] if error.format_message() else "nothing to do"
    if kind == "NoSuchOption":
        name = error.option_name
        options = [option for parameter in context.command.params for option in parameter.opts] if context else []
        return UsageError(f"no such option: {name}", code="usage.option", hint=_did_you_mean(name, options, see))
    if message.startswith("No such command"):
        name = message.split("'")[1]
        commands = context.command.list_commands(context) if context else []
        return UsageError(f"no such command: {name}", code="usage.command", hint=_did_you_mean(name, commands, see))
    parameter = getattr(error, "param", None)
    label = _label(parameter)
    if kind == "MissingParameter":
        return UsageError(f"{label} is missing", code="usage.missing", hint=see)
    if parameter is not None:
        reason = _lower(_reason(message))
        return UsageError(f"{label}: {reason}", code="usage.value", hint=_for_value(reason, see))
    return UsageError(_lower(message), code="usage", hint=see)


def closest(word: str, known: Iterable[str]) -> list[str]:
    """At most three known words that ``word`` may have been meant as: edit distance ≤ 2, or a prefix."""
    ranked = sorted((_distance(word.lower(), other.lower()), other) for other in dict.fromkeys(known))
    stem = word.lower().strip("-")
    near = [
        other for distance, other in ranked if distance <= 2 or (len(stem) > 1 and other.lower().strip("-").startswith(stem))
    ]
    return near[:3]


def _did_you_mean(word: str, known: Iterable[str], see: str) -> str:
    near = closest(word, known)
    if not near:
        return see
    return f"did you mean {' or '.join(near)}? {see}"


def _reason(message: str) -> str:
    """What is wrong with a value, without the parser's preface."""
    text = message.rsplit("Value error, ", 1)[-1]
    return text.split("': ", 1)[-1] if text.lower().startswith("invalid value for") else text


def _for_value(reason: str, see: str) -> str:
    """A suggestion where the complaint lists what there is: the first quoted word is the value, the others the choices."""
    quoted = re.findall(r"'([^']+)'", reason)
    return _did_you_mean(quoted[0], quoted[1:], see) if "one of" in reason and len(quoted) > 1 else see


def _label(parameter: Any) -> str:
    if parameter is None:
        return "an argument"
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name).upper().rstrip(".…")


def _lower(message: str) -> str:
    text = message.strip().rstrip(".")
    return text[:1].lower() + text[1:]


def _distance(a: str, b: str) -> int:
    """Edit distance with swapped neighbours counted once."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
