"""DICOM registrations: the right way round, whoever reads or wrote them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from jrscli.errors import InputError
from jrscli.io.dicom_write import write_series
from jrscli.io.registration_object import read_registration, registration_kind
from jrscli.io.registration_object_write import matrix_type, write_deformable, write_rigid
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.subsample import subsample
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume

MOVED_MM = np.array([7.0, -3.0, 5.0])
"""Where a landmark of the moving image goes on its way to the fixed one: no swapped sign, axis or direction passes."""
LANDMARK = np.array([4.0, 41.0, -88.0])
GRID = Geometry((24, 20, 12), np.array([[2.0, 0, 0, -20], [0, 2.0, 0, 30], [0, 0, 3.0, -100], [0, 0, 0, 1.0]]))
TURN = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])


def pull(linear: np.ndarray | None = None) -> AffineTransform:
    """Fixed mm -> moving mm; without rotation it takes a landmark of the moving image by MOVED_MM to the fixed one."""
    return AffineTransform.about(np.eye(3) if linear is None else linear, GRID.centre_mm, -MOVED_MM)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The headers of a fixed and a moving series, of one patient but of two studies and frames."""
    folder = tmp_path_factory.mktemp("pair")
    empty = Volume(np.zeros(GRID.shape, np.int16), GRID)
    return write_series(empty, folder / "fixed", seed="fixed"), write_series(empty, folder / "moving", seed="moving")


@pytest.fixture
def rigid(pair, tmp_path):
    assert write_rigid(pull(), *pair, tmp_path / "reg.dcm", seed="a") == ()
    return tmp_path / "reg.dcm"


@pytest.fixture
def deformable(pair, tmp_path):
    assert write_deformable(subsample(Transform((pull(),)), GRID).field, *pair, tmp_path / "dreg.dcm", seed="a") == ()
    return tmp_path / "dreg.dcm"


def itk_field(grid: Dataset) -> sitk.DisplacementFieldTransform:
    """A deformation grid as ITK sees it, from the raw values alone."""
    x, y, z = grid.GridDimensions
    vectors = np.frombuffer(grid.VectorGridData, "<f4").reshape(z, y, x, 3).astype(np.float64)
    image = sitk.GetImageFromArray(vectors, isVector=True)
    row, column = np.array(grid.ImageOrientationPatient[:3], float), np.array(grid.ImageOrientationPatient[3:], float)
    image.SetDirection(np.stack([row, column, np.cross(row, column)], axis=1).ravel().tolist())
    image.SetOrigin([float(v) for v in grid.ImagePositionPatient])
    image.SetSpacing([float(v) for v in grid.GridResolution])
    return sitk.DisplacementFieldTransform(image)


def test_the_matrix_in_the_file_moves_a_moving_landmark_by_the_known_vector(rigid, pair):
    dataset = pydicom.dcmread(rigid)
    moving, fixed = dataset.RegistrationSequence
    assert dataset.FrameOfReferenceUID == fixed.FrameOfReferenceUID == pair[0].frame_of_reference_uid
    assert moving.FrameOfReferenceUID == pair[1].frame_of_reference_uid
    (step,) = moving.MatrixRegistrationSequence[0].MatrixSequence
    matrix = np.array(step.FrameOfReferenceTransformationMatrix, float).reshape(4, 4)
    np.testing.assert_allclose((matrix @ [*LANDMARK, 1])[:3], LANDMARK + MOVED_MM, atol=1e-6)
    (still,) = fixed.MatrixRegistrationSequence[0].MatrixSequence
    np.testing.assert_array_equal(np.array(still.FrameOfReferenceTransformationMatrix, float).reshape(4, 4), np.eye(4))


def test_the_field_in_the_file_moves_a_moving_landmark_by_the_known_vector(deformable, pair):
    dataset = pydicom.dcmread(deformable)
    (item,) = dataset.DeformableRegistrationSequence
    assert dataset.FrameOfReferenceUID == pair[0].frame_of_reference_uid
    assert item.SourceFrameOfReferenceUID == pair[1].frame_of_reference_uid
    there = itk_field(item.DeformableRegistrationGridSequence[0]).TransformPoint((LANDMARK + MOVED_MM).tolist())
    np.testing.assert_allclose(there, LANDMARK, atol=1e-4)


