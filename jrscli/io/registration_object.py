"""Reading DICOM registrations: Spatial Registration (a matrix per frame) and Deformable Spatial Registration (a field).

The two run in opposite directions. A matrix takes a point of its item's frame of reference *to* the registered one, the frame
of the object itself (PS3.3 C.20.2.1.1); a deformable item takes a registered point to its source frame (C.20.3.1.1), which is
how images are pulled. `RegistrationObject.between` hides that: it always answers with fixed mm -> moving mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from jrscli.errors import InputError, JrsError, Notice
from jrscli.io.content import existing
from jrscli.io.dicom_walk import quiet
from jrscli.io.series_header import SeriesHeader
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Part, Transform

RIGID_CLASS = "1.2.840.10008.5.1.4.1.1.66.1"
DEFORMABLE_CLASS = "1.2.840.10008.5.1.4.1.1.66.3"
MAX_CELLS = 500_000_000
_AGREE_MM = 1e-6
_NOTHING = Transform.identity()


@dataclass(frozen=True, eq=False)
class Link:
    """One item of a registration: how the registered frame and that of the item belong together.

    images: the SOP Instance UIDs it speaks of; empty where it speaks of the whole frame.
    pull: registered mm -> mm of the item's frame.
    """

    frame_of_reference_uid: str
    images: frozenset[str]
    pull: Transform

    def is_identity(self) -> bool:
        """Whether the item moves nothing."""
        return self.pull.is_linear and bool(np.abs(self.pull.as_affine().matrix - np.eye(4)).max() < _AGREE_MM)


@dataclass(frozen=True, eq=False)
class RegistrationObject:
    """A DICOM registration.

    frame_of_reference_uid: the registered frame. notices: what was odd.
    """

    kind: Literal["rigid", "deformable"]
    frame_of_reference_uid: str
    links: tuple[Link, ...]
    notices: tuple[Notice, ...] = ()

    def between(self, fixed: SeriesHeader | None = None, moving: SeriesHeader | None = None) -> Transform:
        """Fixed mm -> moving mm, for two series, whichever of them is the registered one.

        Without series, fixed is the registered frame and moving the one other frame that the object knows.

        Raises InputError `reg.other_space`, `reg.many`.
        """
        # series of one frame are told apart by their images; otherwise images may have got new UIDs, and the frame decides
        strict = fixed is not None and moving is not None and fixed.frame_of_reference_uid == moving.frame_of_reference_uid
        onto = self._pull_of(fixed, strict) if fixed is not None else _NOTHING
        to = self._pull_of(moving, strict) if moving is not None else self._only().pull
        if strict and onto is to:
            raise InputError(
                "the two series share a frame of reference, and the registration does not tell them apart",
                code="reg.many",
                hint="start from the headers instead: --init header",
            )
        return _tidy(onto.inverse().then(to))

    def _pull_of(self, series: SeriesHeader, strict: bool) -> Transform:
        frame, images = series.frame_of_reference_uid, frozenset(series.sop_instance_uids)
        found = [link for link in self.links if link.images & images]
        if not found and not strict:
            found = [link for link in self.links if frame and link.frame_of_reference_uid == frame]
        if found:
            # of several items of one frame the one that moves something is meant
            return min(found, key=Link.is_identity).pull
        if frame and frame == self.frame_of_reference_uid:
            return _NOTHING
        raise InputError(
            "the registration belongs to other frames of reference than the images",
            code="reg.other_space",
            hint="give the registration made for these two series, or leave it out",
        )

    def _only(self) -> Link:
        others = [
            link for link in self.links if not link.is_identity() or link.frame_of_reference_uid != self.frame_of_reference_uid
        ]
        if len(others) > 1:
            raise InputError(
                f"the registration holds {len(others)} items, and the images do not say which is meant",
                code="reg.many",
                hint="name the DICOM series: --fixed FOLDER --moving FOLDER",
            )
        return others[0] if others else self.links[0]


def registration_kind(path: Path | str) -> Literal["rigid", "deformable"] | None:
    """Which of the two kinds of registration a DICOM file is; None for anything else."""
    from jrscli.io.dicom_classes import sop_class_of

    found = sop_class_of(Path(path))
    return "rigid" if found == RIGID_CLASS else "deformable" if found == DEFORMABLE_CLASS else None


@quiet()
def read_registration(path: Path | str) -> RegistrationObject:
    """The registration at ``path``.

    Raises InputError `input.missing`, `reg.unreadable`, `reg.empty`, `input.too_big`.
    """
    path = existing(path)
    kind = registration_kind(path)
    if kind is None:
        raise InputError(
            f"{path.name} is not a DICOM registration",
            code="reg.unreadable",
            hint="give a Spatial Registration or Deformable Spatial Registration object",
        )
    notices: list[Notice] = []
    try:
        dataset = pydicom.dcmread(path, force=True)
        registered = str(dataset.get("FrameOfReferenceUID", "") or "")
        if kind == "rigid":
            links = tuple(_rigid(item) for item in dataset.get("RegistrationSequence") or ())
        else:
            links = tuple(_deformable(item, notices) for item in dataset.get("DeformableRegistrationSequence") or ())
    except JrsError:
        raise
    except Exception as error:
        # a broken file makes the parser raise almost anything
        raise InputError(
            f"the registration cannot be read: {type(error).__name__}",
            code="reg.unreadable",
            hint="export it again from the system it came from",
        ) from error
    if not links:
        raise InputError("the registration holds no item", code="reg.empty", hint="export it again")
    return RegistrationObject(kind, registered, links, tuple(notices))


def _tidy(transform: Transform) -> Transform:
    """The chain with neighbouring matrices multiplied."""
    parts: list[Part] = []
    for part in transform.parts:
        if parts and isinstance(part, AffineTransform) and isinstance(parts[-1], AffineTransform):
            parts[-1] = parts[-1].then(part)
        else:
            parts.append(part)
    identity = [isinstance(part, AffineTransform) and np.array_equal(part.matrix, np.eye(4)) for part in parts]
    kept = [part for part, nothing in zip(parts, identity, strict=True) if not nothing]
    return Transform(tuple(kept)) if kept else Transform.identity()


def _images(item: Dataset) -> frozenset[str]:
    return frozenset(str(image.ReferencedSOPInstanceUID) for image in item.get("ReferencedImageSequence") or ())


def _matrix(item: Dataset) -> AffineTransform:
    values = np.array([float(v) for v in item.FrameOfReferenceTransformationMatrix]).reshape(4, 4)
    return AffineTransform(values)


def _first_matrix(items: Any) -> AffineTransform:
    return _matrix(items[0]) if items else AffineTransform.identity()


def _rigid(item: Dataset) -> Link:
    total = AffineTransform.identity()
    for registration in item.get("MatrixRegistrationSequence") or ():
        for step in registration.MatrixSequence:
            # M1 M2 M3 x (equation C.20.2-2): the last matrix takes the point first
            total = _matrix(step).then(total)
    return Link(str(item.get("FrameOfReferenceUID", "") or ""), _images(item), Transform((total.inverse(),)))


def _deformable(item: Dataset, notices: list[Notice]) -> Link:
    """Post(Pre(x) + u(x)), with u looked up at the registered point x itself (equation of C.20.3.1.1)."""
    before = _first_matrix(item.get("PreDeformationMatrixRegistrationSequence"))
    after = _first_matrix(item.get("PostDeformationMatrixRegistrationSequence"))
    parts: list[Part] = [before]
    grids = item.get("DeformableRegistrationGridSequence")
    if grids:
        parts = _after(before, _grid(grids[0], notices))
    pull = _tidy(Transform((*parts, after)))
    return Link(str(item.get("SourceFrameOfReferenceUID", "") or ""), _images(item), pull)


def _after(before: AffineTransform, field: DisplacementField) -> list[Part]:
    """The chain of ``before`` and the field, where the field is looked up at points that ``before`` has not moved yet."""
    if before.is_rigid():
        # the same offsets on a grid that is moved likewise
        return [before, DisplacementField(field.array, Geometry(field.geometry.shape, before.matrix @ field.geometry.affine))]
    nodes = np.moveaxis(np.indices(field.geometry.shape), 0, -1).reshape(-1, 3)
    points = field.geometry.index_to_world(nodes)
    moved = (before.map_points(points) - points).reshape(field.array.shape)
    return [DisplacementField((field.array + moved).astype(np.float32), field.geometry)]


def _grid(grid: Dataset, notices: list[Notice]) -> DisplacementField:
    i, j, k = (int(n) for n in grid.GridDimensions)
    if min(i, j, k) < 1 or i * j * k > MAX_CELLS:
        raise InputError(
            f"a deformation grid of {i}×{j}×{k} cells", code="input.too_big", hint="export it again with a coarser grid"
        )
    orientation = np.array([float(v) for v in grid.ImageOrientationPatient])
    rows, columns = orientation[:3], orientation[3:]
    affine = np.eye(4)
    axes = np.stack([rows, columns, np.cross(rows, columns)], axis=1)
    affine[:3, :3] = axes * np.array([float(v) for v in grid.GridResolution])
    affine[:3, 3] = [float(v) for v in grid.ImagePositionPatient]
    array = _vectors(grid.VectorGridData, i * j * k).reshape(k, j, i, 3).transpose(2, 1, 0, 3)
    undefined = ~np.isfinite(array).all(axis=-1)
    if undefined.any():
        notices.append(
            Notice(
                "reg.undefined",
                f"{int(undefined.sum())} of {undefined.size} cells of the deformation are undefined; no displacement there",
            )
        )
        array = np.where(undefined[..., None], np.float32(0), array)
    return DisplacementField(array, Geometry((i, j, k), affine))


def _vectors(data: Any, cells: int) -> np.ndarray:
    if len(data) != cells * 12:
        raise InputError(
            f"the deformation grid holds {len(data)} bytes where {cells * 12} are needed",
            code="reg.unreadable",
            hint="export it again from the system it came from",
        )
    return np.frombuffer(data, "<f4").astype(np.float32)
