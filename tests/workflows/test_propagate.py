from __future__ import annotations

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.resample import resample
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.carry import carry_contour, solid_of_roi
from jrscli.workflows.propagate import propagate
from jrscli.workflows.selection import external_roi, select_rois

SHIFT = np.array([7.0, -3.0, 5.0])


class Shifted:
    """Daily = planning moved by SHIFT, which no swapped sign or axis leaves unseen."""

    transform = Transform((AffineTransform.about(np.eye(3), np.zeros(3), -SHIFT),))
    inverse = Transform((AffineTransform.about(np.eye(3), np.zeros(3), SHIFT),))


def box_roi(number: int, low: tuple[float, float], high: tuple[float, float], slices: range, step: float = 3.0) -> Roi:
    square = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    return Roi(number, f"Box{number}", tuple(Contour(np.column_stack([square, np.full(4, step * k)])) for k in slices))


GRID = Geometry((60, 50, 20), np.diag((2.0, 2.0, 3.0, 1.0)))
EMPTY = Volume(np.zeros(GRID.shape, np.int16), GRID)


@pytest.fixture(scope="module")
def propagated(study, simulation, known):
    return propagate(study.planning, study.structures, simulation.daily, registration=known)


def test_the_true_transform_gives_the_true_contours(propagated, simulation, dice_by_name):
    scores = dice_by_name(propagated.structures, simulation.masks, simulation.daily.geometry)
    assert len(scores) == 6
    assert {name: score for name, score in scores.items() if score < 0.97} == {}
    assert propagated.notices == ()


def test_numbers_names_colours_and_kinds_stay(study, propagated):
    def facts(rois):
        return [(r.number, r.name, r.colour, r.kind) for r in rois]

    assert facts(propagated.structures.rois) == facts(study.structures.rois)
    assert [(r.number, r.status) for r in propagated.results] == [(r.number, "ok") for r in study.structures.rois]


def test_contours_lie_on_the_daily_slices(propagated, simulation):
    for roi in propagated.structures.rois:
        k = simulation.daily.geometry.world_to_index(np.concatenate([c.points for c in roi.contours]))[:, 2]
        assert np.abs(k - np.rint(k)).max() < 1e-6


def test_volumes_are_reported(propagated, simulation):
    for result in propagated.results:
        true_cc = simulation.masks[result.number].sum() * simulation.daily.geometry.voxel_volume_mm3 / 1000
        assert result.daily_cc == pytest.approx(true_cc, rel=0.03)


def test_the_outline_is_found_or_carried_as_asked(study, simulation, known, dice):
    found = propagate(study.planning, study.structures, simulation.daily, registration=known, rois=["body"])
    carried = propagate(study.planning, study.structures, simulation.daily, registration=known, rois=["body"], body="propagate")
    assert (found.results[0].how, carried.results[0].how) == ("found", "carried")
    mask = rasterize(carried.structures.rois[0], simulation.daily.geometry)
    assert dice(mask, simulation.masks[1]) > 0.97


def test_an_outline_that_cannot_be_found_is_carried_and_said(study, known, simulation):
    blank = Volume(np.zeros(simulation.daily.geometry.shape, np.int16), simulation.daily.geometry)
    done = propagate(study.planning, study.structures, blank, registration=known, rois=["Body"])
    assert done.results[0].how == "carried"
    assert done.notices[0].code == "rs.body"
    assert done.structures.rois[0].contours


def test_cut_structures_are_flagged_and_end_at_the_border(study, cropped, known, simulation, dice):
    done = propagate(study.planning, study.structures, cropped, registration=known)
    by_name = {result.name: result for result in done.results}
    half = cropped.geometry.shape[2]
    for name in ("Rectum", "FemoralHead_R", "PTV"):
        result = by_name[name]
        true = simulation.masks[result.number]
        share = 100 * (1 - true[:, :, :half].sum() / true.sum())
        assert result.status == "cut", name
        # daily against planning volume: the two differ by how the motion squeezes the part that is cut
        assert result.outside_percent == pytest.approx(share, abs=12)
        mask = rasterize(done.structures.roi(name), cropped.geometry)
        assert dice(mask, true[:, :, :half]) > 0.95, name
    assert {n.code for n in done.notices} <= {"rs.cut", "rs.lost"}
    assert by_name["Body"].status == "cut"
    cut = next(n for n in done.notices if n.code == "rs.cut" and n.message.startswith("ROI 3"))
    assert f"{by_name['Rectum'].outside_percent:.0f} %" in cut.message


