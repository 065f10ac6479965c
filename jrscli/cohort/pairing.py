"""Which series go together: told by headers, and where headers do not tell it is not guessed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from jrscli.cohort.case import Case, Input, Plan, Refused, tail, with_keys
from jrscli.errors import InputError, UsageError
from jrscli.io.survey import PlainImage, SeriesFiles, StructureFile, Survey

Rule = Literal["planning-to-each", "date", "modality"]
Named = tuple[str, str, Case]
_WHICH = "say which is which: --pair date, --match ROLE=PATTERN, or a list of cases (.csv)"


def plan_of(found: Survey, task: str, rule: Rule, root: Path) -> Plan:
    """The cases of a task in a folder of patients; what should be one and is in doubt is refused.

    rule: "planning-to-each": the moving series is the one that the structure set belongs to, the fixed ones are all others of
    the patient. "modality": the same, with series of the planning series' modality only. "date": the earliest series
    (propagate-contours: the earliest with contours) is the moving one.

    Raises UsageError `pair.evaluate`.
    """
    if task == "evaluate":
        raise UsageError(
            "a folder does not say which contours are the reference",
            code="pair.evaluate",
            hint="--match reference=PATTERN --match prediction=PATTERN, or a list of cases (.csv)",
        )
    named: list[Named] = []
    refused = [Refused(f"x-{tail(_under(path, root))}", error, (path,)) for path, error in found.unreadable]
    nothing = InputError("the folder is empty", code="input.nothing", hint="copy its images there, or remove it")
    refused += [Refused(f"x-{tail(_under(path, root))}", nothing, (path,)) for path in found.empty]
    patients: dict[str, tuple[list[SeriesFiles], list[StructureFile]]] = defaultdict(lambda: ([], []))
    for series in found.series:
        patients[series.patient][0].append(series)
    for structures in found.structures:
        patients[structures.patient][1].append(structures)
    for patient, (images, sets) in sorted(patients.items()):
        paths = tuple(path for one in images for path in one.paths) + tuple(one.path for one in sets)
        try:
            named += _of_patient(task, rule, patient, images, sets)
        except InputError as error:
            refused.append(Refused(patient, error, paths))
    folders: dict[Path, list[PlainImage]] = defaultdict(list)
    for image in found.images:
        folders[image.path.parent].append(image)
    for folder, files in sorted(folders.items()):
        try:
            named += _of_files(task, files, root)
        except InputError as error:
            refused.append(Refused(f"x-{tail(_under(folder, root))}", error, tuple(one.path for one in files)))
    return Plan(with_keys(named), tuple(refused))


def _of_patient(task: str, rule: Rule, patient: str, images: list[SeriesFiles], sets: list[StructureFile]) -> Iterator[Named]:
    if task == "segment":
        for one in images:
            yield patient + f"-{tail(one.uid)}", one.uid, Case("", {"image": _input(one)})
        if not images:
            raise _alone()
        return
    owners = {one.uid: _owner(one, images) for one in sets}
    if task == "register" and not sets:
        moving, drawn = _moving_without_contours(rule, images), None
    else:
        moving, drawn = _planning(rule, sets, owners)
        if task == "propagate-contours" and drawn is None:
            raise InputError("no structure set among the patient's files", code="pair.contours", hint="export it, too")
    others = [one for one in images if one.uid != moving.uid]
    if rule == "modality":
        others = [one for one in others if one.modality == moving.modality]
    if not others:
        raise InputError("the patient has one series only", code="pair.missing", hint="copy the other series there, too")
    for one in others:
        what = f"{moving.uid} {one.uid}"
        if task == "register":
            inputs = {"fixed": _input(one), "moving": _input(moving)}
        else:
            assert drawn is not None
            inputs = {"planning": _input(moving), "contours": Input((drawn.path,)), "daily": _input(one)}
        yield f"{patient}-{tail(what)}", what, Case("", inputs)


def _owner(structures: StructureFile, images: list[SeriesFiles]) -> SeriesFiles:
    """The series that a structure set was drawn on: its images are named, or it is the only one in that space."""
    found = [one for one in images if one.image_uids & structures.image_uids]
    found = found or [one for one in images if one.frame_uid in structures.frame_uids]
    if not found:
        raise InputError(
            "a structure set belongs to no series of the patient", code="pair.missing", hint="export its series, too"
        )
    if len(found) > 1:
        raise InputError("a structure set lies in the space of several series", code="pair.ambiguous", hint=_WHICH)
    return found[0]


def _planning(
    rule: Rule, sets: list[StructureFile], owners: dict[str, SeriesFiles]
) -> tuple[SeriesFiles, StructureFile | None]:
    """The series with contours that the others get them from."""
    if not sets:
        raise InputError("no structure set among the patient's files", code="pair.contours", hint="export it, too")
    drawn = {series.uid: series for series in owners.values()}
    if len(drawn) > 1 and rule != "date":
        raise InputError("several series have contours: which is the planning image?", code="pair.ambiguous", hint=_WHICH)
    moving = _earliest(list(drawn.values()))
    mine = [one for one in sets if owners[one.uid].uid == moving.uid]
    if len(mine) > 1:
        raise InputError("several structure sets belong to the planning series", code="pair.ambiguous", hint=_WHICH)
    return moving, mine[0]


def _moving_without_contours(rule: Rule, images: list[SeriesFiles]) -> SeriesFiles:
    if len(images) < 2:
        raise InputError("the patient has one series only", code="pair.missing", hint="copy the other series there, too")
    if rule != "date":
        raise InputError("no structure set says which series is the planning image", code="pair.ambiguous", hint=_WHICH)
    return _earliest(images)


def _earliest(images: list[SeriesFiles]) -> SeriesFiles:
    ordered = sorted(images, key=lambda one: one.date)
    if len(ordered) > 1 and ordered[0].date == ordered[1].date:
        raise InputError("the earliest series have one date", code="pair.ambiguous", hint=_WHICH)
    return ordered[0]


def _of_files(task: str, files: list[PlainImage], root: Path) -> Iterator[Named]:
    """Cases of image files without patient: each image to segment; of a pair the one on the grid of the labels is planning."""
    images = [one for one in files if not one.labels]
    if task == "segment":
        for one in images:
            yield _stem(one.path), _under(one.path, root), Case("", {"image": _file(one)})
        return
    labels = [one for one in files if one.labels]
    if not images:
        return
    if len(images) == 1:
        raise InputError("one image only in this folder", code="pair.missing", hint=_WHICH)
    planning = [one for one in images if len(labels) == 1 and one.grid == labels[0].grid]
    if len(images) != 2 or len(planning) != 1:
        raise InputError("nothing in the files says which image is fixed", code="pair.ambiguous", hint=_WHICH)
    moving = planning[0]
    fixed = next(one for one in images if one is not moving)
    if task == "register":
        inputs = {"fixed": _file(fixed), "moving": _file(moving)}
    else:
        inputs = {"planning": _file(moving), "contours": _file(labels[0]), "daily": _file(fixed)}
    yield _stem(fixed.path), _under(fixed.path, root), Case("", inputs)


def _alone() -> InputError:
    return InputError("a structure set without any series of its patient", code="pair.missing", hint="export its series, too")


def _input(series: SeriesFiles) -> Input:
    return Input(series.paths, series=True, voxels=series.voxels)


def _file(image: PlainImage) -> Input:
    return replace(Input((image.path,)), voxels=image.voxels)


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".img", ".hdr"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def _under(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
