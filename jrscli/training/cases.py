"""The data list of a training: which images and labels, of whom, for which part, and how they enter a network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from jrscli.errors import InputError
from jrscli.runtime.card import Grid, Input, Window
from jrscli.runtime.plain import PlainError, build, need
from jrscli.runtime.strict_yaml import YamlError, load
from jrscli.training.simulated import Simulate
from jrscli.training.simulated.contact import Contact

PAIRS = ("patients", "visits", "fractions", "modalities")
PARTS = ("train", "validation", "test")
ABSENT = ("background", "undrawn")
CONTRAST = "{contrast}"


@dataclass(frozen=True)
class Entry:
    """One case written out: whose it is, its image, its labels (None: unlabelled), its part (None: as ``split`` says)."""

    patient: str
    image: str
    labels: str | None = None
    part: str | None = None

    def __post_init__(self) -> None:
        need(self.part is None or self.part in PARTS, f"part is one of {', '.join(PARTS)}, not {self.part}")


@dataclass(frozen=True)
class Split:
    """Who belongs where: patients by name, or fractions of all drawn with ``seed``; the rest is for training."""

    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    validation_fraction: float = 0.0
    test_fraction: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        need(0 <= self.validation_fraction + self.test_fraction < 1, "the fractions must leave something for training")
        need(not set(self.validation) & set(self.test), "a patient is named for validation and for test")

    def parts(self, patients: list[str]) -> dict[str, str]:
        """The part of each patient."""
        free = sorted(set(patients) - set(self.validation) - set(self.test))
        drawn = np.random.default_rng(self.seed).permutation(free)
        first = round(self.validation_fraction * len(free))
        second = first + round(self.test_fraction * len(free))
        found = dict.fromkeys(free, "train")
        found |= dict.fromkeys((str(p) for p in drawn[:first]), "validation")
        found |= dict.fromkeys((str(p) for p in drawn[first:second]), "test")
        return found | dict.fromkeys(self.validation, "validation") | dict.fromkeys(self.test, "test")


@dataclass(frozen=True)
class DataList:
    """The file ``data.yaml``; unknown keys are errors.

    name, licence: of the data, repeated in every card. labels: names of label 0 (background), 1, 2 …
    merge: which numbers of the label files are which label, where they are not 1, 2 …; all others are background.
    contrasts: of every image, where there are several; ``{contrast}`` in the name of an image stands for each of them.
    grid, window, windows, range, modality: how images enter the network, as in a card. simulated: whether we made the data.
    simulate: what a program makes of the cases, or in their place.
    pairs: what is registered in training: the images of two "patients", two "visits" (or phases) of one patient; or one image
    and what is simulated of it: a daily image ("fractions"), or that and another contrast of the moving one ("modalities").
    cases: every case written out; or images and labels: two patterns with one ``*`` (the patient) relative to ``root``, and
    ``split``. root: relative to the file.
    labelled: how many training cases keep their labels (few-shot, drawn with ``labelled_seed``); None = all that have some.
    absent: what it means that a label occurs nowhere in a case: nothing is there ("background"), or it is "undrawn".
    distrusted: labels of some patients that are wrong, by label; they count as not drawn.
    template: the patient whose image is the template of a method that needs one; by default the one most like the others.
    """

    name: str
    licence: str
    grid: Grid
    labels: tuple[str, ...] = ()
    merge: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    contrasts: tuple[str, ...] = ()
    window: Window = field(default_factory=lambda: Window(percentiles=(1.0, 99.0)))
    modality: tuple[str, ...] = ()
    simulated: bool = False
    simulate: Simulate | None = None
    pairs: str = "patients"
    root: str = "."
    cases: tuple[Entry, ...] = ()
    images: str | None = None
    label_files: str | None = None
    split: Split = field(default_factory=Split)
    labelled: int | None = None
    labelled_seed: int = 0
    windows: tuple[Window, ...] = ()
    range: tuple[float, float] = (0.0, 1.0)
    absent: str = "background"
    distrusted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    template: str | None = None

    def __post_init__(self) -> None:
        made = self.simulate is not None and self.simulate.makes_images
        given = bool(self.cases) + bool(self.images) + made
        need(given == 1, "either cases, or images (a pattern like images/*.nii.gz), is needed")
        need(self.simulate is None or self.simulated, "what is made by simulate is simulated: true")
        need(self.simulate is None or self.pairs == "visits", "what is made by simulate goes with pairs: visits")
        named = [self.images or ""] if self.images else [entry.image for entry in self.cases]
        need(
            made or all((CONTRAST in name) == bool(self.contrasts) for name in named),
            f"contrasts and {CONTRAST} in the name of an image come together",
        )
        need(not self.merge or set(self.merge) == set(self.labels[1:]), "merge names each label but the background")
        for pattern in (self.images, self.label_files):
            need(pattern is None or pattern.count("*") == 1, "a pattern has one *, which stands for the patient")
        need(len(self.labels) != 1, "labels begins with background and names at least one more")
        need(self.pairs in PAIRS, f"pairs is one of {', '.join(PAIRS)}, not {self.pairs}")
        need(self.grid.size is not None, "training needs grid.size: the voxels per axis")
        need(self.absent in ABSENT, f"absent is background or undrawn, not {self.absent}")
        unknown = set(self.distrusted) - set(self.labels[1:])
        need(not unknown, f"distrusted names what is no label: {', '.join(sorted(unknown))}")
        need(self.input.channels > 0, "an image has a channel")  # and what an input asks of windows and range

    @property
    def channels(self) -> int:
        """Of an image as it enters the network."""
        return max(len(self.windows), 1) * max(len(self.contrasts), 1)

    @property
    def input(self) -> Input:
        """How an image is prepared."""
        window = None if self.windows else self.window
        return Input(self.channels, self.modality, window, self.range, self.windows)

    @property
    def within_patient(self) -> bool:
        """Whether both images of a pair are of one patient."""
        return self.pairs != "patients"

    @property
    def simulates(self) -> bool:
        """Whether the second image of a pair is made from the first."""
        return self.pairs in ("fractions", "modalities")

    def drawn(self, patient: str, numbers: Collection[int]) -> tuple[bool, ...]:
        """Whether each foreground label was drawn in a case of this patient; numbers: those that occur in it."""
        return tuple(
            (self.absent == "background" or n in numbers) and patient not in self.distrusted.get(name, ())
            for n, name in enumerate(self.labels[1:], start=1)
        )


@dataclass(frozen=True)
class Case:
    """One case on disk; labels is None where there are none, or where few-shot training hides them.

    made: which frame of its series it is, where a program makes it (then the paths are names only), or which visit is to be
    made of it.
    others: the image in further contrasts.
    """

    patient: str
    image: Path
    labels: Path | None
    part: str
    made: int | None = None
    others: tuple[Path, ...] = ()


def read_data(
    path: Path | str, *, root: Path | str | None = None, changes: Mapping[str, Any] | None = None
) -> tuple[DataList, list[Case]]:
    """The data list in a file and its cases, each of which exists.

    root: in place of the root that the file names. changes: keys to be set otherwise than in the file.

    Raises InputError `data.invalid`, `data.missing`, `data.empty`.
    """
    path = Path(path)
    try:
        found = load(path.read_bytes())
        data = build(DataList, {**found, **(changes or {})} if isinstance(found, dict) else found)
    except OSError as error:
        raise InputError(
            f"the data list {path.name} cannot be read: {error.strerror}",
            code="data.missing",
            hint="jrs train METHOD data.yaml; its keys are in docs/reference/data-list.md",
        ) from None
    except (PlainError, YamlError) as error:
        raise InputError(
            f"the data list {path.name} is not valid: {error}",
            code="data.invalid",
            hint="its keys are in docs/reference/data-list.md",
        ) from None
    base = Path(root) if root is not None else path.parent / data.root
    if data.simulate is not None and data.simulate.contact is not None:
        cases = _made(data, data.simulate.contact)
    else:
        cases = _written(data, base) if data.cases else _found(data, base)
    training = [case for case in cases if case.part == "train"]
    if len({case.patient for case in training}) < 2:
        raise InputError(
            f"the data list names {len(training)} training cases where two patients are needed",
            code="data.empty",
            hint=f"looked for {data.images or 'the files of cases'} below {base}",
        )
    return data, _followed(data, _few_shot(data, cases))


def _followed(data: DataList, cases: list[Case]) -> list[Case]:
    """The cases, each with the visits that are made of it."""
    followups = data.simulate.followups if data.simulate else None
    if followups is None:
        return cases
    return [replace(case, made=visit or None) for case in cases for visit in range(followups.visits + 1)]


def _made(data: DataList, contact: Contact) -> list[Case]:
    """The frames of simulated series; a series is a patient."""
    parts = data.split.parts(contact.names())
    return [
        Case(name, Path(f"{name}-{n}"), Path(f"{name}-{n}"), parts[name], n)
        for name in contact.names()
        for n in range(contact.frames)
    ]


def _written(data: DataList, base: Path) -> list[Case]:
    drawn = data.split.parts([entry.patient for entry in data.cases])
    parts: dict[str, str] = {}
    for entry in data.cases:
        part = entry.part or drawn[entry.patient]
        if parts.setdefault(entry.patient, part) != part:
            raise InputError(
                f"one patient is in {parts[entry.patient]} and in {part}",
                code="data.invalid",
                hint="parts are divided by patient",
            )
    cases = []
    for entry in data.cases:
        image, *others = _by_contrast(data, entry.image)
        labels = base / entry.labels if entry.labels else None
        further = tuple(base / other for other in others)
        cases.append(Case(entry.patient, base / image, labels, parts[entry.patient], others=further))
    for case in cases:
        for file in (case.image, case.labels, *case.others):
            if file is not None and not file.exists():
                raise InputError(
                    f"the data list names {file.name}, which is not there", code="data.missing", hint=f"looked in {file.parent}"
                )
    return cases


def _found(data: DataList, base: Path) -> list[Case]:
    images, *others = [_matches(base, pattern) for pattern in _by_contrast(data, data.images or "")]
    labels = _matches(base, data.label_files) if data.label_files else {}
    whole = {patient: file for patient, file in images.items() if all(patient in other for other in others)}
    parts = data.split.parts(list(whole))
    return [
        Case(patient, file, labels.get(patient), parts[patient], others=tuple(other[patient] for other in others))
        for patient, file in whole.items()
    ]


def _by_contrast(data: DataList, name: str) -> list[str]:
    """The name of an image, once for each contrast."""
    return [name.replace(CONTRAST, contrast) for contrast in data.contrasts] or [name]


def _matches(base: Path, pattern: str) -> Mapping[str, Path]:
    """Files and folders by what the ``*`` of the pattern stands for, in whatever part of the path it is."""
    at, part = next((n, part) for n, part in enumerate(Path(pattern).parts) if "*" in part)
    before, after = part.split("*")
    found = {}
    for file in sorted(base.glob(pattern)):
        name = file.relative_to(base).parts[at]
        if not (file.name.startswith("._") or name.startswith(".")):
            found[name[len(before) : len(name) - len(after)]] = file
    return found


def _few_shot(data: DataList, cases: list[Case]) -> list[Case]:
    if data.labelled is None:
        return cases
    known = [n for n, case in enumerate(cases) if case.part == "train" and case.labels is not None]
    kept = set(np.random.default_rng(data.labelled_seed).permutation(known)[: data.labelled].tolist())
    return [replace(case, labels=None) if n in known and n not in kept else case for n, case in enumerate(cases)]
