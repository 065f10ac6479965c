"""Every way in which a series can be wrong, by its code in ``--json``: on planes, counts and spacings unlike the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

AXES = {
    "axial": np.eye(3),
    "sagittal": np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0.0]]),
    "coronal": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0.0]]),
    "oblique": np.linalg.qr(np.array([[0.9, -0.3, 0.2], [0.3, 0.8, -0.4], [0.1, 0.5, 0.9]]))[0],
}
GRIDS = [("axial", 7, (0.8, 1.1, 3.0)), ("sagittal", 5, (1.3, 0.6, 1.0)), ("oblique", 9, (2.0, 2.0, 0.7))]


def grid(plane: str, count: int, spacing: tuple[float, float, float]) -> Geometry:
    axes = AXES[plane] * np.sign(np.linalg.det(AXES[plane]))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * spacing, (-31.5, 12.25, 140.0)
    return Geometry((6, 5, count), affine)


def shift(one: Dataset, direction: int, millimetres: float) -> None:
    """Move an image along its row direction (0), column direction (1) or normal (2)."""
    r, c = np.array(one.ImageOrientationPatient, float).reshape(2, 3)
    moved = np.array(one.ImagePositionPatient, float) + (r, c, np.cross(r, c))[direction] * millimetres
    one.ImagePositionPatient = [f"{x:.6f}" for x in moved]


def step_of(images: list[Dataset]) -> float:
    positions = np.array([i.ImagePositionPatient for i in images[:2]], float)
    return float(np.linalg.norm(positions[1] - positions[0]))


def skewed(images: list[Dataset]) -> None:
    one = images[len(images) // 2]
    one.ImageOrientationPatient = [
        *one.ImageOrientationPatient[:3],
        *(1.004 * np.array(one.ImageOrientationPatient[3:], float)),
    ]


def rounded(images: list[Dataset]) -> None:
    for one in images:
        one.ImageOrientationPatient = [f"{x * 1.0004:.8f}" for x in map(float, one.ImageOrientationPatient)]


def mixed(images: list[Dataset]) -> None:
    for one in images[-2:]:
        o = one.ImageOrientationPatient
        one.ImageOrientationPatient = [*o[3:], *o[:3]]


def tilted(images: list[Dataset], direction: int) -> None:
    for k, one in enumerate(images):
        shift(one, direction, 0.3 * k * step_of(images[:1] + images[-1:]) / len(images))


def repeated(images: list[Dataset], same: bool) -> None:
    for one in deepcopy(images[:3]):
        one.SOPInstanceUID = generate_uid()
        if not same:
            one.PixelData = one.PixelData[::-1]
            one.EchoTime = "9.2"
        images.append(one)


def every(keyword: str, value: object) -> Callable[[list[Dataset]], None]:
    return lambda images: [setattr(one, keyword, value) for one in images] and None


def last(keyword: str, value: object) -> Callable[[list[Dataset]], None]:
    return lambda images: setattr(images[-1], keyword, value)


def smaller(images: list[Dataset]) -> None:
    images[1].Rows -= 1
    images[1].PixelData = images[1].PixelData[: -2 * images[1].Columns]


def no_spacing(images: list[Dataset]) -> None:
    for one in images:
        one.ImagerPixelSpacing = one.PixelSpacing
        del one.PixelSpacing


def two_series(images: list[Dataset]) -> None:
    for one in images[3:]:
        one.SeriesInstanceUID = "1.2.3.4"


def unreadable_number(images: list[Dataset]) -> None:
    images[0].add_new("ImagePositionPatient", "LO", ["a", "b", "c"])


REFUSED = {
    "series.iop": skewed,
    "series.mixed": mixed,
    "series.tilt": lambda images: tilted(images, 1),
    "series.tilt sideways": lambda images: tilted(images, 0),
    "series.missing": lambda images: images.pop(2),
    "series.missing two": lambda images: (images.pop(1), images.pop(1)),
    "series.uneven": lambda images: shift(images[2], 2, 0.2 * step_of(images)),
    "series.dup_diff": lambda images: repeated(images, same=False),
    "series.size": smaller,
    "series.size spacing": last("PixelSpacing", ["0.5", "0.5"]),
    "series.for_mixed": last("FrameOfReferenceUID", "1.2.3"),
    "series.uid_dup": lambda images: [setattr(one, "SOPInstanceUID", "1.2.3") for one in images[:3]],
    "series.one": lambda images: images.__delitem__(slice(1, None)),
    "series.spacing": no_spacing,
    "series.cut": last("PixelData", b"\0\0"),
    "series.cut number": unreadable_number,
    "series.cut slope": lambda images: images[-1].add_new("RescaleSlope", "LO", "1e") and None,
    "series.many": two_series,
    "series.enhanced": every("NumberOfFrames", 3),
    "pixel.colour": every("SamplesPerPixel", 3),
    "input.too_big": every("NumberOfFrames", 21_000),
}
NOTICED = {
    "series.iop_round": rounded,
    "series.dup_same": lambda images: repeated(images, same=True),
    "series.for_blank": every("FrameOfReferenceUID", ""),
    "series.uid_blank": every("SOPInstanceUID", ""),
    "series.uid_blank series": every("SeriesInstanceUID", ""),
    "series.uid_blank study": every("StudyInstanceUID", ""),
    "series.few": lambda images: images.__delitem__(slice(3, None)),
    "series.few two": lambda images: images.__delitem__(slice(2, None)),
    "pixel.lossy": every("LossyImageCompression", "01"),
}


@pytest.fixture
def series(request: pytest.FixtureRequest, tmp_path: Path, dicom_slices: Callable, save_slices: Callable) -> Path:
    """A series on one of GRIDS, spoilt as the test's parameters say."""
    number, spoil = request.param
    geometry = grid(*GRIDS[number])
    array = np.random.default_rng(number).integers(0, 4000, geometry.shape).astype(np.uint16)
    images = dicom_slices(Volume(array, geometry))
    if spoil:
        spoil(images)
    return save_slices(images, tmp_path / "series")


