"""``jrs batch TASK`` understands the options of TASK, too: they are taken out and handed to each case."""

from __future__ import annotations

from typing import Any

from jrscli.cli.given import TALK
from jrscli.cli.plain import PlainCommand

OURS = TALK | {"show_phi"}
"""Options of the task that make no sense for each case: where results go and how they are told is told once."""
TASK_WORDS = "jrs.task_words"


class TaskCommand(PlainCommand):
    """A command whose own options are parsed as usual, and those of another command are kept in ``ctx.meta``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options of the task out of the words, with their values."""
        from jrscli.cli.main import command

        task = command().commands[self.name]
        own = {word for one in self.params for word in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
        theirs = {
            word: one
            for one in task.params
            if one.param_type_name == "option" and one.name not in OURS
            for word in (*one.opts, *one.secondary_opts)
            if word not in own
        }
        kept, ctx.meta[TASK_WORDS] = split(list(args), theirs)
        return super().parse_args(ctx, kept)


def split(words: list[str], options: dict[str, Any]) -> tuple[list[str], tuple[str, ...]]:
    """The words without the options of ``options``, and those with their values."""
    kept: list[str] = []
    taken: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            kept += [word, *words]
            break
        name, equals, _ = word.partition("=")
        option = options.get(name if word.startswith("--") else word)
        if option is None:
            kept.append(word)
            continue
        taken.append(word)
        if not equals and not option.is_flag:
            taken += [words.pop(0) for _ in range(min(option.nargs, len(words)))]
    return kept, tuple(taken)


def option_words(task: str) -> set[str]:
    """The words of all options of a task."""
    from jrscli.cli.main import command

    return {word for one in command().commands[task].params for word in one.opts}


def path_options(task: str) -> dict[str, bool]:
    """The options of a task that a case may have of its own, and whether each takes paths."""
    from jrscli.cli.main import command
    from jrscli.cohort.case import TASKS

    found = {}
    for one in command().commands[task].params:
        if one.name in OURS or one.name in TASKS[task]:
            continue
        word = max(one.opts, key=len).lstrip("-").replace("-", "_")
        annotation = getattr(getattr(one, "type_descriptor", None), "annotation", None)
        kind = getattr(getattr(one, "type", None), "name", "")
        found[word] = "Path" in str(annotation) or kind in ("path", "file", "directory")
    return found
