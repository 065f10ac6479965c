"""MetaImage (.mha, .mhd) and NRRD files, through SimpleITK."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from jrscli.errors import InputError, WriteError
from jrscli.io.itk_header import check_itk_header
from jrscli.spatial.itk import image_from_array, volume_from_image
from jrscli.spatial.volume import LabelMap, Volume


def read_itk(path: Path) -> Volume:
    """The image of a MetaImage or NRRD file, in the file's own type.

    Raises InputError `image.unreadable`, `image.4d`, `image.vector`, `input.too_big`.
    """
    reader = itk_reader(path)
    try:
        reader.ReadImageInformation()
        size = [int(n) for n in reader.GetSize()]
        components = reader.GetNumberOfComponents()
        if len(size) <= 3 and components == 1:
            image = reader.Execute()
    except (RuntimeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path.name} cannot be read: it is cut off or damaged",
            code="image.unreadable",
            hint="copy or download the file again",
        ) from error
    if components > 1:
        raise InputError(
            f"{path.name} holds {components} values per voxel where one is needed",
            code="image.vector",
            hint="a field is read by: jrs warp --xfm FIELD IMAGE; a colour image has to be made grey first",
        )
    if len(size) > 4 or (len(size) == 4 and size[3] > 1):
        raise InputError(
            f"{path.name} is four-dimensional ({size[3]} frames) where one volume is needed",
            code="image.4d",
            hint="a cine is read from NIfTI: save it as .nii.gz, then: jrs propagate-contours CINE LABELS --labelled-frame 0",
        )
    if len(size) == 4:
        reader.SetExtractSize([*size[:3], 0])
        image = reader.Execute()
    elif len(size) == 2:
        image = sitk.JoinSeries(image)
    return volume_from_image(image)


def itk_reader(path: Path) -> sitk.ImageFileReader:
    """ITK's reader for a MetaImage or NRRD file whose header was looked at.

    Raises InputError `image.unreadable`, `input.too_big`.
    """
    check_itk_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with path.open("rb") as file:  # by content: ITK goes by the ending of the name
        reader.SetImageIO("NrrdImageIO" if file.read(4) == b"NRRD" else "MetaImageIO")
    return reader


def write_itk(volume: Volume | LabelMap, path: Path) -> None:
    """Write a MetaImage or NRRD file, compressed.

    Raises WriteError `output.unwritable`.
    """
    try:
        sitk.WriteImage(image_from_array(volume.array, volume.geometry), str(path), useCompression=True)
    except RuntimeError as error:
        raise WriteError(
            f"{path.name} cannot be written",
            code="output.unwritable",
            hint="check the free space, the permissions and the ending of the name",
        ) from error
