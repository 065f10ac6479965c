"""What a folder holds: image series, structure sets and which belongs to which, and single files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jrscli.cli.run import Reading
from jrscli.errors import InputError, JrsError
from jrscli.progress import Progress, silent

if TYPE_CHECKING:
    from jrscli.io.dicom_series import SeriesSummary
    from jrscli.spatial.structures import StructureSet

Document = dict[str, Any]


def describe_folder(
    path: Path, *, select: str | None = None, reading: Reading = Reading(), progress: Progress = silent
) -> Document:
    """The series of a folder (each read in full, so that its problems show), its structure sets and the other files known.

    Raises InputError `input.nothing` for a folder without any.
    """
    from jrscli.cli.describe import describe_path, image_document, problem, refusal, structures_document
    from jrscli.io import read_image

    summaries = _series(path)
    named, rest = _selection(select)
    files = _other_files(path)
    contents: list[Document] = []
    for summary in summaries:
        if named not in (None, str(summary.number), summary.series_instance_uid):
            continue
        words = f"series {summary.number}"
        progress("series", summary.number - 1, len(summaries))
        try:
            contents.append(image_document(words, read_image(path, select=f"{summary.number}{rest}", **asdict(reading))))
        except JrsError as error:
            what = f"{summary.modality} series (DICOM) of {summary.images} images that is refused"
            contents.append({"path": words, "kind": "series", "what": what, "problems": refusal(error)})
    for number, structures in enumerate(_structure_sets(path), start=1):
        words = f"structure set {number}"
        if isinstance(structures, JrsError):
            refused = {"path": words, "kind": "rtstruct", "what": "RTSTRUCT that is refused", "problems": [problem(structures)]}
            contents.append(refused)
            continue
        document = structures_document(words, structures)
        owners = _owners(structures, summaries)
        document["belongs_to"] = owners
        document["what"] += _belonging(owners)
        contents.append(document)
    contents += _other_objects(path)
    for number, file in enumerate(files):
        progress("files", number, len(files))
        try:
            contents.append(describe_path(file))
        except JrsError as error:
            contents.append({"path": str(file), "kind": "file", "what": "unreadable", "problems": [problem(error)]})
    if not contents:
        raise InputError(
            f"{path} holds nothing that jrs knows", code="input.nothing", hint="images are NIfTI, NRRD, MHA or DICOM"
        )
    what = f"folder with {len(contents)} items" if len(contents) > 1 else "folder"
    return {"path": str(path), "kind": "folder", "what": what, "contents": contents}


def _series(path: Path) -> tuple[SeriesSummary, ...]:
    from jrscli.io.dicom_series import list_series

    try:
        return list_series(path)
    except InputError as error:
        if error.code == "series.none":
            return ()
        raise


def _selection(select: str | None) -> tuple[str | None, str]:
    """The series that is named, if one is, and what is picked inside it."""
    parts = [part.strip() for part in (select or "").split(",") if part.strip()]
    named = [part for part in parts if "=" not in part]
    return (named[-1] if named else None), "".join(f",{part}" for part in parts if "=" in part)


def _structure_sets(path: Path) -> list[StructureSet | JrsError]:
    from jrscli.io.rtstruct import is_rtstruct, read_rtstruct

    found: list[StructureSet | JrsError] = []
    for file in sorted(path.rglob("*")) if path.is_dir() else []:
        if file.is_file() and is_rtstruct(file):
            try:
                found.append(read_rtstruct(file))
            except JrsError as error:
                found.append(error)
    return found


def _owners(structures: StructureSet, summaries: tuple[SeriesSummary, ...]) -> list[int]:
    """The series whose frame of reference the structures name."""
    frames = {structures.frame_of_reference_uid, *(roi.frame_of_reference_uid for roi in structures.rois)} - {None, ""}
    return [summary.number for summary in summaries if summary.frame_of_reference_uid in frames]


def _other_files(path: Path) -> list[Path]:
    from jrscli.io.content import kind_of

    known = ("nifti", "itk", "transform", "points")
    files = sorted(path.rglob("*")) if path.is_dir() else []
    return [file for file in files if file.is_file() and not file.name.startswith(".") and kind_of(file) in known]


def _other_objects(path: Path) -> list[Document]:
    """DICOM objects that are neither image slices nor structure sets, counted by their class."""
    from jrscli.io.dicom_classes import READ_CLASSES, class_names

    found: list[Document] = []
    for name, count in class_names(path).items():
        if name != "RT Structure Set Storage" and not name.endswith("Image Storage"):
            rest = "jrs info FILE says what is in it" if name in READ_CLASSES else "not read by this version"
            what = f"{count} object{'s' if count > 1 else ''}, {rest}"
            found.append({"path": name, "kind": "dicom", "what": what})
    return found


def _belonging(owners: list[int]) -> str:
    """Which series a structure set goes with; in one frame of reference several can fit."""
    if not owners:
        return ", belongs to no series here"
    if len(owners) == 1:
        return f", belongs to series {owners[0]}"
    return f", in the space of series {', '.join(map(str, owners))}"
