"""Written RTSTRUCTs: no validator error, the same tissue for foreign readers, nothing lost on the way back."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import ImplicitVRLittleEndian
from scipy.ndimage import gaussian_filter

from jrscli.errors import InputError, WriteError
from jrscli.io.dicom_series import read_series
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct import read_rtstruct
from jrscli.io.rtstruct_write import Origin, palette_colour, write_rtstruct
from jrscli.spatial.contouring import contours_from_mask
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.volume import Volume

DATA = Path(__file__).parents[1] / "data"
GRID = Geometry((40, 36, 8), np.array([[0.9, 0, 0, -21.123], [0, 0.9, 0, 30.7], [0, 0, 2.5, -100], [0, 0, 0, 1.0]]))


def masks(geometry=GRID):
    """A ring, one voxel, two diagonal voxels, a blob with holes and islands."""
    i, j, _ = np.indices(geometry.shape)
    radius = np.hypot(i - 20.2, j - 17.8)
    ring = (radius < 12) & (radius > 6)
    ring[:, :, [0, -1]] = False
    one, diagonal = np.zeros(geometry.shape, bool), np.zeros(geometry.shape, bool)
    one[3, 4, 2] = True
    diagonal[5, 6, 3] = diagonal[6, 7, 3] = True
    blob = gaussian_filter(np.random.default_rng(1).normal(size=geometry.shape), 1.5) > 0.02
    return {1: ring, 2: one, 3: diagonal, 4: blob}


def structures(geometry=GRID, **keep):
    names = {1: "ring", 2: "one", 3: "diagonal", 4: "blob"}
    rois = [
        Roi(n, names[n], contours_from_mask(mask, geometry), (10 * n, 0, 255), "ORGAN") for n, mask in masks(geometry).items()
    ]
    return StructureSet(tuple(rois), **keep)


@pytest.fixture
def series(tmp_path):
    return write_series(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "ct", seed="series")


def errors_of(tool, path):
    done = subprocess.run([tool, path], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "RTStructureSet" in said
    return [line for line in said.splitlines() if line.startswith("Error")]


def everything(series):
    """A structure set with a point, open contours, an empty ROI, a long name and a predecessor."""
    found = structures(sop_class_uid="1.2.840.10008.5.1.4.1.1.481.3", sop_instance_uid="1.2.3.4")
    line = GRID.index_to_world(np.array([(3, 3, 1), (9, 3, 1), (9, 9, 4.0)]))
    extra = (
        Roi(11, "marker", (Contour(line[:1], "POINT"),), kind="MARKER"),
        Roi(12, "wire", (Contour(line, "OPEN_PLANAR"), Contour(line[:2], "OPEN_PLANAR"))),
        Roi(13, "leer " * 15, ()),
        Roi(14, "Prostata-Bett (groß) ü/ö", found.rois[1].contours),
    )
    return replace(found, rois=found.rois + extra)


def test_validator_finds_no_error(requires_tool, tmp_path, series):
    tool = requires_tool("dciodvfy")
    write_rtstruct(everything(series), series, GRID, tmp_path / "rs.dcm")
    assert not errors_of(tool, tmp_path / "rs.dcm")


def test_validator_finds_no_error_on_a_real_series(requires_tool, tmp_path):
    tool = requires_tool("dciodvfy")
    volume, header, _ = read_series(DATA / "sarcoma-ct" / "image")
    found = read_rtstruct(DATA / "sarcoma-ct" / "structures.dcm", header, volume.geometry)
    notices = write_rtstruct(found, header, volume.geometry, tmp_path / "rs.dcm")
    assert not errors_of(tool, tmp_path / "rs.dcm")
    assert [notice.code for notice in notices] == ["series.long_text"]


def test_validator_check_can_fail(requires_tool, tmp_path, series):
    tool = requires_tool("dciodvfy")
    write_rtstruct(structures(), series, GRID, tmp_path / "rs.dcm")
    broken = pydicom.dcmread(tmp_path / "rs.dcm")
    del broken.StructureSetLabel
    broken.save_as(tmp_path / "rs.dcm")
    assert errors_of(tool, tmp_path / "rs.dcm")


def plastimatch(tool, contours, images, out):
    """The masks that plastimatch fills, by the name of the ROI."""
    words = ["--input", contours, "--referenced-ct", images, "--output-prefix", out, "--prefix-format", "nii.gz"]
    subprocess.run([tool, "convert", *words], check=True, capture_output=True)
    return {f.name.split(".")[0]: sitk.GetArrayFromImage(sitk.ReadImage(str(f))).transpose(2, 1, 0) > 0 for f in out.iterdir()}


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_plastimatch_reads_the_same_voxels(requires_tool, tmp_path, series):
    tool = requires_tool("plastimatch")
    write_rtstruct(structures(), series, GRID, tmp_path / "rs.dcm")
    theirs = plastimatch(tool, tmp_path / "rs.dcm", tmp_path / "ct", tmp_path / "out")
    for number, mask in masks().items():
        name = structures().rois[number - 1].name
        assert dice(theirs[name], mask) >= 0.999, name


@pytest.mark.parametrize("made", ["as read", "from its mask"])
def test_plastimatch_reads_the_same_tumour(requires_tool, tmp_path, made):
    tool = requires_tool("plastimatch")
    volume, header, _ = read_series(DATA / "sarcoma-ct" / "image")
    found = read_rtstruct(DATA / "sarcoma-ct" / "structures.dcm", header, volume.geometry)
    mask = rasterize(found.rois[0], volume.geometry)
    contours = found.rois[0].contours if made == "as read" else contours_from_mask(mask, volume.geometry)
    tumour = StructureSet((replace(found.rois[0], name="tumour", contours=contours),))
    write_rtstruct(tumour, header, volume.geometry, tmp_path / "rs.dcm")
    theirs = plastimatch(tool, tmp_path / "rs.dcm", DATA / "sarcoma-ct" / "image", tmp_path / "out")
    assert dice(theirs["tumour"], mask) >= 0.999


def test_a_real_structure_set_stays_as_it_is(tmp_path):
    volume, header, _ = read_series(DATA / "sarcoma-ct" / "image")
    one = read_rtstruct(DATA / "sarcoma-ct" / "structures.dcm", header, volume.geometry)
    write_rtstruct(one, header, volume.geometry, tmp_path / "rs.dcm")
    two = read_rtstruct(tmp_path / "rs.dcm", header, volume.geometry)
    for a, b in zip(one.rois, two.rois, strict=True):
        assert (a.number, a.name, a.kind) == (b.number, b.name, b.kind)
        assert a.colour in (None, b.colour)
        assert len(a.contours) == len(b.contours)
        assert max(np.abs(c.points - d.points).max() for c, d in zip(a.contours, b.contours, strict=True)) <= 0.001


@pytest.mark.parametrize("which", ["upright", "oblique"])
def test_the_way_back_gives_the_same_masks(tmp_path, oblique, which):
    grid = GRID if which == "upright" else Geometry((40, 36, 8), oblique.affine)
    header = write_series(Volume(np.zeros(grid.shape, np.int16), grid), tmp_path / "ct")
    write_rtstruct(structures(grid), header, grid, tmp_path / "rs.dcm")
    volume, read_header, _ = read_series(tmp_path / "ct")
    found = read_rtstruct(tmp_path / "rs.dcm", read_header, volume.geometry)
    # one voxel and two diagonal ones are drawn as diamonds of half their size
    assert {notice.code for notice in found.notices} <= {"rs.small", "rs.offplane"}
    for roi in found.rois:
        assert np.array_equal(rasterize(roi, volume.geometry), masks(grid)[roi.number]), roi.name


def test_read_write_read_changes_nothing(tmp_path, series):
    write_rtstruct(everything(series), series, GRID, tmp_path / "a.dcm")
    first = read_rtstruct(tmp_path / "a.dcm", series, GRID)
    write_rtstruct(first, series, GRID, tmp_path / "b.dcm")
    second = read_rtstruct(tmp_path / "b.dcm", series, GRID)
    for one, two, source in zip(first.rois, second.rois, everything(series).rois, strict=True):
        assert (one.number, one.name, one.kind, one.colour) == (two.number, two.name, two.kind, two.colour)
        assert (one.number, one.name, one.kind) == (source.number, source.name[:64].rstrip(), source.kind)
        assert [c.kind for c in one.contours] == [c.kind for c in two.contours]
        for a, b, c in zip(one.contours, two.contours, source.contours, strict=True):
            assert np.abs(a.points - b.points).max() < 1e-9
            assert np.abs(a.points - c.points).max() <= 0.001


def test_references_and_modules(tmp_path, series):
    notices = write_rtstruct(
        everything(series), series, GRID, tmp_path / "rs.dcm", label="A label that is long",
        origins={2: Origin("network", "some network", "3.1")},
    )  # fmt: skip
    rs = pydicom.dcmread(tmp_path / "rs.dcm")
    assert rs.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert (tmp_path / "rs.dcm").read_bytes()[:132] == bytes(128) + b"DICM"
    assert rs.ApprovalStatus == "UNAPPROVED"
    assert "ReviewDate" not in rs
    assert rs.StructureSetLabel == "A label that is "[:16].strip()
    assert rs.FrameOfReferenceUID == series.frame_of_reference_uid
    assert rs.PositionReferenceIndicator == ""
    assert rs.StudyInstanceUID == series.study_instance_uid
    assert rs.SeriesInstanceUID not in (series.series_instance_uid, rs.SOPInstanceUID)
    assert rs.PredecessorStructureSetSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    study = rs.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    images = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert tuple(image.ReferencedSOPInstanceUID for image in images) == series.sop_instance_uids
    by_number = {roi.ROINumber: roi for roi in rs.StructureSetROISequence}
    assert by_number[1].ROIDescription == "propagated"
    assert by_number[2].ROIDerivationAlgorithmIdentificationSequence[0].AlgorithmName == "some network"
    ring = rs.ROIContourSequence[0]
    for contour in ring.ContourSequence:
        k = round((float(contour.ContourData[2]) + 100) / 2.5)
        assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == series.sop_instance_uids[k]
        assert contour.NumberOfContourPoints * 3 == len(contour.ContourData)
    planes = ring.SourcePixelPlanesCharacteristicsSequence[0]
    assert (planes.Columns, planes.Rows, planes.NumberOfFrames, planes.SpacingBetweenSlices) == (40, 36, 8, 2.5)
    lost = {roi.ReferencedROINumber: roi for roi in rs.ROIContourSequence}[13]
    assert "ContourSequence" not in lost
    assert [notice.code for notice in notices] == ["rs.long_name", "rs.lost"]
    wire = {roi.ReferencedROINumber: roi for roi in rs.ROIContourSequence}[12].ContourSequence
    assert [contour.ContourGeometricType for contour in wire] == ["OPEN_NONPLANAR", "OPEN_PLANAR"]


def test_every_decimal_string_is_short(tmp_path):
    """Planning systems refuse more than 16 characters, which odd grids invite."""
    turn = np.array(
        [[0.936293364, 0.289629478, -0.198669331], [-0.312991827, 0.944702514, -0.097843395], [0.159345, 0.153794, 0.975170]]
    )
    axes, _ = np.linalg.qr(turn)
    affine = np.eye(4)
    affine[:3, :3] = axes * (0.9765625123, 0.9765625123, 3.2699999) * np.sign(np.linalg.det(axes))
    affine[:3, 3] = (-1234.123456789, 2345.987654321, -3456.55555555)
    grid = Geometry((40, 36, 8), affine)
    header = write_series(Volume(np.zeros(grid.shape, np.int16), grid), tmp_path / "ct")
    write_rtstruct(structures(grid), header, grid, tmp_path / "rs.dcm")
    seen = []

    def check(dataset, element):
        if element.VR == "DS":
            values = element.value if element.VM > 1 else [element.value]
            seen.extend(str(getattr(value, "original_string", value)) for value in values)

    pydicom.dcmread(tmp_path / "rs.dcm").walk(check)
    assert len(seen) > 1000
    assert max(map(len, seen)) <= 16


def test_a_seed_gives_equal_files(tmp_path, series):
    for name in ("a", "b"):
        write_rtstruct(structures(), series, GRID, tmp_path / name, seed="s")
    write_rtstruct(replace(structures(), rois=structures().rois[:2]), series, GRID, tmp_path / "c", seed="s")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert pydicom.dcmread(tmp_path / "a").SOPInstanceUID != pydicom.dcmread(tmp_path / "c").SOPInstanceUID


def test_colour_comes_from_the_name_where_there_is_none(tmp_path, series):
    write_rtstruct(StructureSet((Roi(1, "Liver"),)), series, GRID, tmp_path / "rs.dcm")
    colour = pydicom.dcmread(tmp_path / "rs.dcm").ROIContourSequence[0].ROIDisplayColor
    assert tuple(colour) == palette_colour("Liver") != palette_colour("Spleen")


@pytest.mark.parametrize(
    ("code", "lacking"),
    [("series.for_blank", {"frame_of_reference_uid": ""}), ("series.uid_blank", {"series_instance_uid": ""})],
)
def test_a_series_that_cannot_be_referred_to(tmp_path, series, code, lacking):
    with pytest.raises(InputError) as caught:
        write_rtstruct(structures(), replace(series, **lacking), GRID, tmp_path / "rs.dcm")
    assert caught.value.code == code
    assert not (tmp_path / "rs.dcm").exists()


def test_a_path_that_cannot_be_written(tmp_path, series):
    with pytest.raises(WriteError) as caught:
        write_rtstruct(structures(), series, GRID, tmp_path / "nowhere" / "rs.dcm")
    assert caught.value.code == "output.unwritable"


def test_slices_that_are_frames_are_named_by_their_number(tmp_path, series):
    """Of one multi-frame object, whose frames need not come in the order of the slices."""
    frames = (3, 1, 2, 4, 8, 7, 6, 5)
    one = replace(series, sop_instance_uids=("1.2.3",) * 8, frame_numbers=frames)
    write_rtstruct(structures(), one, GRID, tmp_path / "rs.dcm")
    rs = pydicom.dcmread(tmp_path / "rs.dcm")
    study = rs.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    images = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert [(i.ReferencedSOPInstanceUID, i.ReferencedFrameNumber) for i in images] == [("1.2.3", n) for n in frames]
    for contour in rs.ROIContourSequence[0].ContourSequence:
        k = round((float(contour.ContourData[2]) + 100) / 2.5)
        assert contour.ContourImageSequence[0].ReferencedFrameNumber == frames[k]
    assert "rs.ref_disagrees" not in {n.code for n in read_rtstruct(tmp_path / "rs.dcm", one, GRID).notices}
    swapped = replace(one, frame_numbers=frames[::-1])
    assert "rs.ref_disagrees" in {n.code for n in read_rtstruct(tmp_path / "rs.dcm", swapped, GRID).notices}


def test_an_roi_of_another_space_keeps_it(dicom_errors, tmp_path, series):
    """Its contours name no slices, which lie in another space, and it stays out when the image is given."""
    first, second = structures().rois[:2]
    write_rtstruct(StructureSet((first, replace(second, frame_of_reference_uid="1.2.99"))), series, GRID, tmp_path / "rs.dcm")
    assert not dicom_errors(tmp_path / "rs.dcm")
    rs = pydicom.dcmread(tmp_path / "rs.dcm")
    assert [item.FrameOfReferenceUID for item in rs.ReferencedFrameOfReferenceSequence] == [
        series.frame_of_reference_uid,
        "1.2.99",
    ]
    assert not any("ContourImageSequence" in contour for contour in rs.ROIContourSequence[1].ContourSequence)
    alone = read_rtstruct(tmp_path / "rs.dcm")
    assert [roi.frame_of_reference_uid for roi in alone.rois] == [series.frame_of_reference_uid, "1.2.99"]
    found = read_rtstruct(tmp_path / "rs.dcm", series, GRID)
    assert [roi.number for roi in found.rois] == [1]
    assert "rs.other_space" in {notice.code for notice in found.notices}