def test_a_whole_deformation_is_what_itk_makes_of_the_file(pair, tmp_path, oblique):
    rng = np.random.default_rng(5)
    field = DisplacementField(rng.normal(0, 3, (*oblique.shape, 3)).astype(np.float32), oblique)
    write_deformable(field, *pair, tmp_path / "d.dcm")
    item = pydicom.dcmread(tmp_path / "d.dcm").DeformableRegistrationSequence[0]
    foreign = itk_field(item.DeformableRegistrationGridSequence[0])
    points = oblique.index_to_world(rng.uniform(0.1, np.array(oblique.shape) - 1.1, (100, 3)))
    there = np.array([foreign.TransformPoint(point) for point in points.tolist()])
    np.testing.assert_allclose(there, field.map_points(points), atol=1e-3)


def test_plastimatch_writes_the_same_direction(requires_tool, tmp_path, pair):
    tool = requires_tool("plastimatch")
    sitk.WriteTransform(sitk.TranslationTransform(3, (-MOVED_MM).tolist()), str(tmp_path / "t.tfm"))
    image = sitk.Image([24, 20, 12], sitk.sitkInt16)
    image.SetSpacing((2.0, 2.0, 3.0))
    image.SetOrigin((-20.0, 30.0, -100.0))
    sitk.WriteImage(image, str(tmp_path / "grid.mha"))
    words = ["--input", "t.tfm", "--output-type", "vf", "--fixed", "grid.mha", "--output", "vf.mha"]
    subprocess.run([tool, "xf-convert", *words], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    words = ["--input", "vf.mha", "--fixed-image", "grid.mha", "--moving-image", "grid.mha", "--output-dicom", "out"]
    subprocess.run([tool, "xf-convert", *words], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    (found,) = [file for file in (tmp_path / "out").rglob("*") if file.is_file() and registration_kind(file)]
    transform = read_registration(found).between()
    np.testing.assert_allclose(transform.map_points([LANDMARK + MOVED_MM]), [LANDMARK], atol=1e-3)


@pytest.mark.parametrize("name", ["rigid", "deformable"])
def test_either_series_may_be_the_fixed_one(name, request, pair):
    found = read_registration(request.getfixturevalue(name))
    assert found.kind == name
    np.testing.assert_allclose(found.between().map_points([LANDMARK + MOVED_MM]), [LANDMARK], atol=1e-4)
    np.testing.assert_allclose(found.between(*pair).map_points([LANDMARK + MOVED_MM]), [LANDMARK], atol=1e-4)
    fixed, moving = pair
    np.testing.assert_allclose(found.between(moving, fixed).map_points([LANDMARK]), [LANDMARK + MOVED_MM], atol=0.02)


@pytest.mark.parametrize("name", ["rigid", "deformable"])
def test_the_validator_finds_nothing(name, request, assert_valid_dicom):
    assert_valid_dicom(request.getfixturevalue(name))


@pytest.mark.parametrize("name", ["rigid", "deformable"])
def test_a_series_of_another_frame_is_refused(name, request, tmp_path):
    header = write_series(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "other", seed="other")
    with pytest.raises(InputError) as caught:
        read_registration(request.getfixturevalue(name)).between(header, header)
    assert caught.value.code == "reg.other_space"


def test_series_of_one_frame_are_told_apart_by_their_images(tmp_path):
    empty = Volume(np.zeros(GRID.shape, np.int16), GRID)
    fixed = write_series(empty, tmp_path / "one", seed="one", frame_of_reference_uid="1.2.3")
    moving = write_series(empty, tmp_path / "two", seed="two", frame_of_reference_uid="1.2.3", header_from=fixed)
    notices = write_rigid(pull(), fixed, moving, tmp_path / "reg.dcm")
    assert [notice.code for notice in notices] == ["reg.same_frame"]
    found = read_registration(tmp_path / "reg.dcm")
    np.testing.assert_allclose(found.between(fixed, moving).map_points([LANDMARK + MOVED_MM]), [LANDMARK], atol=1e-6)
    dataset = pydicom.dcmread(tmp_path / "reg.dcm")
    for item in dataset.RegistrationSequence:
        del item.ReferencedImageSequence
    dataset.save_as(tmp_path / "bare.dcm")
    with pytest.raises(InputError) as caught:
        read_registration(tmp_path / "bare.dcm").between(fixed, moving)
    assert caught.value.code == "reg.many"


def test_matrices_multiply_in_their_order(rigid):
    dataset = pydicom.dcmread(rigid)
    steps = dataset.RegistrationSequence[0].MatrixRegistrationSequence[0].MatrixSequence
    turn = Dataset()
    whole = np.eye(4)
    whole[:3, :3] = TURN
    turn.FrameOfReferenceTransformationMatrix = whole.ravel().tolist()
    turn.FrameOfReferenceTransformationMatrixType = "RIGID"
    steps.append(turn)
    dataset.save_as(rigid)
    found = read_registration(rigid).between().inverse()
    np.testing.assert_allclose(found.map_points([LANDMARK]), [TURN @ LANDMARK + MOVED_MM], atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1.2])
def test_pre_and_post_matrices_go_round_the_field(pair, tmp_path, oblique, scale):
    rng = np.random.default_rng(6)
    field = DisplacementField(rng.normal(0, 3, (*oblique.shape, 3)).astype(np.float32), oblique)
    write_deformable(field, *pair, tmp_path / "d.dcm")
    dataset = pydicom.dcmread(tmp_path / "d.dcm")
    before, after = np.eye(4), np.eye(4)
    before[:3, :3], before[:3, 3], after[:3, 3] = TURN @ np.diag([scale, 1, 1]), (3.0, 4, 5), (10.0, -20, 30)
    for word, matrix in (("Pre", before), ("Post", after)):
        item = Dataset()
        item.FrameOfReferenceTransformationMatrix = matrix.ravel().tolist()
        item.FrameOfReferenceTransformationMatrixType = "AFFINE"
        setattr(dataset.DeformableRegistrationSequence[0], f"{word}DeformationMatrixRegistrationSequence", Sequence([item]))
    dataset.save_as(tmp_path / "d.dcm")
    points = oblique.index_to_world(rng.uniform(0.5, np.array(oblique.shape) - 1.5, (50, 3)))
    moved = points @ before[:3, :3].T + before[:3, 3] + field.at(points)
    expected = moved @ after[:3, :3].T + after[:3, 3]
    np.testing.assert_allclose(read_registration(tmp_path / "d.dcm").between().map_points(points), expected, atol=1e-3)


def test_undefined_cells_are_told_and_move_nothing(deformable):
    dataset = pydicom.dcmread(deformable)
    grid = dataset.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0]
    vectors = np.frombuffer(grid.VectorGridData, "<f4").copy()
    vectors[:6] = np.nan
    grid.VectorGridData = vectors.tobytes()
    dataset.save_as(deformable)
    found = read_registration(deformable)
    assert [notice.code for notice in found.notices] == ["reg.undefined"]
    assert "2 of" in found.notices[0].message
    assert np.isfinite(found.between().map_points([LANDMARK])).all()


