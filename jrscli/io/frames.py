"""A cine from disk: a four-dimensional NIfTI file, or a folder with one file per frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jrscli.errors import InputError, Notice
from jrscli.io import read_image
from jrscli.io.content import existing, kind_of
from jrscli.io.label_map import labels_from_volume, write_names
from jrscli.io.nifti import frame_count, read_frames, write_frames
from jrscli.spatial.volume import LabelMap, Volume

MOST_FRAMES = 2000


@dataclass(frozen=True)
class Cine:
    """The frames in their order, on one grid. kind: "nifti" or "folder"."""

    frames: tuple[Volume, ...]
    kind: str
    notices: tuple[Notice, ...] = ()


def is_cine(path: Path | str) -> bool:
    """Whether a file holds several frames."""
    path = existing(path)
    return kind_of(path) == "nifti" and frame_count(path) > 1


def read_cine(path: Path | str) -> Cine:
    """The frames of a cine; the files of a folder in the order of the numbers in their names.

    Raises InputError `cine.format`, `cine.frames` (fewer than two), `cine.sizes` (frames on different grids), `cine.empty`
    (a frame of one value throughout), and the codes of `read_image`.
    """
    path = existing(path)
    kind = kind_of(path)
    if kind == "nifti":
        frames, notices = read_frames(path)
    elif kind == "folder":
        frames, notices = _from_folder(path)
    else:
        raise InputError(
            f"{path.name} is no cine: a four-dimensional NIfTI file, or a folder with one image file per frame",
            code="cine.format",
            hint="save the frames as one .nii.gz, or each as a file of its own: frame-00.nii.gz, frame-01.nii.gz …",
        )
    if len(frames) < 2:
        raise InputError(
            f"{path.name} has one frame only", code="cine.frames", hint="name a DAILY image to carry the contours to"
        )
    for number, frame in enumerate(frames):
        if not frame.geometry.matches(frames[0].geometry):
            raise InputError(
                f"frame {number} has another grid than frame 0: {_size(frame)} and {_size(frames[0])} voxels",
                code="cine.sizes",
                hint="the frames of a cine share one grid: export them with one matrix and one field of view",
            )
        if frame.array.min() == frame.array.max():
            raise InputError(
                f"frame {number} is empty: one value throughout",
                code="cine.empty",
                hint="leave it out; the frames on both sides of a gap are registered as they are",
            )
    return Cine(frames, kind, notices)


def read_label_frames(path: Path | str) -> tuple[LabelMap, ...]:
    """The label maps of a four-dimensional file; a frame without a voxel is one that nobody has drawn.

    Raises InputError `labels.values`, and the codes of `read_frames`.
    """
    path = existing(path)
    frames, _ = read_frames(path)
    return tuple(labels_from_volume(frame, path) for frame in frames)


def write_label_frames(frames: Sequence[LabelMap], path: Path) -> None:
    """Write label maps of one grid as a four-dimensional NIfTI file, with the table of their names beside it.

    Raises WriteError `output.unwritable`.
    """
    write_frames(frames, path)
    write_names(frames[0], path)


def _from_folder(folder: Path) -> tuple[tuple[Volume, ...], tuple[Notice, ...]]:
    files = [one for one in folder.iterdir() if one.is_file() and not one.name.startswith(".")]
    images = sorted((one for one in files if kind_of(one) in ("nifti", "itk")), key=_natural)
    if len(images) < 2 or len(images) > MOST_FRAMES:
        raise InputError(
            f"a folder with {len(images)} images is no cine",
            code="cine.frames",
            hint="put each frame there as a NIfTI file: frame-00.nii.gz, frame-01.nii.gz …; of a DICOM series one phase at a "
            "time: jrs convert series FOLDER --select KEYWORD=VALUE --to frame-00.nii.gz",
        )
    found = [read_image(one) for one in images]
    notices = [notice for one in found for notice in one.notices]
    notices += _gaps([one.name for one in images])
    return tuple(one.volume for one in found), tuple(dict.fromkeys(notices))


def _natural(path: Path) -> list[tuple[int, str]]:
    """The name, with its numbers as numbers: frame-10 comes after frame-9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _gaps(names: list[str]) -> list[Notice]:
    """That numbers are left out, where the names differ in one number only."""
    parts = [re.split(r"(\d+)", name) for name in names]
    if len({len(one) for one in parts}) != 1:
        return []
    differ = [n for n, values in enumerate(zip(*parts, strict=True)) if len(set(values)) > 1]
    if len(differ) != 1 or not all(one[differ[0]].isdigit() for one in parts):
        return []
    numbers = [int(one[differ[0]]) for one in parts]
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    if not missing:
        return []
    count = f"{len(missing)} number{'s are' if len(missing) > 1 else ' is'} left out"
    words = f"the frames have a gap: {count}; they are taken as they follow each other and counted from 0"
    return [Notice("cine.gap", words)]


def _size(frame: Volume) -> str:
    return "×".join(str(n) for n in frame.geometry.shape)
