"""Who does the cases of a cohort: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from jrscli.errors import UsageError

if TYPE_CHECKING:
    from jrscli.cli.batch_run import Asked
    from jrscli.cli.talk import Talk
    from jrscli.cohort.conduct import Job
    from jrscli.cohort.pool import Executor

_THREADS = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def executor_for(asked: Asked, talk: Talk) -> Executor:
    """What the user asked for with --executor, --scheduler and --jobs; a connection to a cluster is there already.

    Raises UsageError `usage.scheduler` and what `connected` raises.
    """
    from jrscli.cli.batch_case import do_case

    if (asked.executor == "dask") != (asked.scheduler is not None):
        raise UsageError(
            "--executor dask and --scheduler go together",
            code="usage.scheduler",
            hint="for example: --executor dask --scheduler tcp://HOST:8786",
        )
    quiet = not talk.verbose
    if asked.scheduler is None:
        from jrscli.cohort.memory import gigabytes_free
        from jrscli.cohort.pool import Pool

        environment = dict.fromkeys(_THREADS, str(asked.threads_each)) if asked.threads_each else {}
        # beside the case that computes a second one reads or writes; what was limited to one case or one core stays so
        ahead = asked.jobs is None and asked.timeout_per_case is None and asked.threads != 1 and (os.cpu_count() or 1) > 1
        return Pool(
            do_case,
            2 if ahead else asked.jobs or 1,
            gigabytes_free(),
            asked.timeout_per_case,
            asked.retries,
            environment,
            quiet=quiet,
            turns=ahead,
        )

    from jrscli.cli.batch_words import option_words
    from jrscli.cohort.dask_pool import DaskPool, connected

    takes_threads = "--threads" in option_words(asked.task)
    ours = {name: value for name, value in os.environ.items() if name.startswith("JRS_")}

    def suited(job: Job, threads: int) -> tuple[Job, dict[str, str]]:
        """The case for a worker: with its threads, and with this command's settings."""
        count = str(asked.threads or threads)
        words = job.words if asked.threads or not takes_threads else (*job.words, "--threads", count)
        return replace(job, words=words), {**ours, **dict.fromkeys(_THREADS, count)}

    talk.say(f"connecting to the Dask scheduler at {asked.scheduler}")
    client = connected(asked.scheduler)
    if quiet:
        for handler in logging.getLogger("distributed").handlers:
            handler.setLevel(logging.CRITICAL + 1)  # what went wrong is told in our words
    return DaskPool(
        do_case, client, asked.output, asked.jobs, asked.timeout_per_case, asked.retries, suited=suited, quiet=quiet
    )
