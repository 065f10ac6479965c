"""Reading series: geometry from positions alone, values slice by slice, and every refusal by its code."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from jrscli.errors import InputError
from jrscli.io.dicom_series import list_series, read_series
from jrscli.io.dicom_write import write_series
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

DATA = Path(__file__).parents[1] / "data"
GRID = Geometry((9, 7, 6), np.array([[1.5, 0, 0, -20], [0, 0.75, 0, 30], [0, 0, 2.5, -100], [0, 0, 0, 1.0]]))


def volume(geometry=GRID, seed=0):
    return Volume(np.random.default_rng(seed).integers(-1000, 2000, geometry.shape).astype(np.int16), geometry)


@pytest.fixture
def series(tmp_path):
    """A folder with six good CT slices, to be spoilt."""
    write_series(volume(), tmp_path / "ct", seed="test")
    return tmp_path / "ct"


def change(folder, only=None, **elements):
    """Set elements of the slices (all, or those numbered from 0); a callable gets the slice's number and data set."""
    for n, path in enumerate(sorted(folder.iterdir())):
        if only is not None and n not in only:
            continue
        dataset = pydicom.dcmread(path)
        for keyword, value in elements.items():
            made = value(n, dataset) if callable(value) else value
            if made is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, made)
        dataset.save_as(path)


def refusal(folder, **options):
    with pytest.raises(InputError) as caught:
        read_series(folder, **options)
    assert caught.value.hint
    return caught.value


def codes(folder, **options):
    return [notice.code for notice in read_series(folder, **options)[2]]


def test_reads_what_was_written(series):
    found, header, notices = read_series(series)
    assert np.array_equal(found.array, volume().array)
    assert found.array.dtype == np.int16
    assert found.geometry.matches(GRID, 1e-6)
    assert not notices
    assert header.modality == "CT"
    assert len(header.sop_instance_uids) == 6


def test_oblique_stacks_keep_their_place(tmp_path, oblique):
    write_series(volume(oblique), tmp_path / "ct")
    found, _, _ = read_series(tmp_path / "ct")
    assert found.geometry.matches(oblique, 1e-6)
    assert np.array_equal(found.array, volume(oblique).array)


def test_order_comes_from_positions_not_from_names_or_numbers(series):
    paths = sorted(series.iterdir())
    for n, path in enumerate(paths):
        path.rename(series / f"x{(n * 5) % 6}")
    change(series, InstanceNumber=lambda n, _: 40 - 3 * n)
    found, header, _ = read_series(series)
    assert np.array_equal(found.array, volume().array)
    by_uid = {str(d.SOPInstanceUID): float(d.ImagePositionPatient[2]) for d in map(pydicom.dcmread, series.iterdir())}
    assert [by_uid[uid] for uid in header.sop_instance_uids] == [-100 + 2.5 * k for k in range(6)]


def test_slice_thickness_and_tilt_tags_are_not_believed(series):
    change(series, SliceThickness="9", SpacingBetweenSlices="7", GantryDetectorTilt="14")
    assert read_series(series)[0].geometry.matches(GRID, 1e-6)


def test_pixel_spacing_is_rows_then_columns(series):
    assert read_series(series)[0].geometry.spacing_mm == pytest.approx((1.5, 0.75, 2.5))


def test_each_slice_has_its_own_slope(series):
    change(series, RescaleSlope=lambda n, _: str(1 + n), RescaleIntercept="-1024")
    found, _, _ = read_series(series)
    stored = volume().array.astype(np.float32) + 1024
    assert found.array.dtype == np.float32
    assert np.allclose(found.array, stored * np.arange(1, 7) - 1024)


def test_without_rescale_values_are_as_stored(series):
    change(series, RescaleSlope=None, RescaleIntercept=None)
    found, _, _ = read_series(series)
    assert np.array_equal(found.array, volume().array.astype(np.int32) + 1024)


def test_values_beyond_16_bits_become_float(series):
    change(series, only={3}, RescaleIntercept="40000")
    found, _, _ = read_series(series)
    assert found.array.dtype == np.float32
    assert np.array_equal(found.array[:, :, 3], volume().array[:, :, 3].astype(np.float32) + 1024 + 40000)
    assert np.array_equal(found.array[:, :, 0], volume().array[:, :, 0])


