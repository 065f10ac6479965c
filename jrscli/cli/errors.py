"""Failures in words: one ``error:`` line, one ``hint:`` line, and the exit code."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from jrscli.errors import ExitCode, GateFailed, JrsError

_HELP = "run it again with --debug to see where, and report it with the versions that jrs doctor prints"


def guarded(arguments: list[str] | None = None) -> int:
    """The exit code of ``jrs`` with these arguments, whatever happens on the way."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if arguments is None:
        _end_cleanly()
    try:
        from jrscli.cli.main import command

        code = command().main(args=words or ["--help"], prog_name="jrs", standalone_mode=False)
        return _interrupted() if code == ExitCode.INTERRUPTED else int(code or 0)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        _close_stdout()
        return int(ExitCode.FAILURE)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stdout.write(error.ctx.get_help() + "\n")  # type: ignore[attr-defined]
            return int(ExitCode.OK)
        if "--debug" in words:
            import traceback

            traceback.print_exc()
        failure = as_jrs_error(error)
        tell(failure)
        if "--json" in words and not isinstance(failure, GateFailed):
            _print_json(failure)
        return int(failure.exit_code)


def tell(failure: JrsError) -> None:
    """Write the two lines on stderr, after what had been noticed before."""
    for notice in failure.notices:
        _stderr(f"warning: {_one_line(notice.message)} [{notice.code}]")
    _stderr(f"error: {_one_line(failure.message)}  [{failure.code}]")
    _stderr(f"hint:  {_one_line(failure.hint)}")


def _print_json(failure: JrsError) -> None:
    """The failure as the one document on stdout; a failed check (GateFailed) comes with the results it is about."""
    document = {
        "status": "failed",
        "code": failure.code,
        "message": _one_line(failure.message),
        "hint": _one_line(failure.hint),
        "exit_code": int(failure.exit_code),
        "notices": [{"code": notice.code, "message": notice.message} for notice in failure.notices],
    }
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def as_jrs_error(error: Exception) -> JrsError:
    """Any failure as one that has a code and a hint."""
    if isinstance(error, JrsError):
        return error
    if type(error).__name__ == "Abort":
        return JrsError("stopped", code="interrupted", hint="run the command again")
    if hasattr(error, "format_message"):
        from jrscli.cli.suggest import usage_error

        return usage_error(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "bad_alloc" in str(error):
        return JrsError("not enough memory", code="memory", hint="--preset fast takes least; or crop the images")
    if isinstance(error, ModuleNotFoundError):
        return _missing_part(error)
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return JrsError(f"{error.strerror}{where}", code="system", hint="check the path, the permissions and the free space")
    return JrsError(f"unforeseen: {type(error).__name__}: {error}", code="internal", hint=_HELP)


def _missing_part(error: ModuleNotFoundError) -> JrsError:
    from jrscli.errors import ModelError

    return ModelError(
        f"the Python package {error.name} is not installed", code="extra.missing", hint="install again: pip install jrscli"
    )


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())


def _stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _interrupted() -> int:
    tell(JrsError("interrupted", code="interrupted", hint="nothing half-written was left; run the command again"))
    return int(ExitCode.INTERRUPTED)


def _close_stdout() -> None:
    """The reader of our stdout went away (``jrs … | head``); what is buffered has no place to go."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_cleanly() -> None:
    """End on SIGTERM (a batch system's stop) as on Ctrl-C: with temporary files removed."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, stop)
    except ValueError:
        return  # not the main thread: whoever called us has the say
