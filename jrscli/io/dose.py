"""RT Dose: read in Gy on its grid, and written in the space of another image series."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from jrscli.errors import InputError, JrsError, Notice
from jrscli.io.content import existing
from jrscli.io.dicom_classes import sop_class_of
from jrscli.io.dicom_references import check_referable, new_object, save
from jrscli.io.dicom_values import exact_decimal
from jrscli.io.dicom_walk import quiet
from jrscli.io.series_header import SeriesHeader
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

DOSE_CLASS = "1.2.840.10008.5.1.4.1.1.481.2"
MAX_VOXELS = 1_000_000_000
_KEPT = ("DoseType", "DoseSummationType", "TissueHeterogeneityCorrection", "ReferencedRTPlanSequence")
"""What a warped dose still says of the one it comes from."""
_REQUIRED = {"DoseType": "PHYSICAL", "DoseSummationType": "PLAN"}


@dataclass(frozen=True, eq=False)
class Dose:
    """A dose on its own grid.

    units: "GY" or "RELATIVE". kept: what a dose made from this one says of it (plan, type, summation).
    """

    volume: Volume
    units: Literal["GY", "RELATIVE"]
    frame_of_reference_uid: str
    kept: Dataset

    @property
    def names_plan(self) -> bool:
        """Whether it says which plan it belongs to; an RTDOSE of type PLAN is not valid without."""
        return bool(self.kept.get("ReferencedRTPlanSequence"))


def is_dose(path: Path | str) -> bool:
    """Whether a file is an RT Dose, by its content."""
    return sop_class_of(Path(path)) == DOSE_CLASS


@quiet()
def read_dose(path: Path | str) -> Dose:
    """The dose at ``path``: pixels · DoseGridScaling, float32, planes counted along their normal.

    Raises InputError `input.missing`, `dose.unreadable`, `dose.units`, `dose.uneven`, `input.too_big`.
    """
    path = existing(path)
    if not is_dose(path):
        raise InputError(f"{path.name} is not an RT Dose", code="dose.unreadable", hint="give an RTDOSE file")
    try:
        return _dose(pydicom.dcmread(path, force=True))
    except JrsError:
        raise
    except Exception as error:
        # a broken file makes the parser raise almost anything
        raise InputError(
            f"the dose cannot be read: {type(error).__name__}",
            code="dose.unreadable",
            hint="export it again from the system it came from",
        ) from error


@quiet()
def write_dose(
    volume: Volume,
    source: Dose,
    header: SeriesHeader,
    path: Path | str,
    *,
    rigid: bool = False,
    comment: str = "deformed by jrs: point-wise dose transfer",
    seed: str | None = None,
) -> tuple[Notice, ...]:
    """Notices after writing a dose made from ``source``, in the study and the frame of reference of ``header``.

    rigid: whether it was moved by a rigid transform. The plan of the source is still named, its DVHs are not.
    seed: makes UIDs and dates depend on it and on the content only.

    Raises InputError `series.for_blank`, `series.uid_blank`, `dose.negative`, `dose.plan`, WriteError `output.unwritable`.
    """
    check_referable(header, "a dose")
    if not source.names_plan:
        raise InputError(
            "the given dose names no plan, and without one an RTDOSE is not valid",
            code="dose.plan",
            hint="write NIfTI, or export the dose again with its plan",
        )
    if float(volume.array.min()) < 0:
        raise InputError(
            "the dose has negative values", code="dose.negative", hint="give a dose, not a difference of doses; or write NIfTI"
        )
    volume = _upright(volume)
    digest = hashlib.sha256(f"{header.series_instance_uid}\x1f{volume.geometry.sha256}\x1f{comment}".encode())
    digest.update(np.ascontiguousarray(volume.array.transpose(2, 1, 0)).tobytes())
    dose, notices = new_object(DOSE_CLASS, "RTDOSE", header, "jrs: dose, moved point by point", digest.hexdigest(), seed)
    dose.OperatorsName = ""
    dose.update(copy.deepcopy(source.kept))
    for keyword, value in _REQUIRED.items():
        if not dose.get(keyword):
            setattr(dose, keyword, value)
            notices.append(Notice("dose.type", f"the given dose has no {keyword}, which has to be there; written as {value}"))
    dose.DoseUnits, dose.DoseComment = source.units, comment[:64]
    dose.SpatialTransformOfDose = "RIGID" if rigid else "NON_RIGID"
    dose.ReferencedSpatialRegistrationSequence = []
    _add_grid(dose, volume.geometry)
    _add_pixels(dose, volume.array)
    save(dose, path, "the dose")
    return tuple(notices)


def _dose(dataset: Dataset) -> Dose:
    units = str(dataset.get("DoseUnits", "") or "").upper()
    if units not in ("GY", "RELATIVE"):
        raise InputError("the dose does not say whether it is in Gy", code="dose.units", hint="export it again in Gy")
    rows, columns, frames = int(dataset.Rows), int(dataset.Columns), int(dataset.get("NumberOfFrames", 1) or 1)
    if rows * columns * frames > MAX_VOXELS:
        raise InputError(
            f"a dose of {columns}×{rows}×{frames} voxels", code="input.too_big", hint="export it on a coarser grid"
        )
    geometry = _geometry(dataset, (columns, rows, frames))
    stored = np.asarray(dataset.pixel_array).reshape(frames, rows, columns).transpose(2, 1, 0)
    values = stored.astype(np.float64) * float(dataset.DoseGridScaling)
    kept = Dataset()
    for keyword in _KEPT:
        if keyword in dataset:
            kept[keyword] = copy.deepcopy(dataset[keyword])
    kept.remove_private_tags()
    frame = str(dataset.get("FrameOfReferenceUID", "") or "")
    return Dose(_upright(Volume(values.astype(np.float32), geometry)), units, frame, kept)  # type: ignore[arg-type]


def _geometry(dataset: Dataset, shape: tuple[int, int, int]) -> Geometry:
    orientation = np.array([float(v) for v in dataset.ImageOrientationPatient])
    rows, columns = orientation[:3], orientation[3:]
    normal = np.cross(rows, columns)
    spacing = [float(v) for v in dataset.PixelSpacing]
    origin = np.array([float(v) for v in dataset.ImagePositionPatient])
    step = _step(dataset, shape[2], float(origin[2]), float(normal[2]))
    affine = np.eye(4)
    # PixelSpacing is (distance of rows, distance of columns)
    affine[:3, :3] = np.stack([rows * spacing[1], columns * spacing[0], normal * step], axis=1)
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def _step(dataset: Dataset, frames: int, height: float, along_z: float) -> float:
    """From plane to plane along the normal, mm."""
    if frames == 1:
        return float(dataset.get("SliceThickness") or 1.0)
    offsets = np.array([float(v) for v in dataset.GridFrameOffsetVector])
    if len(offsets) != frames:
        raise ValueError("GridFrameOffsetVector")
    steps = np.diff(offsets)
    step = float(np.median(steps))
    if step == 0 or np.abs(steps - step).max() > max(0.01, 0.01 * abs(step)):
        raise InputError(
            f"the planes of the dose are {np.abs(steps).min():.3g} to {np.abs(steps).max():.3g} mm apart",
            code="dose.uneven",
            hint="export it on an even grid",
        )
    # offsets that begin with the height of the first plane are heights (PS3.3 C.8.8.3.2), which fall along a falling normal
    heights = offsets[0] != 0 and abs(offsets[0] - height) < 0.01
    return step * (np.sign(along_z) if heights else 1.0)


def _upright(volume: Volume) -> Volume:
    """The same dose with its planes counted along the cross product of rows and columns."""
    geometry = volume.geometry
    if np.linalg.det(geometry.axes) > 0:
        return volume
    affine = geometry.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (geometry.shape[2] - 1)
    affine[:3, 2] *= -1
    return Volume(volume.array[:, :, ::-1], Geometry(geometry.shape, affine))


def _add_grid(dose: Dataset, geometry: Geometry) -> None:
    axes, spacing = geometry.axes, geometry.spacing_mm
    dose.ImagePositionPatient = [exact_decimal(x) for x in geometry.origin_mm]
    dose.ImageOrientationPatient = [exact_decimal(x) for x in (*axes[:, 0], *axes[:, 1])]
    dose.PixelSpacing = [exact_decimal(spacing[1]), exact_decimal(spacing[0])]
    dose.SliceThickness = exact_decimal(spacing[2])
    dose.Columns, dose.Rows, dose.NumberOfFrames = geometry.shape
    dose.FrameIncrementPointer = Tag("GridFrameOffsetVector")
    dose.GridFrameOffsetVector = [exact_decimal(n * spacing[2]) for n in range(geometry.shape[2])]


def _add_pixels(dose: Dataset, array: np.ndarray) -> None:
    dose.SamplesPerPixel, dose.PhotometricInterpretation = 1, "MONOCHROME2"
    dose.BitsAllocated, dose.BitsStored, dose.HighBit, dose.PixelRepresentation = 16, 16, 15, 0
    highest = float(array.max())
    # 16 bits, as planning systems write them: a step is 1/65 000 of the highest dose. The text of a decimal string is what
    # readers compute with; a little room above keeps its rounding harmless
    scaling = exact_decimal(highest / 65_000) if highest > 0 else "1"
    dose.DoseGridScaling = scaling
    stored = np.round(array.transpose(2, 1, 0).astype(np.float64) / float(scaling)).astype("<u2")
    dose.PixelData = stored.tobytes()