def test_a_structure_outside_the_daily_image_is_kept_empty_and_said(cropped, study, known):
    done = propagate(study.planning, study.structures, cropped, registration=known, rois=["Bladder"])
    assert done.structures.rois[0].name == "Bladder"
    assert done.structures.rois[0].contours == ()
    assert (done.results[0].status, done.results[0].daily_cc) == ("lost", 0.0)
    assert done.notices[0].code == "rs.lost"
    assert "outside" in done.notices[0].message


def test_an_roi_without_contours_stays_empty_without_alarm(identity):
    done = propagate(EMPTY, StructureSet((Roi(4, "Nothing"),)), EMPTY, registration=identity)
    assert done.structures.rois == (Roi(4, "Nothing"),)
    assert done.results[0].status == "empty"
    assert done.notices == ()


def test_a_known_shift_moves_by_that_and_not_its_opposite():
    roi = box_roi(1, (31.0, 27.0), (61.0, 47.0), range(6, 12))
    done = propagate(EMPTY, StructureSet((roi,)), EMPTY, registration=Shifted(), body="propagate")
    points = np.concatenate([c.points for c in done.structures.rois[0].contours])
    # 5 mm over slices of 3 mm: slices 6…11 cover 16.5 … 34.5 mm, moved 21.5 … 39.5: slices 8 … 13
    np.testing.assert_allclose(points.min(axis=0), [38, 24, 24], atol=0.35)
    np.testing.assert_allclose(points.max(axis=0), [68, 44, 39], atol=0.35)


def test_the_identity_gives_the_contours_back(identity, dice):
    roi = box_roi(1, (30.0, 26.0), (63.0, 49.0), range(4, 15))
    done = propagate(EMPTY, StructureSet((roi,)), EMPTY, registration=identity)
    assert dice(rasterize(done.structures.rois[0], GRID), rasterize(roi, GRID)) > 0.995


def test_a_structure_smaller_than_a_pixel_survives_and_keeps_its_area(identity):
    roi = box_roi(1, (30.3, 30.3), (31.7, 31.7), range(8, 12))  # 1.4 mm in pixels of 2 mm
    done = propagate(EMPTY, StructureSet((roi,)), EMPTY, registration=identity)
    result = done.results[0]
    assert result.status == "ok"
    assert result.daily_cc == pytest.approx(1.4 * 1.4 * 12 / 1000, rel=0.25)


def test_what_reaches_the_end_of_the_planning_image_ends_there(identity):
    roi = box_roi(1, (30.0, 30.0), (60.0, 60.0), range(8))
    longer = GRID.cropped_to((0, 0, -5), GRID.shape)
    daily = Volume(np.zeros(longer.shape, np.int16), longer)
    done = propagate(EMPTY, StructureSet((roi,)), daily, registration=identity)
    z = np.concatenate([c.points for c in done.structures.rois[0].contours])[:, 2]
    assert (z.min(), z.max()) == (0.0, 21.0)


def test_a_hole_stays_a_hole(identity, dice):
    outer, inner = box_roi(1, (20.0, 20.0), (70.0, 70.0), range(4, 12)), box_roi(1, (35.0, 35.0), (55.0, 55.0), range(4, 12))
    ring = Roi(1, "Ring", outer.contours + inner.contours)
    done = propagate(EMPTY, StructureSet((ring,)), EMPTY, registration=identity)
    mask = rasterize(done.structures.rois[0], GRID)
    assert not mask[22, 22, 7]
    assert dice(mask, rasterize(ring, GRID)) > 0.98


def test_points_and_open_contours_go_vertex_by_vertex():
    marker = Contour(np.array([[20.0, 30.0, 12.0]]), "POINT")
    line = Contour(np.array([[20.0, 30.0, 12.0], [25.0, 31.0, 12.0], [31.0, 33.0, 12.0]]), "OPEN_PLANAR")
    done = propagate(EMPTY, StructureSet((Roi(7, "Marks", (marker, line)),)), EMPTY, registration=Shifted())
    moved = done.structures.rois[0].contours
    assert [c.kind for c in moved] == ["POINT", "OPEN_PLANAR"]
    np.testing.assert_allclose(moved[0].points, marker.points + SHIFT, atol=1e-9)
    np.testing.assert_allclose(moved[1].points, line.points + SHIFT, atol=1e-9)
    assert done.results[0].how == "points"


