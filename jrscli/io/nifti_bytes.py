"""NIfTI in memory: for pages that carry their images."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

from jrscli.io import write_image
from jrscli.spatial.volume import LabelMap, Volume


def nifti_bytes(volume: Volume | LabelMap) -> bytes:
    """The volume as the bytes of a .nii.gz file."""
    as_volume = volume if isinstance(volume, Volume) else Volume(volume.array.astype("uint8"), volume.geometry)
    with TemporaryDirectory(prefix="jrs-") as folder:
        path = Path(folder) / "volume.nii"
        write_image(as_volume, path)
        return gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)