def test_padding_becomes_background(series):
    """Written signed (−2000) in unsigned pixels, as some scanners do."""

    def padded(_, dataset):
        pixels = dataset.pixel_array.copy()
        pixels[:2] = 63536
        return pixels.tobytes()

    change(series, PixelData=padded)
    for path in series.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", "SS", -2000)
        dataset.save_as(path)
    found, _, _ = read_series(series)
    assert (found.array[:, :2] == -1024).all()
    assert np.array_equal(found.array[:, 2:], volume().array[:, 2:])


def test_real_thinned_ct_reads(tmp_path):
    found, header, notices = read_series(DATA / "sarcoma-ct" / "image")
    assert found.geometry.shape == (81, 72, 48)
    assert found.geometry.spacing_mm == pytest.approx((1.953124, 1.953124, 3.27), abs=1e-6)
    assert found.array.min() == -1000
    assert header.modality == "CT"
    assert not notices


def test_a_zip_reads_like_its_folder(series, tmp_path):
    shutil.make_archive(str(tmp_path / "packed"), "zip", series)
    assert np.array_equal(read_series(tmp_path / "packed.zip")[0].array, volume().array)


def test_a_zip_with_paths_that_leave_it_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../evil.dcm", b"x" * 200)
    assert refusal(tmp_path / "bad.zip").code == "input.zip"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", b"\0" * 5_000_000)
    assert refusal(tmp_path / "bomb.zip").code == "input.too_big"


