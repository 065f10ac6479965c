"""What is done with a broken file: everything that a command would do with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from corpus import GRID

from jrscli.cli.describe import describe_path
from jrscli.errors import JrsError
from jrscli.io import read_contours, read_image, read_labels
from jrscli.io.nifti import read_frames
from jrscli.io.points import read_points
from jrscli.io.registration_object import read_registration
from jrscli.io.rtstruct import read_rtstruct
from jrscli.io.sidecar import read_sidecar
from jrscli.io.transforms import read_transform
from jrscli.workflows.contours import labels_of_structures


def use(kind: str, path: Path) -> str:
    """The code of the refusal, or "read": whatever else comes out is a finding.

    Each reader is tried, for a broken file may be sent to any of them.
    """
    outcome = _try(describe_path, path)
    if kind in ("series", "dicom", "zip", "nifti", "itk"):
        outcome = _try(read_image, path)
    if kind in ("rtstruct", "dicom"):
        outcome = _try(_contours, path)
    if kind in ("nifti", "labels"):
        outcome = _try(read_labels, path)
        _try(read_frames, path)
    if kind == "transform":
        outcome = _try(_transform, path)
    if kind == "registration":
        outcome = _try(_registration, path)
    if kind == "points":
        outcome = _try(read_points, path)
    return outcome


def _try(reader, path: Path) -> str:
    try:
        reader(path)
    except JrsError as error:
        return error.code
    return "read"


def _contours(path: Path) -> None:
    read_contours(path)
    labels_of_structures(read_rtstruct(path, geometry=GRID), GRID)


def _registration(path: Path) -> None:
    transform = read_registration(path).between()
    transform.map_points(np.array([[1.0, 2.0, 3.0]]))


def _transform(path: Path) -> None:
    transform = read_transform(path)
    read_sidecar(path)
    transform.map_points(np.array([[1.0, 2.0, 3.0]]))
    transform.displacement(GRID)