def test_a_left_handed_grid_is_turned_round(pair, tmp_path):
    affine = GRID.affine.copy()
    affine[2, 2], affine[2, 3] = -3.0, -67.0
    flipped = Geometry(GRID.shape, affine)
    values = np.random.default_rng(7).normal(0, 3, (*GRID.shape, 3)).astype(np.float32)
    field = DisplacementField(values, flipped)
    write_deformable(field, *pair, tmp_path / "d.dcm")
    points = GRID.index_to_world(np.random.default_rng(8).uniform(0.5, np.array(GRID.shape) - 1.5, (50, 3)))
    found = read_registration(tmp_path / "d.dcm").between()
    np.testing.assert_allclose(found.map_points(points), field.map_points(points), atol=1e-4)


def test_types_of_matrices(pair, tmp_path):
    assert matrix_type(pull(TURN)) == "RIGID"
    assert matrix_type(pull(TURN @ np.diag([1.1, 1.0, 0.9]))) == "RIGID_SCALE"
    assert matrix_type(pull(np.array([[1.0, 0.2, 0], [0, 1, 0], [0, 0, 1]]))) == "AFFINE"
    notices = write_rigid(pull(np.diag([1.1, 1.0, 1.0])), *pair, tmp_path / "a.dcm")
    assert [notice.code for notice in notices] == ["reg.not_rigid"]