def test_a_point_outside_the_daily_image_is_flagged():
    marker = Contour(np.array([[20.0, 30.0, 56.0]]), "POINT")
    done = propagate(EMPTY, StructureSet((Roi(7, "Mark", (marker,)),)), EMPTY, registration=Shifted())
    assert done.results[0].status == "cut"
    assert done.notices[0].code == "rs.cut"


def test_an_open_contour_that_leaves_its_plane_says_so(simulation):
    ring = np.array([[60.0 * np.cos(a), 40.0 * np.sin(a), 4.0] for a in np.linspace(0, 5, 20)])
    moved = carry_contour(Contour(ring, "OPEN_PLANAR"), simulation.inverse)
    assert moved.kind == "OPEN_NONPLANAR"
    turned = Transform((AffineTransform.about(np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]), np.zeros(3), np.zeros(3)),))
    assert carry_contour(Contour(ring, "OPEN_PLANAR"), turned).kind == "OPEN_PLANAR"  # tilted, but still one plane


@pytest.mark.parametrize(
    ("rois", "exclude", "names"),
    [
        (None, None, ["Body", "Bladder", "Rectum", "FemoralHead_L", "FemoralHead_R", "PTV"]),
        (["femoral*"], None, ["FemoralHead_L", "FemoralHead_R"]),
        (["PTV", "*_l"], None, ["FemoralHead_L", "PTV"]),
        (None, ["F*", "body"], ["Bladder", "Rectum", "PTV"]),
        (["F*"], ["*_R"], ["FemoralHead_L"]),
    ],
)
def test_patterns_choose_rois(study, rois, exclude, names):
    assert [roi.name for roi in select_rois(study.structures.rois, rois, exclude)] == names


def test_a_name_with_stars_in_it_can_be_named():
    rois = (Roi(1, "*Skull"), Roi(2, "Other[1]"), Roi(3, "Skull"))
    assert [r.number for r in select_rois(rois, ["Other[1]"], None)] == [2]
    assert [r.number for r in select_rois(rois, None, ["Skull"])] == [1, 2]


def test_a_pattern_that_fits_nothing_is_refused_without_telling_the_others(study):
    with pytest.raises(InputError) as refused:
        select_rois(study.structures.rois, ["Blader"], None)
    assert refused.value.code == "rs.name"
    assert "jrs info" in refused.value.hint
    assert "Bladder" not in f"{refused.value} {refused.value.hint}"
    with pytest.raises(InputError) as refused:
        select_rois(study.structures.rois, None, ["*"])
    assert refused.value.code == "rs.none"


def test_the_outline_is_known_by_kind_before_name():
    skin, wrong = Roi(1, "Contour A", kind="EXTERNAL"), Roi(2, "Body", kind="ORGAN")
    assert external_roi((wrong, skin)) is skin
    assert external_roi((Roi(3, "Liver"), wrong)) is wrong
    assert external_roi((Roi(3, "Liver"),)) is None


def test_labels_come_back_as_labels_and_as_structures(study, simulation, known, dice, dice_by_name):
    numbers = {roi.name: roi.number for roi in study.structures.rois if roi.name != "Body"}
    array = np.zeros(study.planning.geometry.shape, np.uint32)
    for name, number in numbers.items():
        array[rasterize(study.structures.roi(name), study.planning.geometry)] = number
    labels = LabelMap(array, study.planning.geometry, {number: name for name, number in numbers.items()})
    done = propagate(study.planning, labels, simulation.daily, registration=known)
    assert done.labels is not None
    assert done.labels.geometry.matches(simulation.daily.geometry)
    assert dict(done.labels.names) == dict(labels.names)
    for name, number in numbers.items():
        assert dice(done.labels.mask(number), simulation.masks[number]) > 0.93, name
    assert min(dice_by_name(done.structures, simulation.masks, simulation.daily.geometry).values()) > 0.93


def test_labels_that_touch_leave_no_seam_and_do_not_overlap():
    array = np.zeros(GRID.shape, np.uint32)
    array[10:30, 10:40, 4:16], array[30:50, 10:40, 4:16] = 3, 9
    turn = np.radians(10)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    back = AffineTransform.about(rotation, GRID.centre_mm, np.zeros(3))

    class Turned:
        transform, inverse = Transform((back,)), Transform((back.inverse(),))

    done = propagate(EMPTY, LabelMap(array, GRID), EMPTY, registration=Turned())
    assert done.labels is not None
    both = propagate(EMPTY, LabelMap((array > 0).astype(np.uint32), GRID), EMPTY, registration=Turned())
    assert both.labels is not None
    differs = (done.labels.array > 0) != (both.labels.array > 0)
    assert differs.sum() < 0.003 * (both.labels.array > 0).sum()


