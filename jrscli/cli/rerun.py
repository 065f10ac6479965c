"""``jrs rerun``."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from jrscli.cli import options
from jrscli.cli.talk import Talk
from jrscli.errors import GateFailed, InputError, Notice

_HINT = "give the run.json, or its folder, that this or a later version of jrs wrote"


def rerun(
    record: Annotated[
        Path, typer.Argument(metavar="RUN", help="The run.json of an earlier run, or its folder.", show_default=False)
    ],
    where: Annotated[
        list[Path], typer.Argument(metavar="WHERE", help="Its inputs, or folders to find them in.", show_default=False)
    ],
    output: options.Output = None,
    again: Annotated[
        list[str] | None,
        typer.Option("--add", metavar="WORDS", help="Options that run.json does not hold, as in --add '--roi Bladder'."),
    ] = None,
    exist: options.Exist = options.ExistRule.suffix,
    json: options.Json = False,
    threads: options.Threads = None,
    progress: options.Progress = options.ProgressKind.auto,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Do a recorded run again with its options; its inputs are known by their hashes, and the outputs are compared.

    A run with --deterministic has to give equal files: exit code 3 where it does not.

    Examples:

      jrs rerun jrs-out/fixed fixed.nii.gz moving.nii.gz

      jrs rerun out/P-7f3a91-c02b55/run.json patients/ -o again
    """
    from tempfile import TemporaryDirectory

    from jrscli.cli import app
    from jrscli.cli.rerun_inputs import found_inputs, hashes_in, linked, words_of

    with Talk(json_output=json, quiet=quiet, verbose=verbose, progress=progress.value) as talk:
        earlier, folder = _read(record)
        given: dict[str, Any] = earlier["given"]
        more = [word for text in again or [] for word in text.split()]
        wanted = hashes_in(given)
        found = found_inputs(where, wanted, talk)
        target = output or Path("jrs-out") / f"{folder.resolve().name}-rerun"
        with TemporaryDirectory(prefix="jrs-rerun-") as links:
            paths = {digest: linked(files, Path(links) / str(n)) for n, (digest, files) in enumerate(found.items())}
            words = [
                *words_of(str(earlier["command"]), given, paths, more),
                "--exist",
                exist.value,
                "--progress",
                progress.value,
            ]
            words += [flag for flag, asked in (("-q", quiet), ("-v", verbose), ("--debug", debug), ("--json", json)) if asked]
            words += ["--threads", str(threads)] if threads and earlier["command"] != "evaluate" else []
            before = _results(target)
            code = app([str(earlier["command"]), *words, "--output", str(target)])
        new = max(_results(target) - before, default=target, key=lambda path: path.stat().st_mtime_ns if path.exists() else 0)
        later = _document(new)
        if later is None:
            raise typer.Exit(code)
        _compare(talk, earlier, later)
        if code:
            raise typer.Exit(code)


def _results(target: Path) -> set[Path]:
    """The folders that hold a result, of those that the target may get (its own name, or one with a suffix)."""
    return {path.parent for path in target.parent.glob(f"{target.name}*/run.json")}


def _read(path: Path) -> tuple[dict[str, Any], Path]:
    from jrscli.io.content import existing

    folder = existing(path) if path.is_dir() else existing(path).parent
    found = _document(folder)
    if found is None or "command" not in found:
        raise InputError(f"{path.name} holds no run", code="run.missing", hint=_HINT)
    if not isinstance(found.get("given"), dict):
        raise InputError(f"{path.name} does not say what was given", code="rerun.given", hint=_HINT)
    return found, folder


def _document(folder: Path) -> dict[str, Any] | None:
    try:
        found = jsonlib.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _compare(talk: Talk, earlier: dict[str, Any], later: dict[str, Any]) -> None:
    """Say what is otherwise than it was.

    Raises GateFailed `rerun.differs` where a deterministic run gave other files.
    """
    notices = []
    if earlier.get("jrs") != later.get("jrs"):
        notices.append(Notice("rerun.version", f"it was jrs {earlier.get('jrs')}, this is {later.get('jrs')}"))
    old, new = earlier.get("packages") or {}, later.get("packages") or {}
    changed = [f"{name} {old.get(name)} -> {new.get(name)}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if changed:
        notices.append(Notice("rerun.packages", f"other packages: {', '.join(changed)}"))
    if (earlier.get("model") or {}).get("sha256") != (later.get("model") or {}).get("sha256"):
        notices.append(Notice("rerun.model", "another model did the work"))
    talk.warn(notices)
    outputs = {str(one["file"]): one["sha256"] for one in earlier.get("outputs", [])}
    again = {str(one["file"]): one["sha256"] for one in later.get("outputs", [])}
    differ = sorted(name for name in outputs if again.get(name) != outputs[name])
    talk.say(f"{len(outputs) - len(differ)} of {len(outputs)} outputs are equal to those of the earlier run")
    if not differ:
        return
    words = f"other than before: {', '.join(differ)}"
    if (earlier.get("options") or {}).get("deterministic"):
        raise GateFailed(words, code="rerun.differs", hint="look at the warnings above: versions, packages, model")
    talk.say(f"{words} (without --deterministic that can be)")
