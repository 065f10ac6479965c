"""Enhanced objects: many images in one file, whose places stand in functional groups."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import compress
from pydicom.sequence import Sequence
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)

from jrscli.errors import InputError
from jrscli.io.dicom_series import list_series, read_series
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

GRID = Geometry((36, 33, 6), np.array([[1.5, 0, 0, -20], [0, 0.75, 0, 30], [0, 0, 2.5, -100], [0, 0, 0, 1.0]]))


def of(**elements: object) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def enhanced(volume: Volume, *, shared: bool, slopes: list[float] | None = None, order: list[int] | None = None) -> Dataset:
    """The volume as one enhanced object; what all frames have in common in the shared groups, or in each frame."""
    geometry = volume.geometry
    one = of(SOPClassUID=EnhancedMRImageStorage, Modality="MR", SOPInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid())
    one.StudyInstanceUID, one.FrameOfReferenceUID, one.PatientID = generate_uid(), generate_uid(), "SECRET"
    one.Columns, one.Rows, one.NumberOfFrames = geometry.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    spacing = geometry.spacing_mm
    common = {
        "PlaneOrientationSequence": [
            of(ImageOrientationPatient=[f"{x:.8f}" for x in (*geometry.axes[:, 0], *geometry.axes[:, 1])])
        ],
        "PixelMeasuresSequence": [of(PixelSpacing=[f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"])],
    }
    frames, order = [], order or list(range(geometry.shape[2]))
    for k in order:
        position = geometry.index_to_world(np.array([[0.0, 0.0, k]]))[0]
        frame = of(PlanePositionSequence=[of(ImagePositionPatient=[f"{x:.6f}" for x in position])])
        if slopes:
            frame.PixelValueTransformationSequence = [of(RescaleSlope=f"{slopes[k]}", RescaleIntercept="-100")]
        if not shared:
            frame.update(of(**common))
        frames.append(frame)
    one.PerFrameFunctionalGroupsSequence = Sequence(frames)
    if shared:
        one.SharedFunctionalGroupsSequence = Sequence([of(**common)])
    one.PixelData = b"".join(np.ascontiguousarray(volume.array[:, :, k].T).tobytes() for k in order)
    one["PixelData"].VR = "OW"
    return one


def save(one: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax != ExplicitVRLittleEndian:
        plugin = "pylibjpeg" if syntax == JPEG2000Lossless else "pydicom"
        compress(one, syntax, encoding_plugin=plugin, generate_instance_uid=False)
    one.save_as(path, enforce_file_format=True)
    return path


def noise(geometry: Geometry, seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).integers(0, 3000, geometry.shape).astype(np.uint16), geometry)


def right_handed(geometry: Geometry) -> Geometry:
    affine = geometry.affine.copy()
    affine[:3, 2] *= np.sign(np.linalg.det(affine[:3, :3]))
    return Geometry(geometry.shape, affine)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("plane", ["axial", "oblique"])
def test_place_comes_from_the_frame_else_from_the_shared_groups(
    tmp_path: Path, oblique: Geometry, shared: bool, plane: str
) -> None:
    volume = noise(GRID if plane == "axial" else right_handed(oblique))
    found, header, notices = read_series(save(enhanced(volume, shared=shared), tmp_path / "a.dcm"))
    assert found.geometry.matches(volume.geometry, 1e-4)
    np.testing.assert_array_equal(found.array, volume.array)
    assert not notices
    assert header.frame_numbers == tuple(range(1, volume.geometry.shape[2] + 1))
    assert len(set(header.sop_instance_uids)) == 1


def test_the_frame_wins_over_the_shared_groups(tmp_path: Path) -> None:
    one = enhanced(noise(GRID), shared=True)
    one.SharedFunctionalGroupsSequence[0].PlanePositionSequence = [of(ImagePositionPatient=[1, 2, 3])]
    assert read_series(save(one, tmp_path / "a.dcm"))[0].geometry.matches(GRID, 1e-4)


def test_frames_are_sorted_by_their_place(tmp_path: Path) -> None:
    volume, order = noise(GRID), [3, 0, 5, 1, 4, 2]
    found, header, _ = read_series(save(enhanced(volume, shared=False, order=order), tmp_path / "a.dcm"))
    np.testing.assert_array_equal(found.array, volume.array)
    assert [order[n - 1] for n in header.frame_numbers] == list(range(6))


def test_each_frame_has_its_own_slope(tmp_path: Path) -> None:
    volume, slopes = noise(GRID), [0.5 + k for k in range(6)]
    found = read_series(save(enhanced(volume, shared=True, slopes=slopes), tmp_path / "a.dcm"))[0]
    np.testing.assert_allclose(found.array, volume.array * np.array(slopes) - 100, rtol=1e-6)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_compressed_frames(tmp_path: Path, syntax: str) -> None:
    volume = noise(GRID)
    found = read_series(save(enhanced(volume, shared=True), tmp_path / "a.dcm", syntax))[0]
    np.testing.assert_array_equal(found.array, volume.array)


def test_a_series_in_two_objects_is_one_stack(tmp_path: Path) -> None:
    volume = noise(GRID)
    whole = enhanced(volume, shared=True)
    for n, part in enumerate((slice(0, 2), slice(2, 6))):
        one = deepcopy(whole)
        one.SOPInstanceUID = generate_uid()
        one.PerFrameFunctionalGroupsSequence = Sequence(whole.PerFrameFunctionalGroupsSequence[part])
        one.NumberOfFrames = len(one.PerFrameFunctionalGroupsSequence)
        size = one.Rows * one.Columns * 2
        one.PixelData = whole.PixelData[part.start * size : part.stop * size]
        one["PixelData"].VR = "OW"
        save(one, tmp_path / f"{n}.dcm")
    found, header, _ = read_series(tmp_path)
    np.testing.assert_array_equal(found.array, volume.array)
    assert header.frame_numbers == (1, 2, 1, 2, 3, 4)


def test_a_ct_is_in_hounsfield_units(tmp_path: Path) -> None:
    one = enhanced(noise(GRID), shared=True)
    one.SOPClassUID, one.Modality = EnhancedCTImageStorage, "CT"
    one.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [
        of(RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU")
    ]
    found, header, _ = read_series(save(one, tmp_path / "a.dcm"))
    assert header.unit == "HU"
    assert found.array.dtype == np.int16
    np.testing.assert_array_equal(found.array, noise(GRID).array.astype(int) - 1024)


@pytest.fixture
def two_echoes(tmp_path: Path) -> Path:
    """Two echoes of every slice, in one object that names its dimensions."""
    first, second = noise(GRID, 1), noise(GRID, 2)
    one, other = (enhanced(volume, shared=True) for volume in (first, second))
    for echo, part in ((4.6, one), (9.2, other)):
        for frame in part.PerFrameFunctionalGroupsSequence:
            frame.MREchoSequence = [of(EffectiveEchoTime=echo)]
    one.PerFrameFunctionalGroupsSequence.extend(other.PerFrameFunctionalGroupsSequence)
    one.NumberOfFrames, one.PixelData = 12, one.PixelData + other.PixelData
    one["PixelData"].VR = "OW"
    one.DimensionIndexSequence = [of(DimensionDescriptionLabel="Echo")]
    return save(one, tmp_path / "a.dcm")


def test_several_echoes_are_refused_with_what_picks_one(two_echoes: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_series(two_echoes)
    assert refused.value.code == "series.dup_diff"
    assert "--select EffectiveEchoTime=4.6 (or 9.2)" in refused.value.hint


def test_one_echo_is_picked(two_echoes: Path) -> None:
    found, header, _ = read_series(two_echoes, select="EffectiveEchoTime=9.2")
    np.testing.assert_array_equal(found.array, noise(GRID, 2).array)
    assert header.frame_numbers == tuple(range(7, 13))
    assert list_series(two_echoes)[0].images == 12


def test_dimensions_are_named_where_nothing_else_differs(two_echoes: Path) -> None:
    one = pydicom.dcmread(two_echoes)
    for frame in one.PerFrameFunctionalGroupsSequence:
        del frame.MREchoSequence
    one.save_as(two_echoes)
    with pytest.raises(InputError) as refused:
        read_series(two_echoes)
    assert "its dimensions: Echo" in refused.value.hint


@pytest.mark.parametrize("frames", [5, 7, "1A"])
def test_a_number_of_frames_that_does_not_fit_is_refused(tmp_path: Path, frames: object) -> None:
    one = enhanced(noise(GRID), shared=True)
    del one.NumberOfFrames
    one.add_new("NumberOfFrames", "LO" if isinstance(frames, str) else "IS", frames)
    with pytest.raises(InputError) as refused:
        read_series(save(one, tmp_path / "a.dcm"))
    assert refused.value.code == "series.cut"


def test_too_few_pixels_are_refused(tmp_path: Path) -> None:
    one = enhanced(noise(GRID), shared=True)
    one.PixelData = one.PixelData[:-2000]
    one["PixelData"].VR = "OW"
    with pytest.raises(InputError, match="image 6") as refused:
        read_series(save(one, tmp_path / "a.dcm"))
    assert refused.value.code == "series.cut"
