"""Write docs/reference/commands.md from the help texts of ``jrs``: ``python docs/make_commands.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "reference" / "commands.md"
HEAD = """# Commands

The help texts of `jrs`, as printed in a pipe. Made by `python docs/make_commands.py`; a test compares both.
"""


def command_words() -> list[tuple[str, ...]]:
    """The words of every command: (), ("register",), …, ("convert",), ("convert", "series"), …"""
    from jrscli.cli.main import command

    words: list[tuple[str, ...]] = [()]
    for name, found in command().commands.items():
        words.append((name,))
        words.extend((name, part) for part in getattr(found, "commands", {}))
    return words


def help_text(words: tuple[str, ...]) -> str:
    """What ``jrs WORDS --help`` prints, 100 columns wide at most."""
    settings = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-m", "jrscli", *words, "--help"], capture_output=True, encoding="utf-8", env=settings, check=True
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def page() -> str:
    """The whole page."""
    sections = (f"## `{' '.join(('jrs', *words))}`\n\n```text\n{help_text(words)}\n```\n" for words in command_words())
    return "\n".join((HEAD, *sections))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