def test_other_files_and_localisers_are_passed_over(series, tmp_path):
    write_series(volume(seed=3), series / "scout")
    change(series / "scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (series / "readme.txt").write_text("not an image " * 50)
    assert np.array_equal(read_series(series)[0].array, volume().array)


def test_files_without_preamble_are_read(series):
    for path in series.iterdir():
        pydicom.dcmread(path).save_as(path, enforce_file_format=False)
        data = path.read_bytes()
        path.write_bytes(data[132:] if data[128:132] == b"DICM" else data)
    assert np.array_equal(read_series(series)[0].array, volume().array)


def test_several_series_are_refused_with_a_table_and_selected_by_number_or_uid(series):
    other = write_series(volume(seed=1), series / "second", modality="MR")
    error = refusal(series)
    assert error.code == "series.many"
    assert "1: CT, 6 images" in error.hint
    assert "2: MR, 6 images" in error.hint
    assert [line.number for line in list_series(series)] == [1, 2]
    assert read_series(series, select="2")[1].series_instance_uid == other.series_instance_uid
    assert read_series(series, select=other.series_instance_uid)[1].modality == "MR"
    assert refusal(series, select="3").code == "series.select"


def test_missing_path_and_folder_without_dicom(tmp_path):
    assert refusal(tmp_path / "nowhere").code == "input.missing"
    (tmp_path / "notes.txt").write_text("nothing here")
    assert refusal(tmp_path).code == "series.none"


def test_mixed_orientations(series):
    change(series, only={4, 5}, ImageOrientationPatient=[0, 1, 0, 0, 0, 1])
    error = refusal(series)
    assert error.code == "series.mixed"
    assert "4 + 2" in error.message


def test_gantry_tilt_is_seen_from_positions(series):
    shift = np.tan(np.radians(14.07)) * 2.5
    change(series, ImagePositionPatient=lambda n, d: [-20, 30 + n * shift, float(d.ImagePositionPatient[2])])
    error = refusal(series)
    assert error.code == "series.tilt"
    assert "14.1°" in error.message


def test_missing_slice(series):
    sorted(series.iterdir())[2].unlink()
    error = refusal(series)
    assert error.code == "series.missing"
    assert "1 slice(s)" in error.message


def test_missing_slice_among_three(series):
    for n in (2, 4, 5):
        sorted(series.iterdir())[n if n == 2 else -1].unlink()
    assert refusal(series).code == "series.missing"


def test_uneven_slices(series):
    change(series, only={3}, ImagePositionPatient=[-20, 30, -92.1])
    assert refusal(series).code == "series.uneven"


def test_small_rounding_of_positions_is_accepted(series):
    change(series, ImagePositionPatient=lambda n, d: [-20, 30, float(d.ImagePositionPatient[2]) + 0.004 * (n % 2)])
    assert read_series(series)[0].geometry.shape == GRID.shape


def test_equal_duplicates_are_dropped_with_a_notice(series):
    first = sorted(series.iterdir())[0]
    copy = pydicom.dcmread(first)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    copy.save_as(series / "copy.dcm")
    found, header, notices = read_series(series)
    assert np.array_equal(found.array, volume().array)
    assert [notice.code for notice in notices] == ["series.dup_same"]
    assert header.sop_instance_uids[0] == "2.25.1"


def test_the_same_file_twice_is_a_duplicate(series):
    shutil.copyfile(sorted(series.iterdir())[0], series / "again.dcm")
    assert codes(series) == ["series.dup_same"]


def test_different_images_at_one_position_are_refused_and_selected_by_what_differs(series, tmp_path):
    header = read_series(series)[1]
    change(series, EchoTime="4.6")
    write_series(volume(seed=2), tmp_path / "echo2", frame_of_reference_uid=header.frame_of_reference_uid)
    change(tmp_path / "echo2", EchoTime="9.2", SeriesInstanceUID=header.series_instance_uid)
    for path in (tmp_path / "echo2").iterdir():
        shutil.copyfile(path, series / f"b{path.name}")
    error = refusal(series)
    assert error.code == "series.dup_diff"
    assert "--select EchoTime=" in error.hint
    assert np.array_equal(read_series(series, select="EchoTime=9.2")[0].array, volume(seed=2).array)


def test_two_matrix_sizes(series, tmp_path):
    uid = read_series(series)[1].series_instance_uid
    write_series(volume(Geometry((5, 5, 2), GRID.affine)), tmp_path / "small")
    change(tmp_path / "small", SeriesInstanceUID=uid)
    for path in (tmp_path / "small").iterdir():
        shutil.copyfile(path, series / f"b{path.name}")
    assert refusal(series).code == "series.size"


@pytest.mark.parametrize(
    ("code", "only", "elements"),
    [
        ("series.iop", None, {"ImageOrientationPatient": [1, 0, 0, 0, 0.9, 0]}),
        ("series.for_mixed", {2}, {"FrameOfReferenceUID": "1.2.3"}),
        ("series.spacing", None, {"PixelSpacing": None, "ImagerPixelSpacing": [1, 1]}),
        ("series.cut", {1}, {"ImagePositionPatient": None}),
        ("series.uid_dup", {0, 1}, {"SOPInstanceUID": "1.2.3"}),
        ("series.enhanced", None, {"NumberOfFrames": "6"}),
        ("pixel.colour", None, {"SamplesPerPixel": 3}),
    ],
)
def test_refused(series, code, only, elements):
    change(series, only, **elements)
    assert refusal(series).code == code


def test_one_slice(series):
    for path in sorted(series.iterdir())[1:]:
        path.unlink()
    assert refusal(series).code == "series.one"


def test_two_slices_are_read_with_a_warning(series):
    for path in sorted(series.iterdir())[2:]:
        path.unlink()
    assert codes(series) == ["series.few"]


@pytest.mark.parametrize(
    ("code", "elements"),
    [
        ("series.for_blank", {"FrameOfReferenceUID": ""}),
        ("series.uid_blank", {"SOPInstanceUID": ""}),
        ("series.iop_round", {"ImageOrientationPatient": [0.9999, 0, 0, 0, 1, 0]}),
    ],
)
def test_repaired_with_a_notice(series, code, elements):
    change(series, **elements)
    assert codes(series) == [code]


def test_a_truncated_file_is_named_by_its_place(series):
    path = sorted(series.iterdir())[3]
    path.write_bytes(path.read_bytes()[:-40])
    error = refusal(series)
    assert error.code == "series.cut"
    assert "image 4" in error.message
    assert path.name not in error.message


def test_a_file_cut_in_its_header_is_left_out_and_told(series):
    (series / "torn.dcm").write_bytes(sorted(series.iterdir())[0].read_bytes()[:200])
    assert codes(series) == ["series.unreadable"]


def test_a_retired_compression_is_refused_before_it_is_read(series):
    for path in series.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.53"  # retired: no decoder is known for it
        dataset["PixelData"].VR = "OB"
        dataset.PixelData = pydicom.encaps.encapsulate([b"\0\0"])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
    error = refusal(series)
    assert error.code == "pixel.syntax"
    assert "dcmdjpeg" in error.hint
