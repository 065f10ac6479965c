"""Good files to break: one case per format and flavour, written by this package or shipped with pydicom as its test files."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from packed import packed
from pydicom.data import get_testdata_file

from jrscli.io import write_image, write_labels
from jrscli.io.dicom_series import read_series
from jrscli.io.dicom_write import write_series
from jrscli.io.points import write_points
from jrscli.io.registration_object_write import write_deformable, write_rigid
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.io.sidecar import Sidecar
from jrscli.io.transforms import write_field, write_transform
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.contours import structures_of_labels

GRID = Geometry((10, 8, 4), np.diag((1.5, 1.25, 3.0, 1.0)))
_FOREIGN = (
    "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm",
    "JPEGLSNearLossless_16.dcm", "image_dfl.dcm", "liver_1frame.dcm", "rtdose.dcm", "rtdose_1frame.dcm", "rtdose_rle.dcm",
    "rtplan.dcm", "rtstruct.dcm", "nested_priv_SQ.dcm", "UN_sequence.dcm", "no_meta.dcm", "badVR.dcm", "SC_rgb_rle_2frame.dcm",
    "ExplVR_BigEndNoMeta.dcm", "SC_rgb_jpeg_gdcm.dcm", "693_J2KI.dcm",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A good input: ``files`` by name, of which one is broken at a time; ``open_as`` is the name to read ("" = the folder)."""

    kind: str
    name: str
    files: dict[str, bytes]
    open_as: str


def build(folder: Path) -> list[Case]:
    """All cases; ``folder`` is scratch."""
    image = Volume(np.random.default_rng(0).integers(-900, 900, GRID.shape).astype(np.int16), GRID)
    return [*_dicom(folder, image), *_images(folder, image), *_transforms(folder), *_texts(folder), *_zips(folder)]


def _dicom(folder: Path, image: Volume) -> list[Case]:
    write_series(image, folder / "ct", seed="fuzz")
    series = {path.name: path.read_bytes() for path in sorted((folder / "ct").iterdir())}
    mask = np.zeros(GRID.shape, np.uint32)
    mask[2:7, 2:6, :] = 1
    mask[4, 4, :] = 0
    mask[8, 6, 1:] = 2
    header = read_series(folder / "ct")[1]
    structures = structures_of_labels(LabelMap(mask, GRID, {1: "Ring", 2: "Dot"}))
    write_rtstruct(structures, header, GRID, folder / "rs.dcm", seed="fuzz")
    cases = [Case("series", "ct", series, ""), Case("rtstruct", "rs", {"rs.dcm": (folder / "rs.dcm").read_bytes()}, "rs.dcm")]
    cases += [Case("series", name, files, "") for name, files in packed(series, folder / "packed").items()]
    shift = AffineTransform.about(np.eye(3), np.zeros(3), np.array([1.0, 2.0, 3.0]))
    write_rigid(shift, header, header, folder / "rigid.dcm", seed="fuzz")
    write_deformable(DisplacementField.zeros(GRID), header, header, folder / "deformable.dcm", seed="fuzz")
    for name in ("rigid.dcm", "deformable.dcm"):
        cases.append(Case("registration", name, {name: (folder / name).read_bytes()}, name))
    for name in _FOREIGN:
        path = get_testdata_file(name, download=False)
        if path:
            cases.append(Case("dicom", name, {"a.dcm": Path(str(path)).read_bytes()}, "a.dcm"))
    return cases


def _images(folder: Path, image: Volume) -> list[Case]:
    cases = []
    for ending in ("nii", "nii.gz", "mha", "nrrd"):
        write_image(image, folder / f"image.{ending}")
        data = (folder / f"image.{ending}").read_bytes()
        cases.append(Case("nifti" if "nii" in ending else "itk", ending, {f"image.{ending}": data}, f"image.{ending}"))
    plain = sitk.GetImageFromArray(np.ascontiguousarray(image.array.T))
    for ending in ("mhd", "nhdr", "img", "mha", "nrrd"):  # header and voxels in two files, and uncompressed
        sitk.WriteImage(plain, str(folder / f"pair.{ending}"))
        files = {path.name: path.read_bytes() for path in folder.glob("pair.*")}
        for path in folder.glob("pair.*"):
            path.unlink()
        cases.append(Case("nifti" if ending == "img" else "itk", f"pair {ending}", files, f"pair.{ending}"))
    labels = LabelMap((image.array > 0).astype(np.uint32), GRID, {1: "Ring"})
    write_labels(labels, folder / "seg.nii.gz")
    files = {name: (folder / name).read_bytes() for name in ("seg.nii.gz", "seg.json")}
    return [*cases, Case("labels", "seg", files, "seg.nii.gz")]


