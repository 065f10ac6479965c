"""ImageFile: an image as it was read, with what its file said beside the voxels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jrscli.errors import Notice
from jrscli.spatial.volume import Volume

if TYPE_CHECKING:
    from jrscli.io.dicom_series import SeriesHeader


@dataclass(frozen=True, eq=False)
class ImageFile:
    """A volume and where it came from.

    series: the DICOM header that outputs refer to; None for other formats.
    notices: what was repaired or odd while reading.
    """

    volume: Volume
    path: Path
    kind: Literal["nifti", "itk", "dicom"]
    series: SeriesHeader | None = None
    notices: tuple[Notice, ...] = ()

    @property
    def modality(self) -> str | None:
        """CT, MR, PT … where the file says it (DICOM), else None."""
        return self.series.modality if self.series else None

    @property
    def frame_of_reference_uid(self) -> str | None:
        """The DICOM frame of reference, None for other formats or where it is blank."""
        return (self.series.frame_of_reference_uid or None) if self.series else None

    @property
    def stem(self) -> str:
        """A name for output folders: the file's stem, a pseudonym for DICOM."""
        if self.series:
            return self.series.pseudonym
        name = self.path.name
        for ending in (".gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".img", ".hdr"):
            if name.lower().endswith(ending):
                name = name[: -len(ending)]
        return name or "image"