def test_equal_runs_give_equal_files_and_others_new_uids(pair, tmp_path):
    for name, seed in (("a", "s"), ("b", "s"), ("c", None)):
        write_rigid(pull(), *pair, tmp_path / name, seed=seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes()[:128] == bytes(128)
    first, last = (pydicom.dcmread(tmp_path / name) for name in "ac")
    assert first.SOPInstanceUID != last.SOPInstanceUID
    assert first.StudyInstanceUID == pair[0].study_instance_uid
    assert not [element for element in first.iterall() if element.tag.is_private]


def test_other_patients_are_told(pair, tmp_path):
    from dataclasses import replace

    notices = write_rigid(pull(), pair[0], replace(pair[1], pseudonym="P-other"), tmp_path / "a.dcm")
    assert [notice.code for notice in notices] == ["reg.patient"]


def test_a_blank_frame_is_refused(pair, tmp_path):
    from dataclasses import replace

    with pytest.raises(InputError) as caught:
        write_rigid(pull(), replace(pair[0], frame_of_reference_uid=""), pair[1], tmp_path / "a.dcm")
    assert caught.value.code == "series.for_blank"
    assert not (tmp_path / "a.dcm").exists()


def break_matrix(dataset):
    dataset.RegistrationSequence[0].MatrixRegistrationSequence[0].MatrixSequence[0].FrameOfReferenceTransformationMatrix = [1.0]


def break_sequence(dataset):
    del dataset.RegistrationSequence


def singular(dataset):
    step = dataset.RegistrationSequence[0].MatrixRegistrationSequence[0].MatrixSequence[0]
    step.FrameOfReferenceTransformationMatrix = [0.0] * 15 + [1.0]


@pytest.mark.parametrize(
    ("edit", "code"), [(break_matrix, "reg.unreadable"), (break_sequence, "reg.empty"), (singular, "transform.matrix")]
)
def test_broken_matrices_are_refused(rigid, edit, code):
    dataset = pydicom.dcmread(rigid)
    edit(dataset)
    dataset.save_as(rigid)
    with pytest.raises(InputError) as caught:
        read_registration(rigid)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda grid: setattr(grid, "GridDimensions", [4_000_000_000, 2, 2]), "input.too_big"),
        (lambda grid: setattr(grid, "GridDimensions", [3, 2, 2]), "reg.unreadable"),
        (lambda grid: setattr(grid, "GridResolution", [1.0, 0.0, 1.0]), "geometry.affine"),
        (lambda grid: delattr(grid, "ImagePositionPatient"), "reg.unreadable"),
    ],
)
def test_broken_grids_are_refused(deformable, edit, code):
    dataset = pydicom.dcmread(deformable)
    edit(dataset.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0])
    dataset.save_as(deformable)
    with pytest.raises(InputError) as caught:
        read_registration(deformable)
    assert caught.value.code == code


def test_what_is_no_registration_is_refused(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"x" * 100)
    assert registration_kind(tmp_path / "a.dcm") is None
    assert registration_kind(Path(__file__)) is None
    with pytest.raises(InputError) as caught:
        read_registration(tmp_path / "a.dcm")
    assert caught.value.code == "reg.unreadable"