def _transforms(folder: Path) -> list[Case]:
    shift = AffineTransform.about(np.eye(3), np.zeros(3), np.array([1.0, 2.0, 3.0]))
    field = DisplacementField(np.random.default_rng(1).normal(0, 1, (*GRID.shape, 3)).astype(np.float32), GRID)
    cases = []
    for name, transform in (
        ("chain.h5", Transform((field, shift))),
        ("shift.tfm", Transform((shift,))),
        ("shift.h5", Transform((shift,))),
    ):
        write_transform(transform, folder / name, Sidecar("moving_to_fixed", GRID, GRID, facts={"figure": 1.5}))
        sidecar = f"{name.split('.')[0]}.json"
        files = {file: (folder / file).read_bytes() for file in (name, sidecar)}
        cases.append(Case("transform", name, files, name))
    write_transform(Transform((shift,)), folder / "shift.mat")
    cases.append(Case("transform", "mat", {"shift.mat": (folder / "shift.mat").read_bytes()}, "shift.mat"))
    sitk.WriteTransform(
        sitk.BSplineTransformInitializer(sitk.Image(10, 10, 10, sitk.sitkUInt8), [2, 2, 2]), str(folder / "s.tfm")
    )
    cases.append(Case("transform", "spline", {"s.tfm": (folder / "s.tfm").read_bytes()}, "s.tfm"))
    for ending in ("nii.gz", "mha", "nrrd"):
        write_field(field, folder / f"field.{ending}")
        data = (folder / f"field.{ending}").read_bytes()
        cases.append(Case("transform", f"field {ending}", {f"field.{ending}": data}, f"field.{ending}"))
    return cases


def _texts(folder: Path) -> list[Case]:
    cases = []
    for ending in ("csv", "fcsv", "mrk.json"):
        write_points(np.arange(12.0).reshape(4, 3), ("a", "b", "c", "d"), folder / f"p.{ending}")
        cases.append(Case("points", ending, {f"p.{ending}": (folder / f"p.{ending}").read_bytes()}, f"p.{ending}"))
    deep = b'{"markups": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    cases.append(Case("points", "deep json", {"p.mrk.json": deep}, "p.mrk.json"))
    names = json.dumps({"labels": {"1": "x"}}).encode() + b"[" * 100_000
    small = gzip.compress((folder / "image.nii").read_bytes())
    return [*cases, Case("labels", "deep table", {"image.nii.gz": small, "image.json": names}, "image.nii.gz")]


def _zips(folder: Path) -> list[Case]:
    slices = {path.name: path.read_bytes() for path in sorted((folder / "ct").iterdir())}

    def zipped(fill: Callable[[zipfile.ZipFile], None]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            fill(archive)
        return out.getvalue()

    def good(archive: zipfile.ZipFile) -> None:
        for name, data in slices.items():
            archive.writestr(f"study/{name}", data)

    def leaves(archive: zipfile.ZipFile) -> None:
        for name, data in slices.items():
            archive.writestr(f"../../{name}", data)

    def bomb(archive: zipfile.ZipFile) -> None:
        archive.writestr("a.dcm", next(iter(slices.values())) + bytes(60_000_000))

    def many(archive: zipfile.ZipFile) -> None:
        for number in range(3000):
            archive.writestr(f"{number}", b"")

    fills = {"good": good, "leaves": leaves, "bomb": bomb, "many": many}
    return [Case("zip", f"zip {name}", {"a.zip": zipped(fill)}, "a.zip") for name, fill in fills.items()]
