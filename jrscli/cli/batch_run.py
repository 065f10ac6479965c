"""What `jrs batch` does once its words are understood: plan, run, tell, sum up."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.cli.talk import Talk
from jrscli.errors import ExitCode, GateFailed, InputError, JrsError

if TYPE_CHECKING:
    from jrscli.cohort.case import Plan
    from jrscli.cohort.conduct import Job
    from jrscli.cohort.outcome import Outcome

PAGE = "batch.html"
_PICTURE = "overlay.png"
_LOOKED_AT = ("report.html", _PICTURE, "metrics.md")


@dataclass(frozen=True)
class Asked:
    """What the user asked for. words: options of the task, handed to each case."""

    task: str
    cohort: Path
    output: Path
    words: tuple[str, ...] = ()
    pair: str = "planning-to-each"
    match: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    shard: str | None = None
    dry_run: bool = False
    jobs: int | None = None
    executor: str = "local"
    scheduler: str | None = None
    timeout_per_case: float | None = None
    retries: int = 1
    max_failures: int | None = None
    fresh: bool = False
    retry_quarantine: bool = False
    threads: int | None = None

    @property
    def threads_each(self) -> int | None:
        """The threads of a case where they are known here: those asked for, or a share of this machine's cores."""
        if self.threads or self.executor == "dask" or (self.jobs or 1) == 1:
            return self.threads
        return max(1, (os.cpu_count() or 1) // (self.jobs or 1))


def run_batch(asked: Asked, *, json: bool, progress: Any, quiet: bool, verbose: bool) -> None:
    """Run the cohort, or with dry_run only say what it is."""
    with Talk(json_output=json, quiet=quiet, verbose=verbose, progress=progress) as talk:
        outcomes = one_pass(asked, talk)
        if outcomes is None:
            return
        summary = write_summary(asked.output, asked.task)
        _finish(asked.output, talk, [outcome.line() for outcome in outcomes], summary)
        _raise_for(outcomes, asked.output)


def one_pass(asked: Asked, talk: Talk, leave_out: Iterable[Path] = ()) -> list[Outcome] | None:
    """Do all cases that are to be done; what became of each. With dry_run they are only shown, and None.

    leave_out: folders of the cohort that are not looked into.

    Raises InputError `batch.nothing` and what is wrong with the cohort or the options.
    """
    from jrscli.cohort.case import shard_of

    shard = shard_of(asked.shard) if asked.shard else (1, 1)
    plan = _plan(asked, leave_out).chosen(include=asked.include, exclude=asked.exclude, shard=shard, limit=asked.limit)
    words = _words(asked)
    if not plan.cases and not plan.refused:
        raise InputError("there is no case to do", code="batch.nothing", hint="see what is found: --dry-run")
    _check_words(asked.task, plan, words)
    if asked.dry_run:
        _show(plan, talk, words)
        return None
    return _conduct(asked, plan, words, shard, talk)


def _plan(asked: Asked, leave_out: Iterable[Path]) -> Plan:
    from jrscli.cohort import manifest

    if asked.cohort.suffix.lower() in manifest.ENDINGS and not asked.cohort.is_dir():
        from jrscli.cli.batch_words import path_options

        return manifest.read_manifest(asked.cohort, asked.task, path_options(asked.task))
    if asked.match:
        from jrscli.cohort import match

        return match.matched(asked.cohort, asked.task, asked.match)
    from jrscli.cohort import pairing
    from jrscli.io.survey import survey

    found = survey(asked.cohort, leave_out=[asked.output, *leave_out])
    rule: Any = asked.pair
    return pairing.plan_of(found, asked.task, rule, asked.cohort)


def _words(asked: Asked) -> tuple[str, ...]:
    """The options of each case: those given, a share of the cores, and a report unless that was said otherwise."""
    from jrscli.cli.batch_words import option_words

    theirs = option_words(asked.task)
    words = asked.words
    if "--threads" in theirs and asked.threads_each:
        words += ("--threads", str(asked.threads_each))
    if "--report" in theirs and not {"--report", "--no-report"} & set(words):
        words += ("--report",)
    return words


def check_words(asked: Asked) -> None:
    """Find out what is wrong with the options of the task before there is a case."""
    from jrscli.cohort.case import Plan

    _check_words(asked.task, Plan(()), _words(asked))


def _check_words(task: str, plan: Plan, words: tuple[str, ...]) -> None:
    """Wrong options stop the cohort before it begins, and not each of its cases."""
    from jrscli.cli.main import command
    from jrscli.cohort.case import TASKS

    options = {case.options for case in plan.cases} or {()}
    for more in options:
        command().commands[task].make_context(task, [*TASKS[task], *words, *more])
    if "--model" in words:
        name = words[words.index("--model") + 1]
        if name not in ("auto", "none"):
            from jrscli.runtime.store import find_model

            find_model(name)


def _jobs(asked: Asked, plan: Plan, words: tuple[str, ...]) -> list[Job]:
    """The largest cases first: what does not fit shows early, and no long case is left over at the end."""
    from jrscli.cohort.conduct import Job

    ordered = sorted(plan.cases, key=lambda case: (-case.voxels, case.key))
    return [Job(case, asked.task, words, asked.output, asked.fresh, asked.retry_quarantine) for case in ordered]


def _conduct(asked: Asked, plan: Plan, words: tuple[str, ...], shard: tuple[int, int], talk: Talk) -> list[Outcome]:
    from jrscli.cli.batch_view import View
    from jrscli.cli.executor import executor_for
    from jrscli.cohort.conduct import conduct
    from jrscli.cohort.journal import Journal, log_name
    from jrscli.io.partial import sweep

    pool = executor_for(asked, talk)
    asked.output.mkdir(parents=True, exist_ok=True)
    sweep(asked.output)
    journal = Journal(asked.output / log_name(shard))
    if not (asked.include or asked.exclude or asked.limit or asked.shard):
        journal.forget_refused({*(case.key for case in plan.cases), *(one.key for one in plan.refused)}, asked.output)
    view = View(talk, len(plan.cases) + len(plan.refused))
    outcomes: list[Outcome] = []
    bad = 0
    try:
        with closing(conduct(plan, _jobs(asked, plan, words), pool, journal, asked.output)) as news:
            for one in news:
                view.hear(one)
                if one.outcome is not None:
                    outcomes.append(one.outcome)
                    bad += one.outcome.status in ("failed", "quarantined")
                    if asked.max_failures is not None and bad >= asked.max_failures:
                        raise _given_up(bad)
    finally:
        view.close()
        sweep(asked.output)
    view.summary(asked.output)
    return outcomes


def _given_up(bad: int) -> JrsError:
    return JrsError(
        f"given up after {bad} bad cases (--max-failures)", code="batch.failures", hint="see quarantine/ for the reasons"
    )


def collect_batch(output: Path, *, json: bool, quiet: bool, verbose: bool) -> None:
    """Merge the logs of all shards, and write tables and page."""
    from jrscli.cohort.collect import merged_logs

    with Talk(json_output=json, quiet=quiet, verbose=verbose) as talk:
        lines = merged_logs(output)
        talk.say(f"{len(lines)} cases")
        _finish(output, talk, list(lines.values()), write_summary(output, None))


def write_summary(output: Path, task: str | None) -> dict[str, Any]:
    """Write the tables and the page from the logs, of earlier runs and shards as well; the summary."""
    from jrscli.cohort.collect import merged_logs, write_tables
    from jrscli.cohort.place import reason_of
    from jrscli.io.output import atomic_path
    from jrscli.report.cohort import cohort_page
    from jrscli.report.thumbnail import thumbnail

    known = merged_logs(output)
    summary = write_tables(output, known)
    reasons = {case: str((reason_of(output, case) or {}).get("message", "")) for case in known}
    pages = {case: next((name for name in _LOOKED_AT if (output / case / name).is_file()), "") for case in known}
    title = f"jrs batch {task}" if task else "jrs batch"

    def picture_of(case: str) -> str:
        path = output / case / _PICTURE
        return thumbnail(path.read_bytes()) if path.is_file() else ""

    page = cohort_page(title, list(known.values()), summary, reasons=reasons, pages=pages, picture_of=picture_of)
    with atomic_path(output / PAGE, exist="overwrite") as (temporary, _):
        temporary.write_bytes(page)
    return summary


def _finish(output: Path, talk: Talk, lines: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Name what was written."""
    from jrscli.cohort.collect import CASES, COHORT, METRICS
    from jrscli.cohort.journal import LOG

    for kind, name in (("log", LOG), ("cases-csv", CASES), ("metrics-csv", METRICS), ("summary", COHORT), ("dashboard", PAGE)):
        if (output / name).exists():
            talk.output(kind, output / name)
    talk.finish({"cases": lines, "counts": summary["counts"]}, next_step=f"open {output / PAGE} in a browser")


def _raise_for(outcomes: Iterable[Outcome], output: Path) -> None:
    from jrscli.cohort.outcome import exit_of

    found = list(outcomes)
    code = exit_of(found)
    if code == ExitCode.OK:
        return
    failed = [one for one in found if one.status == "failed"]
    held = [one for one in found if one.status == "quarantined"]
    parts = [f"{len(failed)} failed"] * bool(failed) + [f"{len(held)} quarantined"] * bool(held)
    words = {ExitCode.FAILURE: "batch.failed", ExitCode.INPUT: "batch.quarantined", ExitCode.GATE: "batch.gate"}
    error = _Told(f"of {len(found)} cases {' and '.join(parts)}", code=words[code], hint=f"see {output / PAGE}")
    error.exit_code = code
    raise error


class _Told(GateFailed):
    """Cases that went wrong; what there is of results and reasons was written and told."""


def _show(plan: Plan, talk: Talk, words: tuple[str, ...]) -> None:
    """The table of cases on stdout."""
    from jrscli.cohort.memory import gigabytes_of

    need = {case.key: gigabytes_of(case, (*words, *case.options)) for case in plan.cases}
    if talk.json_output:
        cases = [
            {
                "case": case.key,
                "inputs": {role: one.words for role, one in case.inputs.items()},
                "options": list(case.options),
                "gigabytes": round(need[case.key], 2),
            }
            for case in plan.cases
        ]
        refused = [
            {"case": one.key, "code": one.error.code, "message": one.error.message, "files": len(one.paths)}
            for one in plan.refused
        ]
        talk.print_json({"cases": cases, "quarantined": refused, "options": list(words)})
        return
    for case in plan.cases:
        sys.stdout.write(f"{case.key}\n")
        for role, one in case.inputs.items():
            sys.stdout.write(f"  {role:<10} {one.words}\n")
        if case.options:
            sys.stdout.write(f"  {'options':<10} {' '.join(case.options)}\n")
    for bad in plan.refused:
        sys.stdout.write(f"{bad.key}\n  {'not done':<10} {bad.error.message} [{bad.error.code}]\n")
        sys.stdout.write("".join(f"  {'':<10} {path}\n" for path in _shown(bad.paths)))
    sys.stdout.flush()
    for hint in dict.fromkeys(one.error.hint for one in plan.refused):
        talk.say(f"hint:  {hint}")
    talk.say(
        f"{len(plan.cases)} cases, {len(plan.refused)} not to be done; up to {max(need.values(), default=0):.1f} GB each; "
        f"options: {' '.join(words) or 'none'}"
    )


def _shown(paths: tuple[Path, ...]) -> list[str]:
    """The files of something that cannot be a case, by their folders where they are many."""
    if len(paths) <= 3:
        return [str(path) for path in paths]
    return [f"{folder}/" for folder in sorted({path.parent for path in paths})]
