"""The options that commands share, once each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_COMMON = "Common options"


class ExistRule(StrEnum):
    """What to do where a result is already."""

    suffix = "suffix"
    skip = "skip"
    overwrite = "overwrite"
    error = "error"


class Part(StrEnum):
    """Whose images, of a data list."""

    validation = "validation"
    test = "test"


class ProgressKind(StrEnum):
    """How progress is shown."""

    auto = "auto"
    bar = "bar"
    json = "json"
    none = "none"


class PresetName(StrEnum):
    """How much effort goes into a registration."""

    fast = "fast"
    balanced = "balanced"
    best = "best"


Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for the results [jrs-out/STEM].", show_default=False, rich_help_panel=_COMMON),
]
Exist = Annotated[
    ExistRule,
    typer.Option("--exist", help="Where a result is already: write beside it with a suffix, or …", rich_help_panel=_COMMON),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.", rich_help_panel=_COMMON)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.", rich_help_panel=_COMMON)]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more: every step and every warning.", rich_help_panel=_COMMON)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_COMMON)]
Progress = Annotated[
    ProgressKind, typer.Option("--progress", help="Progress on stderr (auto: a bar on a terminal).", rich_help_panel=_COMMON)
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads to use [all cores].", show_default=False, rich_help_panel=_COMMON),
]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda|cuda:N", help="Where to compute.", rich_help_panel=_COMMON)
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic",
        help="Equal runs give equal files: one thread, UIDs and dates from the content.",
        rich_help_panel=_COMMON,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of what is random.", rich_help_panel=_COMMON)]
Preset = Annotated[
    PresetName, typer.Option("--preset", help="fast for triage, balanced for daily work, best for plan adaptation.")
]
Select = Annotated[
    str | None,
    typer.Option(
        "--select",
        metavar="UID|N|KEY=VALUE",
        help="Which DICOM images: a series by UID or number (jrs info), orientation=K, or EchoTime=4.6 and the like.",
        show_default=False,
    ),
]
Selects = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="UID|N|KEY=VALUE",
        help="Which DICOM images: a series by UID or number (jrs info), orientation=K, or EchoTime=4.6 and the like; "
        "once per image, in their order.",
        show_default=False,
    ),
]
ResampleIrregular = Annotated[
    bool, typer.Option("--resample-irregular", help="Bring tilted, uneven or incomplete DICOM slices onto an upright grid.")
]
AssignUids = Annotated[
    bool, typer.Option("--assign-uids", help="Give DICOM images new UIDs where theirs are blank or repeated.")
]


class PairName(StrEnum):
    """How the series of a patient are paired."""

    planning = "planning-to-each"
    date = "date"
    modality = "modality"


class ExecutorName(StrEnum):
    """Whose processes do the cases."""

    local = "local"
    dask = "dask"


class GateMode(StrEnum):
    """What a failed check does."""

    off = "off"
    warn = "warn"
    fail = "fail"


Gate = Annotated[
    GateMode | None,
    typer.Option("--gate", help="A failed check: not looked at, a warning, or exit code 3 [warn].", show_default=False),
]
GateRules = Annotated[
    list[str] | None,
    typer.Option(
        "--gate-rule", metavar="METRIC.NAME<=N", help="A check of your own, such as 'msd.Bladder<=3'.", show_default=False
    ),
]
Report = Annotated[bool, typer.Option("--report/--no-report", help="Also write report.html.")]
Strict = Annotated[bool, typer.Option("--strict", help="Doubt is failure: --gate fail unless --gate says otherwise.")]


def steady(threads: int | None, deterministic: bool) -> int | None:
    """The threads to compute with: sums that several threads share differ in their last digits from run to run."""
    return 1 if deterministic else threads


def gate_mode(gate: GateMode | None, strict: bool) -> str:
    """What a failed check does, from both options."""
    return gate.value if gate else "fail" if strict else "warn"