def test_an_outline_label_is_filled_from_the_daily_image(study, simulation, known, dice):
    array = np.zeros(study.planning.geometry.shape, np.uint32)
    for roi in study.structures.rois:
        if roi.name in ("Body", "Bladder"):
            array[rasterize(roi, study.planning.geometry)] = roi.number
    done = propagate(
        study.planning,
        LabelMap(array, study.planning.geometry, {1: "Body", 2: "Bladder"}),
        simulation.daily,
        registration=known,
    )
    assert done.labels is not None
    assert dice(done.labels.array > 0, simulation.masks[1]) > 0.98
    assert dice(done.labels.mask(2), simulation.masks[2]) > 0.95


def test_pulled_image_and_carried_contours_agree(study, simulation, known, propagated):
    """The bladder's wall is where the image says it is: the pulled planning image has water in the carried bladder."""
    moved = resample(study.planning, simulation.daily.geometry, known.transform)
    inside = rasterize(propagated.structures.roi("Bladder"), simulation.daily.geometry)
    assert 0 < moved.array[inside].mean() < 30


def test_a_huge_volume_change_is_said():
    roi = box_roi(1, (31.0, 27.0), (61.0, 47.0), range(6, 12))
    grow = AffineTransform.about(np.eye(3) / 1.3, GRID.centre_mm, np.zeros(3))

    class Grown:
        transform, inverse = Transform((grow,)), Transform((grow.inverse(),))

    done = propagate(EMPTY, StructureSet((roi,)), EMPTY, registration=Grown())
    assert done.results[0].volume_change_percent == pytest.approx(100 * (1.3**3 - 1), rel=0.1)
    assert [n.code for n in done.notices] == ["rs.volume"]


def test_contours_beyond_the_planning_image_are_not_in_it():
    roi = box_roi(1, (-4.0, 20.0), (20.0, 40.0), range(-2, 3))
    solid = solid_of_roi(roi, GRID)
    assert solid is not None
    # pixels reach from −1 mm, slices from −1.5 mm: 21 × 20 mm on slices 0, 1, 2
    assert solid.volume_cc == pytest.approx(21 * 20 * 9 / 1000, rel=0.03)


def test_any_orientation_of_the_two_images_will_do(geometry, oblique):
    """A ball labelled on one grid arrives where the transform says on another."""
    fine = geometry.padded((8, 8, 8)).with_spacing(tuple(np.minimum(geometry.spacing_mm, 1.5)))
    centre, radius = geometry.centre_mm, 7.0

    def ball(grid: Geometry, middle: np.ndarray) -> np.ndarray:
        points = grid.index_to_world(np.argwhere(np.ones(grid.shape, bool)))
        return (np.linalg.norm(points - middle, axis=1) < radius).reshape(grid.shape)

    move = oblique.centre_mm - centre + np.array([1.5, -0.7, 0.9])
    there = AffineTransform.about(np.eye(3), np.zeros(3), move)

    class Moved:
        transform, inverse = Transform((there.inverse(),)), Transform((there,))

    daily_grid = oblique.with_spacing((0.9, 0.9, 0.9))
    done = propagate(
        Volume(np.zeros(fine.shape, np.int16), fine),
        LabelMap(ball(fine, centre).astype(np.uint32), fine),
        Volume(np.zeros(daily_grid.shape, np.int16), daily_grid),
        registration=Moved(),
    )
    assert done.labels is not None
    true = ball(daily_grid, centre + move)
    both = int((done.labels.mask(1) & true).sum())
    assert 2 * both / (int(done.labels.mask(1).sum()) + int(true.sum())) > 0.93


def test_a_single_slice_is_a_volume_too(identity):
    flat = Geometry((40, 40, 1), np.diag((1.0, 1.0, 5.0, 1.0)))
    array = np.zeros(flat.shape, np.uint32)
    array[10:25, 12:30] = 4
    image = Volume(np.zeros(flat.shape, np.int16), flat)
    done = propagate(image, LabelMap(array, flat), image, registration=identity)
    assert done.labels is not None
    np.testing.assert_array_equal(done.labels.array, array)
    assert len(done.structures.rois[0].contours) == 1