@pytest.mark.parametrize("series", [(n, None) for n in range(3)], indirect=True)
def test_unspoilt_series_are_read_without_a_word(jrs: Callable, series: Path, tmp_path: Path) -> None:
    said = jrs("convert", "series", series, "--to", tmp_path / "a.nii.gz", "--json")
    assert said.code == 0
    assert json.loads(said.out)["notices"] == []


@pytest.mark.parametrize(
    ("code", "series"), [(code, (n, spoil)) for code, spoil in REFUSED.items() for n in range(3)], indirect=["series"]
)
def test_a_refusal_names_its_code(jrs: Callable, series: Path, tmp_path: Path, code: str) -> None:
    code = code.split()[0]
    said = jrs("convert", "series", series, "--to", tmp_path / "a.nii.gz", "--json").failed_with(4, code)
    found = json.loads(said.out)
    assert (found["status"], found["code"], found["exit_code"]) == ("failed", code, 4)
    assert found["hint"]
    assert "SECRET" not in said.out + said.err
    assert not (tmp_path / "a.nii.gz").exists()


@pytest.mark.parametrize(
    ("code", "series"), [(code, (n, spoil)) for code, spoil in NOTICED.items() for n in range(3)], indirect=["series"]
)
def test_what_is_repaired_or_odd_is_named_by_its_code(jrs: Callable, series: Path, tmp_path: Path, code: str) -> None:
    code = code.split()[0]
    said = jrs("convert", "series", series, "--to", tmp_path / "a.nii.gz", "--json")
    assert said.code == 0
    found = json.loads(said.out)
    assert code in [notice["code"] for notice in found["notices"]]
    assert code in found["repairs"]


@pytest.mark.parametrize("series", [(0, REFUSED["series.tilt"])], indirect=True)
def test_info_tells_the_same_code_without_failing(jrs: Callable, series: Path) -> None:
    found = json.loads(jrs("info", series, "--json").out)
    assert [problem["code"] for problem in found["contents"][0]["problems"]] == ["series.tilt"]


@pytest.mark.parametrize("series", [(0, lambda images: (repeated(images, same=True), images.pop(4)))], indirect=True)
def test_a_refusal_tells_what_was_repaired_before_it(jrs: Callable, series: Path, tmp_path: Path) -> None:
    found = json.loads(jrs("convert", "series", series, "--to", tmp_path / "a.nii.gz", "--json").out)
    assert found["code"] == "series.missing"
    assert [notice["code"] for notice in found["notices"]] == ["series.dup_same"]
