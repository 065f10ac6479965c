"""Files: the only place that knows formats. Content decides, not the file's name; formats load on first use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jrscli.errors import InputError, UsageError

if TYPE_CHECKING:
    from jrscli.io.image_file import ImageFile
    from jrscli.spatial.structures import StructureSet
    from jrscli.spatial.volume import LabelMap, Volume

READABLE = "jrs reads NIfTI, NRRD, MetaImage (.mha), a DICOM file, or a folder of DICOM slices"


def read_image(
    path: Path | str, *, select: str | None = None, resample_irregular: bool = False, assign_uids: bool = False
) -> ImageFile:
    """The image at ``path``: a NIfTI, NRRD, MetaImage or DICOM file, or a folder of slices.

    select: which DICOM images: a series by UID or by its number in the table of `jrs info`, ``orientation=K``,
    ``KEYWORD=VALUE``. resample_irregular, assign_uids: what of a DICOM series to repair (`dicom_series.read_series`).

    Raises InputError `input.missing`, `image.unreadable`, `image.4d`, and the codes of the formats.
    """
    from jrscli.io.content import existing, kind_of
    from jrscli.io.image_file import ImageFile

    path = existing(path)
    kind = kind_of(path)
    if kind == "nifti":
        from jrscli.io.nifti import read_nifti

        volume, notices = read_nifti(path)
        return ImageFile(volume, path, "nifti", notices=notices)
    if kind == "itk":
        from jrscli.io.itk_image import read_itk

        return ImageFile(read_itk(path), path, "itk")
    if kind in ("dicom", "folder", "zip"):
        from jrscli.io.dicom_series import read_series

        volume, header, notices = read_series(
            path, select=select, resample_irregular=resample_irregular, assign_uids=assign_uids
        )
        return ImageFile(volume, path, "dicom", series=header, notices=notices)
    raise unreadable(path, kind)


def read_labels(path: Path | str) -> LabelMap:
    """The label map at ``path``, with the names of the .json beside it where there is one.

    Whole numbers stored as floating point are taken as they are meant.

    Raises InputError `labels.values` for values that are no labels, and the codes of `read_image`.
    """
    from jrscli.io.label_map import labels_from_volume

    image = read_image(path)
    return labels_from_volume(image.volume, image.path)


def read_contours(
    path: Path | str, *, reference: ImageFile | None = None, assume_aligned: bool = False
) -> StructureSet | LabelMap:
    """The contours at ``path``: an RTSTRUCT as a StructureSet, any image file as a LabelMap.

    A DICOM Segmentation is a LabelMap, or a StructureSet where its segments overlap, which labels cannot.

    reference: the image the contours were drawn on; an RTSTRUCT is matched to it. assume_aligned: use contours of another
    frame of reference as they are.

    Raises InputError `rs.other_space` and the codes of the formats.
    """
    from jrscli.io.content import existing, kind_of

    path = existing(path)
    if kind_of(path) in ("dicom", "folder"):
        from jrscli.io.rtstruct import is_rtstruct, read_rtstruct

        if path.is_dir():
            path = _only_rtstruct(path)
        if is_rtstruct(path):
            series = reference.series if reference else None
            grid = reference.volume.geometry if reference else None
            return read_rtstruct(path, series, grid, assume_aligned=assume_aligned)
        if path.is_file():
            from jrscli.io.dicom_classes import SEGMENTATION_CLASSES, sop_class_of

            if sop_class_of(path) in SEGMENTATION_CLASSES:
                return _contours_of_segments(path)
    return read_labels(path)


def write_image(volume: Volume, path: Path | str) -> None:
    """Write an image as NIfTI, NRRD or MetaImage, as the ending of the name says.

    Raises UsageError `output.format`, WriteError `output.unwritable`.
    """
    _writer(Path(path))(volume, Path(path))


def write_labels(labels: LabelMap, path: Path | str) -> None:
    """Write labels as whole numbers, with their names in a .json beside the file where there are names.

    Raises UsageError `output.format`, WriteError `output.unwritable`.
    """
    from jrscli.io.label_map import write_names

    _writer(Path(path))(labels, Path(path))
    write_names(labels, Path(path))


def unreadable(path: Path, kind: str) -> InputError:
    """The error for a file that is no image, with what it seems to be."""
    from jrscli.io.content import looks_like_text

    if kind in ("transform", "points"):
        found = "a transform" if kind == "transform" else "a list of points"
        return InputError(
            f"{path.name} is {found}, not an image", code="image.unreadable", hint=f"describe it with: jrs info {path}"
        )
    found = "empty" if not path.stat().st_size else "plain text" if looks_like_text(path) else "of an unknown format"
    return InputError(f"{path.name} is not an image: the file is {found}", code="image.unreadable", hint=READABLE)


def _contours_of_segments(path: Path) -> StructureSet | LabelMap:
    from jrscli.io.segmentation_object import read_segmentation
    from jrscli.spatial.contouring import contours_from_mask
    from jrscli.spatial.structures import Roi, StructureSet

    masks, notices = read_segmentation(path)
    if not masks.overlap():
        return masks.as_labels()[0]
    rois = (Roi(n, masks.name(n), contours_from_mask(mask, masks.geometry)) for n, mask in masks.masks.items())
    return StructureSet(tuple(rois), notices=notices)


def _only_rtstruct(folder: Path) -> Path:
    """The one RTSTRUCT in a folder, or the folder itself where it holds none (it may be a series)."""
    from jrscli.io.rtstruct import is_rtstruct

    found = [file for file in sorted(folder.rglob("*")) if file.is_file() and is_rtstruct(file)]
    if len(found) > 1:
        raise InputError(
            f"the folder holds {len(found)} structure sets",
            code="rs.many",
            hint="give the file of one of them; list them with: jrs info FOLDER",
        )
    return found[0] if found else folder


def _writer(path: Path) -> Callable[[Volume | LabelMap, Path], None]:
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        from jrscli.io.nifti import write_nifti

        return write_nifti
    if name.endswith((".nrrd", ".mha", ".mhd")):
        from jrscli.io.itk_image import write_itk

        return write_itk
    raise UsageError(
        f"no image format is known for the name {path.name}", code="output.format", hint="end it with .nii.gz, .nrrd or .mha"
    )


__all__ = ["read_contours", "read_image", "read_labels", "write_image", "write_labels"]
