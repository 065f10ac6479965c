"""NIfTI files. The one place where RAS (NIfTI) is turned into LPS (everything else here)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError

from jrscli.errors import InputError, Notice, WriteError
from jrscli.io.caps import check_claim, check_voxels
from jrscli.spatial.geometry import ORTHOGONAL_TOLERANCE, Geometry
from jrscli.spatial.volume import LabelMap, Volume

_RAS_TO_LPS = np.diag((-1.0, -1.0, 1.0, 1.0))
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    ArithmeticError,
    zlib.error,
    HeaderDataError,
    HeaderTypeError,
    ImageFileError,
)


def read_nifti(path: Path) -> tuple[Volume, tuple[Notice, ...]]:
    """The image of a NIfTI file, in the file's integer type where no scaling is stored, else float32.

    Raises InputError `image.unreadable`, `image.4d`, `image.vector`, `input.too_big`; GeometryError for a senseless header.
    """
    (volume,), notices = _read(path, frames=False)
    return volume, notices


def read_frames(path: Path) -> tuple[tuple[Volume, ...], tuple[Notice, ...]]:
    """The frames of a four-dimensional NIfTI file (a single volume is one frame).

    Raises as `read_nifti`.
    """
    return _read(path, frames=True)


def frame_count(path: Path) -> int:
    """How many frames the header speaks of; 1 for a single volume, 0 for a file that cannot be read.

    Raises nothing: what is wrong with the file is said where it is read.
    """
    try:
        with _opened(path) as image:
            shape = [int(n) for n in image.shape]
    except _DAMAGED:
        return 0
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    return shape[3] if len(shape) == 4 else 1


def write_frames(frames: Sequence[Volume | LabelMap], path: Path) -> None:
    """Write frames of one grid as a four-dimensional NIfTI file, labels in the smallest unsigned type that holds them.

    Raises WriteError `output.unwritable`.
    """
    stacked = np.stack([frame.array for frame in frames], axis=-1)
    _save(_storable(stacked, labels=isinstance(frames[0], LabelMap)), frames[0].geometry, path)


def write_nifti(volume: Volume | LabelMap, path: Path) -> None:
    """Write a NIfTI-1 file (sform and qform alike, code 1, mm); labels in the smallest unsigned type that holds them.

    Raises WriteError `output.unwritable`.
    """
    _save(_storable(volume.array, labels=isinstance(volume, LabelMap)), volume.geometry, path)


def _read(path: Path, *, frames: bool) -> tuple[tuple[Volume, ...], tuple[Notice, ...]]:
    try:
        with _opened(path) as image:
            header = image.header
            *shape, count = _spatial_shape(header, path, frames=frames)
            affine, notices = _ras_affine(header)
            affine = _RAS_TO_LPS @ _to_millimetres(affine, header)
            _check_claim(image, path)
            array = _values(image).reshape((*shape, count), order="A")
    except _DAMAGED as error:
        raise _damaged(path) from error
    geometry = Geometry((shape[0], shape[1], shape[2]), affine)
    return tuple(Volume(array[..., n], geometry) for n in range(count)), notices


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path.name} cannot be read: it is cut off or damaged",
        code="image.unreadable",
        hint="copy or download the file again (gzip -t FILE tests a .gz)",
    )


def _save(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    affine = _RAS_TO_LPS @ geometry.affine
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    try:
        nib.save(image, path)
    except OSError as error:
        raise WriteError(
            f"{path.name} cannot be written: {error.strerror}",
            code="output.unwritable",
            hint="check the free space and the permissions",
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The image by its content: nibabel's own loader goes by the ending of the name."""
    with path.open("rb") as file:
        start = file.read(2)
    with gzip.open(path) if start == b"\x1f\x8b" else path.open("rb") as stream:
        head = stream.read(540)
        stream.seek(0)
        if head[344:348] == b"ni1\0" or head[4:8] == b"ni2\0" or len(head) < 348 or path.suffix.lower() == ".img":
            image = nib.load(path, mmap=False)  # header and voxels in two files
            if not isinstance(image, nib.Nifti1Pair):
                raise ImageFileError("an image of another format that ends in .img")
            yield image
        else:
            kind = nib.Nifti2Image if head[4:8] == b"n+2\0" else nib.Nifti1Image
            yield kind.from_stream(stream)


def _spatial_shape(header: Any, path: Path, *, frames: bool) -> tuple[int, int, int, int]:
    """The three sizes, and the number of frames."""
    stored = [int(n) for n in header.get_data_shape()]
    shape = list(stored)
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) == 4 and not frames:
        raise InputError(
            f"{path.name} is four-dimensional ({shape[3]} frames) where one volume is needed",
            code="image.4d",
            hint=f"a cine goes through: jrs propagate-contours {path.name} LABELS --labelled-frame 0",
        )
    if len(shape) > 4:
        raise InputError(
            f"{path.name} holds vectors, such as a displacement field, where an image is needed",
            code="image.vector",
            hint="a field is read by: jrs warp --xfm FIELD IMAGE, and described by: jrs info FIELD",
        )
    shape += [1] * (4 - len(shape))
    check_voxels(float(np.prod([float(n) for n in shape])), path)
    return shape[0], shape[1], shape[2], shape[3]


