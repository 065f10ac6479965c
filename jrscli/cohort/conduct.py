"""A cohort from its plan to its last line in the log, whoever does the cases."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from jrscli.cohort.case import Case, Plan, Refused
from jrscli.cohort.journal import Journal
from jrscli.cohort.memory import gigabytes_of
from jrscli.cohort.outcome import Outcome
from jrscli.cohort.place import quarantine
from jrscli.cohort.pool import Event, Executor, Task
from jrscli.errors import InputError, JrsError


@dataclass(frozen=True)
class Job:
    """One case for a worker. words: options for the command, the case's own left out. fresh: do it even where it is done.

    again: try even what is in quarantine with the same input.
    """

    case: Case
    task: str
    words: tuple[str, ...]
    output: Path
    fresh: bool = False
    again: bool = False


@dataclass(frozen=True)
class News:
    """What is told while a cohort runs: an event of a worker, or what became of a case."""

    event: Event | None = None
    outcome: Outcome | None = None


def conduct(plan: Plan, jobs: Sequence[Job], pool: Executor, journal: Journal, output: Path) -> Generator[News]:
    """Do all cases of the plan; each outcome is in the log before it is told."""
    for refused in plan.refused:
        outcome = _refused(refused, output)
        journal.add(outcome)
        yield News(outcome=outcome)
    tasks = []
    for job in jobs:
        need = gigabytes_of(job.case, (*job.words, *job.case.options))
        if pool.gigabytes is not None and need > pool.gigabytes:
            outcome = _too_big(job.case, need, pool.gigabytes, output)
            journal.add(outcome)
            yield News(outcome=outcome)
        else:
            tasks.append(Task(job.case.key, job, need))
    cases = {job.case.key: job.case for job in jobs}
    with closing(pool.run(tasks)) as events:
        for event in events:
            yield News(event=event)
            told = _told(event, cases, output, pool.timeout)
            if told is not None:
                journal.add(told)
                yield News(outcome=told)


def _told(event: Event, cases: dict[str, Case], output: Path, timeout: float | None) -> Outcome | None:
    if event.kind == "done":
        found: Outcome = event.result
        return replace(found, timing={**found.timing, "attempts": event.attempt})
    if event.kind != "lost" or not event.final:
        return None
    if event.reason == "timeout":
        words = f"the case took longer than {timeout:g} s"
        error = JrsError(words, code="case.timeout", hint="give it more time: --timeout-per-case; or --preset fast")
    else:
        words = f"the process that did the case ended ({_ending(event.result)})"
        error = JrsError(words, code="worker.lost", hint="it may have run out of memory: fewer --jobs, or --preset fast")
    return _failed(cases[event.key], error, output)


def _ending(code: object) -> str:
    if not isinstance(code, int):
        return str(code)
    return f"signal {-code}" if code < 0 else f"exit {code}"


def _too_big(case: Case, need: float, free: float, output: Path) -> Outcome:
    words = f"the case needs about {need:.1f} GB, where {free:.1f} GB may be taken"
    return _failed(
        case, JrsError(words, code="memory", hint="--preset fast takes least; or run it on a larger machine"), output
    )


def _failed(case: Case, error: JrsError, output: Path) -> Outcome:
    quarantine(output, case.key, error, {role: len(one.paths) for role, one in case.inputs.items()})
    return Outcome(case.key, "failed", int(error.exit_code), error.code, error.message, error.hint)


def _refused(refused: Refused, output: Path) -> Outcome:
    error = refused.error
    quarantine(output, refused.key, error, {"files": len(refused.paths)})
    status = "quarantined" if isinstance(error, InputError) else "failed"
    return Outcome(refused.key, status, int(error.exit_code), error.code, error.message, error.hint)
