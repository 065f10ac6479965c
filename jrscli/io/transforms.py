"""Transforms and displacement fields as files: ITK composites and ITK vector images (mm, LPS, pull)."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from jrscli.errors import GeometryError, InputError, UsageError, WriteError
from jrscli.io.content import existing, kind_of
from jrscli.io.hdf5_times import without_times
from jrscli.io.itk_image import itk_reader
from jrscli.io.sidecar import Sidecar, write_sidecar
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.itk import array_from_image, geometry_from_image, image_from_array
from jrscli.spatial.transform import Transform, to_itk

TRANSFORM_ENDINGS = (".h5", ".hdf5", ".hdf", ".tfm", ".txt", ".mat")
HDF5_ENDINGS = (".h5", ".hdf5", ".hdf")
FIELD_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


def write_transform(transform: Transform, path: Path | str, sidecar: Sidecar | None = None) -> None:
    """Write an ITK composite (.h5, or .tfm for text) and, where given, the .json beside it.

    Raises UsageError `output.format`, WriteError `output.unwritable`.
    """
    path = Path(path)
    if path.suffix.lower() not in TRANSFORM_ENDINGS:
        raise UsageError(f"no transform format is known for the name {path.name}", code="output.format", hint="end it with .h5")
    itk = to_itk(Transform((transform.as_affine(),)) if path.suffix.lower() == ".mat" else transform)
    if path.suffix.lower() == ".mat":
        itk = itk.GetNthTransform(0)  # this format holds one matrix, not a list
    try:
        sitk.WriteTransform(itk, str(path))
        if path.suffix.lower() in HDF5_ENDINGS:
            without_times(path)
    except (RuntimeError, OSError) as error:
        raise _unwritable(path) from error
    if sidecar:
        write_sidecar(sidecar, path)


def read_transform(path: Path | str) -> Transform:
    """The transform of an ITK file (.h5, .tfm, .mat), of elastix (linear), of a field image or of a DICOM registration.

    A DICOM registration is read as registered mm -> mm of its one other frame (`RegistrationObject.between`).

    Raises InputError `xfm.unreadable`, GeometryError `transform.kind`, and what `read_registration` raises.
    """
    path = existing(path)
    kind = kind_of(path)
    if kind in ("nifti", "itk"):
        return Transform((read_field(path),))
    if kind == "dicom":
        from jrscli.io.registration_object import read_registration, registration_kind

        if registration_kind(path):
            return read_registration(path).between()
    if kind != "transform":
        raise InputError(
            f"{path.name} is not a transform",
            code="xfm.unreadable",
            hint="give the .h5 file that jrs register wrote, or a displacement field",
        )
    from jrscli.io.elastix import is_elastix, read_elastix
    from jrscli.io.itk_transform_file import read_itk_transform

    if is_elastix(path):
        return read_elastix(path)
    return read_itk_transform(path)


def write_field(field: DisplacementField, path: Path | str) -> None:
    """Write the field as an ITK vector image: mm, LPS components, pull; float32.

    Raises UsageError `output.format`, WriteError `output.unwritable`.
    """
    path = Path(path)
    if not path.name.lower().endswith(FIELD_ENDINGS):
        raise UsageError(
            f"no field format is known for the name {path.name}",
            code="output.format",
            hint="end it with .nii.gz, .nrrd or .mha",
        )
    try:
        sitk.WriteImage(
            image_from_array(field.array.astype("float32", copy=False), field.geometry), str(path), useCompression=True
        )
    except RuntimeError as error:
        raise _unwritable(path) from error


def read_field(path: Path | str) -> DisplacementField:
    """The field of an ITK vector image (mm, LPS components).

    Raises InputError `xfm.unreadable`, `field.components`, `image.unreadable`, `input.too_big`.
    """
    path = existing(path)
    if not is_field(path):
        raise InputError(
            f"{path.name} is an image, not a displacement field (3 values per voxel in 3 dimensions)",
            code="field.components",
            hint="give the transform after --xfm, and the image to be moved after it",
        )
    if kind_of(path) == "nifti":
        # not by ITK, whose reader some damaged files bring down
        from jrscli.io.nifti import read_vectors

        return DisplacementField(*read_vectors(path))
    try:
        image = itk_reader(path).Execute()
    except (RuntimeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path.name} cannot be read: it is cut off or damaged",
            code="xfm.unreadable",
            hint="copy or download the file again",
        ) from error
    return DisplacementField(array_from_image(image).astype("float32", copy=False), geometry_from_image(image))


def is_field(path: Path) -> bool:
    """Whether an image file holds three values per voxel."""
    if kind_of(path) == "nifti":
        from jrscli.io.nifti import holds_vectors

        return holds_vectors(path)
    try:
        reader = itk_reader(path)
        reader.ReadImageInformation()
    except (InputError, RuntimeError, UnicodeDecodeError):
        return False
    return bool(reader.GetNumberOfComponents() == 3 and reader.GetDimension() == 3)


def as_field(transform: Transform) -> DisplacementField:
    """The field of a transform that consists of one field.

    Raises GeometryError `transform.not_field`.
    """
    if len(transform.parts) == 1 and isinstance(transform.parts[0], DisplacementField):
        return transform.parts[0]
    raise GeometryError(
        "the transform is no single displacement field, so the grid to write it on is open",
        code="transform.not_field",
        hint="give the grid: --reference IMAGE",
    )


def _unwritable(path: Path) -> WriteError:
    return WriteError(
        f"{path.name} cannot be written", code="output.unwritable", hint="check the free space and the permissions"
    )
