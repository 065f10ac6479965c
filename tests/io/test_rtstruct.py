"""Reading RTSTRUCT: what belongs to the image, and what must survive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from jrscli.errors import InputError
from jrscli.io.dicom_series import read_series
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct import is_rtstruct, read_rtstruct, write_rtstruct
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import contour_volume_mm3, rasterize
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.volume import Volume

DATA = Path(__file__).parents[1] / "data"
GRID = Geometry((20, 16, 6), np.array([[1.0, 0, 0, -20], [0, 1.0, 0, 30], [0, 0, 2.5, -100], [0, 0, 0, 1.0]]))


def square(k, low=3.5, high=9.5, kind="CLOSED_PLANAR"):
    index = np.array([(low, low, k), (high, low, k), (high, high, k), (low, high, k)], dtype=float)
    return Contour(GRID.index_to_world(index), kind)


ROIS = (
    Roi(4, "Bladder", tuple(square(k) for k in (1, 2, 3)), (0, 128, 64), "ORGAN"),
    Roi(9, "A/B *Skull ü", (square(2, 1.5, 5.5),), (255, 0, 0), "PTV"),
)


@pytest.fixture
def case(tmp_path):
    """A series and a structure set on it: (folder of the series, its header, path of the RTSTRUCT)."""
    header = write_series(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "ct", seed="case")
    write_rtstruct(StructureSet(ROIS), header, GRID, tmp_path / "rs.dcm", seed="case")
    return tmp_path / "ct", header, tmp_path / "rs.dcm"


def change(path, edit):
    dataset = pydicom.dcmread(path)
    edit(dataset)
    dataset.save_as(path, enforce_file_format=True, implicit_vr=True, little_endian=True)


def read(case, **options):
    _, header, path = case
    return read_rtstruct(path, header, GRID, **options)


def codes(structures):
    return [notice.code for notice in structures.notices]


def refer_elsewhere(dataset):
    for frame in dataset.ReferencedFrameOfReferenceSequence:
        for image in frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].ContourImageSequence:
            image.ReferencedSOPInstanceUID += ".9"
    for roi in dataset.ROIContourSequence:
        for contour in roi.ContourSequence:
            contour.ContourImageSequence[0].ReferencedSOPInstanceUID += ".9"


def other_frame(dataset):
    dataset.FrameOfReferenceUID = "1.2.3"
    dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
    for roi in dataset.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = "1.2.3"


def test_reads_numbers_names_colours_types_and_points(case):
    found = read(case)
    assert [(r.number, r.name, r.colour, r.kind) for r in found.rois] == [(r.number, r.name, r.colour, r.kind) for r in ROIS]
    assert not found.notices
    for roi, original in zip(found.rois, ROIS, strict=True):
        for contour, expected in zip(roi.contours, original.contours, strict=True):
            assert np.abs(contour.points - expected.points).max() < 1e-9
    assert rasterize(found.roi("Bladder"), GRID).sum() == 3 * 36


def test_is_rtstruct_goes_by_content(case):
    folder, _, path = case
    assert is_rtstruct(path.rename(path.with_suffix(".nii.gz")))
    assert not is_rtstruct(next(folder.iterdir()))
    assert not is_rtstruct(Path(__file__))
    assert not is_rtstruct(folder)


def test_images_of_other_uids_in_one_frame_match_by_place_with_one_line(case):
    change(case[2], refer_elsewhere)
    found = read(case)
    assert codes(found) == ["rs.refs"]
    assert "6 of 6" in found.notices[0].message
    assert rasterize(found.roi("Bladder"), GRID).sum() == 3 * 36


def test_real_structure_set_that_refers_to_images_elsewhere():
    volume, header, _ = read_series(DATA / "sarcoma-ct" / "image")
    found = read_rtstruct(DATA / "sarcoma-ct" / "structures.dcm", header, volume.geometry)
    assert codes(found) == ["rs.refs"]
    (roi,) = found.rois
    assert roi.name == "GTV_Mass_CT"
    voxels = rasterize(roi, volume.geometry).sum() * volume.geometry.voxel_volume_mm3
    assert contour_volume_mm3(roi, volume.geometry) == pytest.approx(53_270, rel=0.001)
    assert voxels == pytest.approx(53_270, rel=0.01)


def test_another_frame_with_references_to_the_series_is_used_and_told(case):
    change(case[2], other_frame)
    found = read(case)
    assert codes(found) == ["rs.for"]
    assert len(found.rois) == 2


def test_another_frame_without_references_is_refused(case):
    change(case[2], other_frame)
    change(case[2], refer_elsewhere)
    with pytest.raises(InputError) as caught:
        read(case)
    assert caught.value.code == "rs.other_space"
    assert len(read(case, assume_aligned=True).rois) == 2
    assert len(read_rtstruct(case[2]).rois) == 2


def test_frame_missing_at_the_top_is_taken_from_the_rois(case):
    def edit(dataset):
        refer_elsewhere(dataset)
        del dataset.FrameOfReferenceUID
        del dataset.ReferencedFrameOfReferenceSequence

    change(case[2], edit)
    assert len(read(case).rois) == 2


def test_rois_of_another_frame_beside_ours_are_left_out_and_counted(case):
    def edit(dataset):
        dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3"

    change(case[2], edit)
    found = read(case)
    assert [roi.number for roi in found.rois] == [4]
    assert codes(found) == ["rs.other_space"]


def test_a_reference_to_the_wrong_slice_loses_against_the_position(case):
    def edit(dataset):
        contour = dataset.ROIContourSequence[0].ContourSequence[0]
        contour.ContourImageSequence[0].ReferencedSOPInstanceUID = case[1].sop_instance_uids[4]

    change(case[2], edit)
    found = read(case)
    assert codes(found) == ["rs.ref_disagrees"]
    assert rasterize(found.roi("Bladder"), GRID)[:, :, 1].sum() == 36


def test_rois_without_contours_stay_as_empty_ones(case):
    def edit(dataset):
        del dataset.ROIContourSequence[0].ContourSequence
        del dataset.ROIContourSequence[1]
        del dataset.RTROIObservationsSequence

    change(case[2], edit)
    assert [(roi.number, roi.contours, roi.kind) for roi in read(case).rois] == [(4, (), ""), (9, (), "")]


def test_geometry_alone_does(case):
    def edit(dataset):
        del dataset.ReferencedFrameOfReferenceSequence
        for roi in dataset.ROIContourSequence:
            for contour in roi.ContourSequence:
                del contour.ContourImageSequence

    change(case[2], edit)
    assert not read(case).notices


def test_points_and_open_contours_are_kept(case):
    def edit(dataset):
        first, second = dataset.ROIContourSequence[0].ContourSequence[:2]
        first.ContourGeometricType, first.ContourData, first.NumberOfContourPoints = "POINT", ["1", "2", "3"], 1
        second.ContourGeometricType = "OPEN_NONPLANAR"

    change(case[2], edit)
    roi = read(case).roi("Bladder")
    assert [contour.kind for contour in roi.contours] == ["POINT", "OPEN_NONPLANAR", "CLOSED_PLANAR"]
    assert roi.contours[0].points.tolist() == [[1, 2, 3]]


POINT = ["-17", "33", "-97.5"]


@pytest.mark.parametrize("data", [POINT, [*POINT, "-16", "34", "-97.5"], [*POINT, "4"], [], None, POINT * 4])
def test_degenerate_contours_are_dropped_and_counted(case, data):
    def edit(dataset):
        contour = dataset.ROIContourSequence[0].ContourSequence[0]
        contour.ContourData = data
        if data is None:
            del contour.ContourData

    change(case[2], edit)
    found = read(case)
    assert len(found.roi("Bladder").contours) == 2
    assert codes(found) == ["rs.degenerate"]


def test_a_repeated_last_point_is_dropped(case):
    def edit(dataset):
        contour = dataset.ROIContourSequence[0].ContourSequence[0]
        contour.ContourData = list(contour.ContourData) + list(contour.ContourData)[:3]

    change(case[2], edit)
    assert len(read(case).roi("Bladder").contours[0].points) == 4


def test_equal_names_are_two_rois_and_equal_numbers_are_told(case):
    def edit(dataset):
        dataset.StructureSetROISequence[1].ROIName = "Bladder"
        dataset.StructureSetROISequence[1].ROINumber = 4

    change(case[2], edit)
    found = read(case)
    assert [roi.number for roi in found.rois] == [4, 5]
    assert [roi.name for roi in found.rois] == ["Bladder", "Bladder"]
    assert codes(found) == ["rs.number"]


def test_contours_outside_the_image_are_told_once_for_all_rois(case):
    _, header, path = case
    moved = Geometry(GRID.shape, GRID.affine + np.array([[0, 0, 0, 300.0]] + [[0] * 4] * 3))
    found = read_rtstruct(path, header, moved)
    assert codes(found) == ["rs.outside"]
    assert "ROI 4: 3" in found.notices[0].message
    assert "ROI 9: 1" in found.notices[0].message


def test_without_file_meta_in_explicit_vr_and_a_wrong_character_set(case):
    path = case[2]
    dataset = pydicom.dcmread(path)
    dataset.ROIContourSequence[0].ContourSequence[0].ContourData = dataset.ROIContourSequence[0].ContourSequence[0].ContourData
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
    data = path.read_bytes()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    # "ISO_IR 192" becomes a character set that does not exist
    path.write_bytes(data[start:].replace(b"ISO_IR 192", b"ISO_IR 999"))
    found = read(case)
    assert found.rois[0].name == "Bladder"
    assert rasterize(found.rois[0], GRID).sum() == 3 * 36


def test_approved_sources_are_read(case):
    change(case[2], lambda dataset: setattr(dataset, "ApprovalStatus", "APPROVED"))
    assert len(read(case).rois) == 2


@pytest.mark.parametrize("spoil", ["missing", "text", "image", "cut"])
def test_what_is_no_structure_set_is_refused(case, spoil):
    folder, _, path = case
    if spoil == "missing":
        path.unlink()
    elif spoil == "text":
        path.write_text("contours? " * 100)
    elif spoil == "image":
        path = next(folder.iterdir())
    else:
        path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(InputError) as caught:
        read_rtstruct(path)
    assert caught.value.code == ("input.missing" if spoil == "missing" else "rs.unreadable")


def test_too_many_contours_are_refused(case, monkeypatch):
    monkeypatch.setattr("jrscli.io.rtstruct.MAX_CONTOURS", 3)
    with pytest.raises(InputError) as caught:
        read(case)
    assert caught.value.code == "input.too_big"


def test_an_empty_structure_set_reads(case):
    def edit(dataset):
        dataset.StructureSetROISequence = [Dataset()]
        dataset.ROIContourSequence = []
        dataset.RTROIObservationsSequence = []

    change(case[2], edit)
    assert [roi.contours for roi in read(case).rois] == [()]
