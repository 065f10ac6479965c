"""What ``jrs node`` does: receive in threads of its own; here one patient after another is worked at and sent."""

from __future__ import annotations

import time
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING

from jrscli.cli.node_config import Settings
from jrscli.cli.talk import Talk
from jrscli.errors import JrsError, UsageError, WriteError

if TYPE_CHECKING:
    from pathlib import Path

    from jrscli.cli.batch_run import Asked
    from jrscli.cohort.inbox import Inbox, Outgoing

_LOOK_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 600.0
_REFUSALS = 5
"""How often a destination may refuse an object before it is given up; one that does not answer is asked for ever."""
_DAY = 86400.0


def serve(settings: Settings, *, once: bool, quiet: bool, verbose: bool) -> None:
    """Be a node until told to stop; with once, work off what is quiet.

    Raises UsageError for options of the task that are wrong, `node.port`; WriteError `node.busy`, `output.unwritable`.
    """
    from jrscli.cli.batch_run import check_words

    check_words(_asked(settings, ""))
    with ExitStack() as stack, Talk(quiet=quiet, verbose=verbose, progress="none") as talk:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # pydicom's quote values
        inbox = _open(settings, stack)
        try:
            if not once:
                _listen(settings, inbox, stack, talk)
            while (busy := _turn(settings, inbox, talk)) or not once:
                if not busy:
                    time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            left = sum(state not in ("done", "quarantine") for state, _ in inbox.states().values())
            talk.say(f"stopped; {left} patients and {inbox.unsent()} objects wait for the next start")


def _open(settings: Settings, stack: ExitStack) -> Inbox:
    from jrscli.cohort.inbox import Inbox
    from jrscli.cohort.place import BusyError, claimed

    try:
        settings.output.mkdir(parents=True, exist_ok=True, mode=0o700)
        stack.enter_context(claimed(settings.output, "node"))
        inbox = Inbox(settings.output)
    except BusyError:
        raise WriteError(
            "another node works in this folder", code="node.busy", hint="stop it first, or give --output"
        ) from None
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise WriteError(
            f"{settings.output} cannot be written: {reason}", code="output.unwritable", hint="choose another place with -o"
        ) from error
    stack.callback(inbox.close)
    return inbox


def _listen(settings: Settings, inbox: Inbox, stack: ExitStack, talk: Talk) -> None:
    from jrscli.io.dicom_receive import Received, Receiver

    def keep(one: Received) -> bool:
        room = inbox.keep(one.patient, one.uid, one.content)
        if not room:
            talk.line("warning: an object was not taken: the disk is full, or fails [node.disk]")
        return room

    door = settings.door
    try:
        receiver = Receiver(door, keep, talk.say)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"port {door.port} of {door.host} cannot be had", code="node.port", hint="another program has it: choose --port"
        ) from error
    stack.callback(receiver.close)
    talk.say(f"{door.title} listens on {door.host}:{receiver.port}; Ctrl-C ends")


def _turn(settings: Settings, inbox: Inbox, talk: Talk) -> bool:
    """One round: a patient, and what is to be sent; whether there was a patient."""
    found = inbox.take(settings.quiet_seconds)
    if found is not None:
        key, mark = found
        try:
            objects, code = _done(settings, inbox, key, talk)
        except BaseException:
            inbox.put_back(key)
            raise
        inbox.finish(key, mark, objects, code)
    _send(settings, inbox, talk)
    for key, state, code in inbox.settle():
        talk.say(f"{key}  {state}" + (f" [{code}]" if code else ""))
    for key in inbox.forget(settings.keep_days * _DAY):
        talk.say(f"{key}  what had been received is removed")
    return found is not None


def _asked(settings: Settings, key: str) -> Asked:
    from jrscli.cli.batch_run import Asked
    from jrscli.cohort.inbox import INCOMING, RESULTS

    return Asked(
        settings.task,
        settings.output / INCOMING / key,
        settings.output / RESULTS / key,
        settings.words,
        settings.pair,
        timeout_per_case=settings.timeout_per_case,
        threads=settings.threads,
    )


def _done(settings: Settings, inbox: Inbox, key: str, talk: Talk) -> tuple[list[tuple[Path, str, str]], str]:
    """The objects (path, sha256, UID) that the cases of a patient wrote, and the code of what could not be done."""
    from jrscli.cli.batch_run import one_pass, write_summary
    from jrscli.io.dicom_send import uids_of
    from jrscli.io.run_record import sha256_of

    talk.say(f"{key}  running")
    asked = _asked(settings, key)
    try:
        outcomes = one_pass(asked, talk) or []
        write_summary(asked.output, asked.task)
    except JrsError as error:
        talk.say(f"{key}  {error.code}")
        return [], error.code
    objects = []
    for outcome in outcomes:
        if outcome.status not in ("ok", "review"):
            continue
        for name in outcome.outputs:
            path = asked.output / outcome.case / name
            if path.suffix == ".dcm" and path.is_file():
                objects.append((path, sha256_of(path), uids_of(path)[1]))
    codes = [one.code or one.status for one in outcomes if one.status in ("failed", "quarantined")]
    return objects, next(iter(codes), "")


def _send(settings: Settings, inbox: Inbox, talk: Talk) -> None:
    """Try all that is due in one association; what the destination did not take is tried again later."""
    from jrscli.io.dicom_send import UnreachableError, send
    from jrscli.io.run_record import sha256_of

    due = []
    for one in inbox.due():
        if one.path.is_file() and sha256_of(one.path) == one.sha256:
            due.append(one)
        else:
            inbox.sent(one, "replaced")
    if not due:
        return
    try:
        answers = send([one.path for one in due], settings.destination, settings.door.title)
    except UnreachableError as error:
        pause = max(_later(settings, inbox, one) for one in due)
        talk.line(f"warning: nothing could be sent: {error}; again in {pause:.0f} s [node.unreachable]")
        return
    for one, status in zip(due, answers, strict=True):
        _answered(settings, inbox, one, status, talk)


def _answered(settings: Settings, inbox: Inbox, one: Outgoing, status: int | None, talk: Talk) -> None:
    if status is not None and (status == 0 or status >> 12 == 0xB):  # 0xB…: stored, with a remark
        inbox.sent(one)
        talk.say(f"{one.patient}  sent {one.path.name}")
    elif status is not None and one.tries + 1 >= _REFUSALS:
        inbox.sent(one, "refused")
        talk.line(f"warning: {one.patient}  {one.path.name} was refused for good: status {status:04X} [node.refused]")
    else:
        pause = _later(settings, inbox, one)
        words = "the connection broke" if status is None else f"status {status:04X}"
        talk.line(f"warning: {one.patient}  {one.path.name} was not taken: {words}; again in {pause:.0f} s [node.retry]")


def _later(settings: Settings, inbox: Inbox, one: Outgoing) -> float:
    pause = min(settings.retry_seconds * 2 ** min(one.tries, 20), _LONGEST_PAUSE_SECONDS)
    inbox.later(one, pause)
    return float(pause)
