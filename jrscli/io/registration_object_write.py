"""Writing DICOM registrations: a matrix runs moving -> fixed there, while the field of a deformable one pulls."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from jrscli.errors import Notice
from jrscli.io.dicom_references import add_common_references, check_referable, image_references, new_object, save
from jrscli.io.dicom_values import exact_decimal
from jrscli.io.dicom_walk import quiet
from jrscli.io.registration_object import DEFORMABLE_CLASS, RIGID_CLASS
from jrscli.io.series_header import SeriesHeader
from jrscli.io.software import software_version
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry

_METHOD = ("125024", "DCM", "Image Content-based Alignment")


@quiet()
def write_rigid(
    affine: AffineTransform,
    fixed: SeriesHeader,
    moving: SeriesHeader,
    path: str | Path,
    *,
    failed: bool = False,
    seed: str | None = None,
) -> tuple[Notice, ...]:
    """Notices after writing the linear map ``affine`` (fixed mm -> moving mm) as a Spatial Registration.

    The object holds its inverse, for a matrix of DICOM takes moving points to the registered (fixed) frame.
    failed: whether the registration is known not to be trusted, which the object then says.
    seed: makes UIDs and dates depend on it and on the content only.

    Raises InputError `series.for_blank`, `series.uid_blank`, WriteError `output.unwritable`.
    """
    reg, notices = _registration(RIGID_CLASS, affine.matrix, fixed, moving, "JRS_LINEAR", seed)
    matrix = affine.inverse()
    kind = matrix_type(matrix)
    reg.ContentDescription = _description("linear", failed)
    reg.RegistrationSequence = [_item(moving, matrix, kind), _item(fixed, AffineTransform.identity(), "RIGID")]
    if kind != "RIGID":
        notices.append(
            Notice(
                "reg.not_rigid",
                f"the registration scales or shears, so its matrix is of the type {kind}; some systems take RIGID only",
            )
        )
    save(reg, path, "the registration")
    return tuple(notices)


@quiet()
def write_deformable(
    field: DisplacementField,
    fixed: SeriesHeader,
    moving: SeriesHeader,
    path: str | Path,
    *,
    failed: bool = False,
    seed: str | None = None,
) -> tuple[Notice, ...]:
    """Notices after writing a pull field (the linear part folded in) as a Deformable Spatial Registration.

    The field goes in unchanged: a deformable registration pulls, as ours do. Its grid need not be that of the fixed image.
    failed: whether the registration is known not to be trusted, which the object then says.
    seed: makes UIDs and dates depend on it and on the content only.

    Raises InputError `series.for_blank`, `series.uid_blank`, WriteError `output.unwritable`.
    """
    field = _right_handed(field)
    reg, notices = _registration(DEFORMABLE_CLASS, field.array, fixed, moving, "JRS_DEFORMABLE", seed)
    reg.ContentDescription = _description("deformable", failed)
    item = Dataset()
    item.SourceFrameOfReferenceUID = moving.frame_of_reference_uid
    item.ReferencedImageSequence = image_references(moving)
    item.RegistrationTypeCodeSequence = [_method()]
    item.DeformableRegistrationGridSequence = [_grid(field)]
    reg.DeformableRegistrationSequence = [item]
    save(reg, path, "the registration")
    return tuple(notices)


def matrix_type(affine: AffineTransform) -> str:
    """RIGID, RIGID_SCALE (the columns stay at right angles) or AFFINE (PS3.3 C.20.2.1.2)."""
    if affine.is_rigid():
        return "RIGID"
    linear = affine.matrix[:3, :3]
    product = linear.T @ linear
    off = np.abs(product - np.diag(np.diag(product))).max()
    return "RIGID_SCALE" if off <= 1e-4 * np.abs(product).max() and np.linalg.det(linear) > 0 else "AFFINE"


def _registration(
    sop_class: str, values: np.ndarray, fixed: SeriesHeader, moving: SeriesHeader, label: str, seed: str | None
) -> tuple[Dataset, list[Notice]]:
    check_referable(fixed, "a registration")
    check_referable(moving, "a registration")
    digest = hashlib.sha256(f"{sop_class}\x1f{fixed.series_instance_uid}\x1f{moving.series_instance_uid}".encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    reg, notices = new_object(sop_class, "REG", fixed, "jrs registration", digest.hexdigest(), seed)
    reg.Laterality = ""  # of a body part that may be paired: its absence is an error, its side is not ours to say
    reg.ContentLabel, reg.ContentCreatorName = label, ""
    add_common_references(reg, fixed, moving)
    if fixed.frame_of_reference_uid == moving.frame_of_reference_uid:
        words = "both series share a frame of reference; the registration tells them apart by their images only"
        notices.append(Notice("reg.same_frame", words))
    if fixed.pseudonym != moving.pseudonym:
        notices.append(Notice("reg.patient", "the two series name different patients; the registration names that of FIXED"))
    return reg, notices


def _description(kind: str, failed: bool) -> str:
    return f"{kind}, by jrs {software_version()}; {'FAILED, not to be trusted' if failed else 'for review'}"[:64]


def _method() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = _METHOD
    return code


def _item(header: SeriesHeader, affine: AffineTransform, kind: str) -> Dataset:
    step = Dataset()
    step.FrameOfReferenceTransformationMatrix = [exact_decimal(value) for value in affine.matrix.ravel()]
    step.FrameOfReferenceTransformationMatrixType = kind
    registration = Dataset()
    registration.RegistrationTypeCodeSequence = [_method()]
    registration.MatrixSequence = [step]
    item = Dataset()
    item.FrameOfReferenceUID = header.frame_of_reference_uid
    item.ReferencedImageSequence = image_references(header)
    item.MatrixRegistrationSequence = [registration]
    return item


def _grid(field: DisplacementField) -> Dataset:
    geometry = field.geometry
    grid = Dataset()
    grid.ImagePositionPatient = [exact_decimal(x) for x in geometry.origin_mm]
    grid.ImageOrientationPatient = [exact_decimal(x) for x in (*geometry.axes[:, 0], *geometry.axes[:, 1])]
    grid.GridDimensions = list(geometry.shape)
    grid.GridResolution = list(geometry.spacing_mm)
    # x runs fastest, each vector in one piece
    grid.VectorGridData = np.ascontiguousarray(field.array.transpose(2, 1, 0, 3), dtype="<f4").tobytes()
    return grid


def _right_handed(field: DisplacementField) -> DisplacementField:
    """The same field on a grid whose third axis is the cross product of the others: DICOM knows no other."""
    geometry = field.geometry
    if np.linalg.det(geometry.axes) > 0:
        return field
    affine = geometry.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (geometry.shape[2] - 1)
    affine[:3, 2] *= -1
    return DisplacementField(field.array[:, :, ::-1], Geometry(geometry.shape, affine))
