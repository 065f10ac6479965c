"""One case of a cohort, done in this process as the command itself does it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.errors import ExitCode, JrsError

if TYPE_CHECKING:
    from jrscli.cohort.conduct import Job
    from jrscli.cohort.outcome import Outcome

Tell = Callable[[str, int, int], None]
_OURS = ("--exist", "overwrite", "--json", "--progress", "json")


def do_case(job: Job, tell: Tell) -> Outcome:
    """What became of the case; it is done only where no complete result of the same fingerprint is there.

    Raises KeyboardInterrupt where the process was told to stop.
    """
    from jrscli.cohort.outcome import Outcome, outcome_of, recorded
    from jrscli.cohort.place import BusyError, claimed, reason_of, release, staged
    from jrscli.io.partial import sweep_target
    from jrscli.runtime.warm import keep_loaded

    keep_loaded()
    key, folder = job.case.key, job.output / job.case.key
    try:
        with claimed(job.output, key), staged(job.output, job.case) as paths:
            sweep_target(folder)  # a worker on another machine may have died at it
            words = words_of(job, paths)
            try:
                fingerprint = _fingerprint(job.task, words)
            except Exception as error:
                from jrscli.cli.errors import as_jrs_error

                return _stopped(job, as_jrs_error(error), paths, "")
            record = recorded(folder)
            if record and record.get("fingerprint") == fingerprint and not job.fresh:
                return outcome_of(key, folder, record, again=True)
            known = reason_of(job.output, key)
            if known and known.get("fingerprint") == fingerprint and not (job.again or job.fresh):
                return Outcome(
                    key, "quarantined", known["exit"], known["code"], known["message"], known["hint"], fingerprint, again=True
                )
            failure = _run([job.task, *words, "--output", str(folder), *_OURS], tell)
            if failure is not None:
                return _stopped(job, failure, paths, fingerprint)
            release(job.output, key)
            return outcome_of(key, folder, recorded(folder) or {})
    except BusyError:
        words = ["another process works at this case"]
        return Outcome(key, "failed", int(ExitCode.FAILURE), "case.busy", words[0], "wait until it is done")


def words_of(job: Job, paths: Mapping[str, tuple[Path, ...]]) -> list[str]:
    """The words of the command for a case, without those about its output."""
    from jrscli.cohort.case import TASKS

    inputs = [str(path) for role in TASKS[job.task] for path in paths[role]]
    return [*inputs, *job.words, *job.case.options]


def _fingerprint(task: str, words: list[str]) -> str:
    from jrscli.cli.given import fingerprint_of, given_by
    from jrscli.cli.main import command

    return fingerprint_of(task, given_by(command().commands[task].make_context(task, list(words))))


def _run(words: list[str], tell: Tell) -> JrsError | None:
    """Run the command; what it failed by, or None where its results are written (a closed gate counts as that)."""
    from jrscli.cli import app

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(_Ear(tell)):
        code = app(words)
    if code in (ExitCode.OK, ExitCode.GATE):
        return None
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    try:
        found = json.loads(said.getvalue())
        error = JrsError(found["message"], code=found["code"], hint=found["hint"])
    except (ValueError, KeyError, TypeError):
        error = JrsError("the command failed without a word", code="internal", hint="run it alone, with --debug")
    error.exit_code = ExitCode(code)
    return error


def _stopped(job: Job, error: JrsError, paths: Mapping[str, tuple[Path, ...]], fingerprint: str) -> Outcome:
    """The outcome of a case that gave no result; its reason is written, without the names of its files."""
    from jrscli.cohort.outcome import Outcome
    from jrscli.cohort.place import quarantine

    bad_input = error.exit_code == ExitCode.INPUT
    for role, files in paths.items():
        for path in files:
            for text in (str(path), path.name):
                error.message = error.message.replace(text, role.upper())
                error.hint = error.hint.replace(text, role.upper())
    counts = {role: len(one.paths) for role, one in job.case.inputs.items()}
    quarantine(job.output, job.case.key, error, counts, fingerprint if bad_input else "")
    status = "quarantined" if bad_input else "failed"
    return Outcome(job.case.key, status, int(error.exit_code), error.code, error.message, error.hint, fingerprint)


class _Ear(io.TextIOBase):
    """Hears the progress lines of a command; what else it says is in its record."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def write(self, text: str) -> int:
        """Take a piece of what is written on stderr; `Talk` writes whole lines."""
        if text.startswith('{"stage"'):
            with contextlib.suppress(ValueError, KeyError):
                found: dict[str, Any] = json.loads(text)
                self._tell(found["stage"], found["done"], found["total"])
        return len(text)

    def isatty(self) -> bool:
        """Nobody looks at it."""
        return False