def holds_vectors(path: Path) -> bool:
    """Whether a NIfTI file holds three values per voxel, as ITK writes displacement fields: (i, j, k, 1, 3)."""
    try:
        with _opened(path) as image:
            return len(image.shape) == 5 and image.shape[3:] == (1, 3)
    except _DAMAGED:
        return False


def read_vectors(path: Path) -> tuple[Float[np.ndarray, "i j k 3"], Geometry]:
    """The vectors of such a file as they are stored, and their grid.

    Raises InputError `image.unreadable`, `input.too_big`; GeometryError for a senseless header.
    """
    try:
        with _opened(path) as image:
            i, j, k, *_ = image.shape
            affine, _ = _ras_affine(image.header)
            affine = _RAS_TO_LPS @ _to_millimetres(affine, image.header)
            _check_claim(image, path)
            array = _values(image).reshape((i, j, k, 3), order="A")
    except _DAMAGED as error:
        raise _damaged(path) from error
    return array.astype(np.float32, copy=False), Geometry((i, j, k), affine)


def _check_claim(image: Any, path: Path) -> None:
    voxels = int(np.prod([float(n) for n in image.shape]))
    check_voxels(voxels, path)
    scaled = image.dataobj.slope != 1 or image.dataobj.inter != 0
    voxel = image.header.get_data_dtype().itemsize
    data = Path(image.file_map["image"].filename or path)
    with data.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    check_claim(
        voxels * voxel, path, packed=packed, in_memory=voxels * max(voxel, 4) if scaled else 0, stored=data.stat().st_size
    )


def _values(image: Any) -> np.ndarray:
    slope, inter = image.dataobj.slope, image.dataobj.inter
    if slope == 1 and inter == 0:
        array = np.asarray(image.dataobj.get_unscaled())
    else:
        array = np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
    if array.dtype.kind == "f" and array.dtype.itemsize != 4:
        array = array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _ras_affine(header: Any) -> tuple[Float[np.ndarray, "4 4"], tuple[Notice, ...]]:
    """The index-to-RAS matrix, chosen from sform and qform as ITK does.

    sform where its code is 1 (scanner) or there is no qform; else qform. A sheared sform gives way to the qform. With neither,
    the voxel sizes alone count and the axes are taken as LPS. (Voxel sizes are those of the matrix; ITK takes pixdim's.)
    """
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = header.get_qform(coded=True)
    if not sform_code and not qform_code:
        sizes = np.append(header.get_zooms()[:3], (1, 1, 1))[:3]
        affine = _RAS_TO_LPS @ np.diag([*np.where(sizes > 0, sizes, 1), 1])
        return affine, (
            Notice(
                "image.no_form", "the header has no orientation (sform, qform); the axes are taken as left, posterior, superior"
            ),
        )
    if not qform_code:
        return _with_third_axis(sform), ()
    if not sform_code:
        return _with_third_axis(qform), ()
    prefer_sform = int(sform_code) == 1 and _is_orthogonal(sform)
    used, other = (sform, qform) if prefer_sform else (qform, sform)
    last = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [
        *(np.array([*header.get_data_shape(), 1, 1])[:3] - 1),
        1,
    ]
    apart = float(np.abs(last @ (used - other).T).max())
    if apart <= 0.01 * float(np.linalg.norm(used[:3, :3], axis=0).max()):
        return _with_third_axis(used), ()
    name = "sform" if prefer_sform else "qform"
    return _with_third_axis(used), (
        Notice("image.forms", f"sform and qform in the header differ by up to {apart:.3g} mm; used the {name}"),
    )


def _is_orthogonal(affine: Float[np.ndarray, "4 4"]) -> bool:
    length = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / np.where(length > 0, length, 1)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() <= ORTHOGONAL_TOLERANCE)


def _with_third_axis(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """2-D files may leave the third column empty; a slice is then 1 mm thick."""
    affine = np.array(affine, dtype=np.float64)
    if np.linalg.norm(affine[:3, 2]) < 1e-9:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    return affine


def _to_millimetres(affine: Float[np.ndarray, "4 4"], header: Any) -> Float[np.ndarray, "4 4"]:
    factor = _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    return np.diag((factor, factor, factor, 1.0)) @ affine


def _storable(array: np.ndarray, *, labels: bool) -> np.ndarray:
    """The array in a type that every NIfTI reader knows."""
    if labels:
        highest = int(array.max()) if array.size else 0
        return array.astype(np.uint8 if highest < 256 else np.uint16 if highest < 65536 else np.uint32)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        small = array.size == 0 or (int(array.min()) >= -(2**31) and int(array.max()) < 2**31)
        return array.astype(np.int32 if small else np.float64)
    return array
