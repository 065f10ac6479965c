"""Evaluate: pairing of structures, statuses, refusals, points and fields."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.errors import GeometryError, UsageError
from jrscli.metrics.compare import LABEL_METRICS, compare
from jrscli.metrics.pair import Pair
from jrscli.metrics.tolerances import Organ, Tolerances
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.evaluate import evaluate_labels, evaluate_structures
from jrscli.workflows.evaluate_dose import evaluate_dose
from jrscli.workflows.evaluate_transform import evaluate_field, evaluate_points

SHAPE = (24, 22, 20)
GRID = Geometry(SHAPE, np.diag((1.0, 1.0, 2.0, 1.0)))


def labels(names=None, geometry=GRID, **boxes):
    array = np.zeros(geometry.shape, np.uint32)
    for number, (lower, upper) in boxes.items():
        array[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = int(number[1:])
    return LabelMap(array, geometry, names or {})


LIVER = ((3, 3, 3), (12, 12, 12))
SPLEEN = ((14, 14, 14), (19, 19, 18))


def test_same_labels_are_perfect():
    both = labels(n1=LIVER, n2=SPLEEN)
    found = evaluate_labels(both, both)
    assert [row.name for row in found.rows] == ["1", "2"]
    assert found.mean("dice.v1") == 1.0
    assert found.mean("hd95.v1") == 0.0


def test_structure_missing_in_the_prediction_is_a_row():
    row = evaluate_labels(labels(n1=LIVER, n2=SPLEEN), labels(n1=LIVER)).row("2")
    assert row.status == "test_empty"
    assert row.values["dice.v1"].value == 0.0
    assert (row.values["hd95.v1"].value, row.values["hd95.v1"].limit) == (None, "+inf")
    assert (row.number, row.test_number) == (2, None)


def test_structure_only_in_the_prediction_is_a_row():
    row = evaluate_labels(labels(n1=LIVER), labels(n1=LIVER, n7=SPLEEN)).row("7")
    assert row.status == "ref_empty"
    assert row.values["dice.v1"].value == 0.0


def test_structure_named_by_both_and_empty_in_both_is_null():
    names = {1: "Liver", 2: "Spleen"}
    found = evaluate_labels(labels(names, n1=LIVER), labels(names, n1=LIVER))
    assert found.row("Spleen").status == "both_empty"
    assert found.row("Spleen").values["dice.v1"].value is None
    assert found.mean("dice.v1") == 1.0


def test_name_in_one_table_alone_is_no_structure():
    found = evaluate_labels(labels({1: "Liver", 9: "Heart"}, n1=LIVER), labels(n1=LIVER))
    assert [row.name for row in found.rows] == ["Liver"]


def test_structures_are_matched_by_name_if_both_have_names():
    found = evaluate_labels(
        labels({1: "Liver", 2: "Spleen"}, n1=LIVER, n2=SPLEEN), labels({5: "Spleen", 1: "Liver"}, n1=LIVER, n5=SPLEEN)
    )
    assert found.row("Spleen").values["dice.v1"].value == 1.0
    assert (found.row("Spleen").number, found.row("Spleen").test_number) == (2, 5)


def test_structures_are_matched_by_number_if_one_has_no_names():
    found = evaluate_labels(labels({1: "Liver"}, n1=LIVER), labels(n1=LIVER))
    assert found.row("Liver").values["dice.v1"].value == 1.0
    assert not found.notices


def test_matching_by_number_across_different_names_is_told():
    found = evaluate_labels(labels({1: "Liver"}, n1=LIVER), labels({1: "Hepar"}, n1=LIVER))
    assert found.row("Liver").values["dice.v1"].value == 1.0
    assert [notice.code for notice in found.notices] == ["evaluate.names_differ"]


def test_matching_can_be_asked_for():
    found = evaluate_labels(labels({1: "Liver"}, n1=LIVER), labels({1: "Hepar"}, n1=LIVER), match="name")
    assert {row.name: row.status for row in found.rows} == {"Liver": "test_empty", "Hepar": "ref_empty"}


def test_labels_above_two_to_the_24th_stay_apart():
    found = evaluate_labels(labels(n16777217=LIVER, n16777216=SPLEEN), labels(n16777217=LIVER, n16777216=SPLEEN))
    assert [row.number for row in found.rows] == [16777216, 16777217]
    assert found.mean("dice.v1") == 1.0


@pytest.mark.parametrize("other", [Geometry((24, 22, 21), GRID.affine), Geometry(SHAPE, np.diag((1.0, 1.0, 2.5, 1.0)))])
def test_different_grids_are_refused(other):
    with pytest.raises(GeometryError) as caught:
        evaluate_labels(labels(n1=LIVER), labels(geometry=other, n1=LIVER))
    assert caught.value.code == "grid.mismatch"


def test_resampling_brings_the_prediction_onto_the_grid():
    fine = Geometry((46, 42, 39), GRID.with_spacing((0.5, 0.5, 1.0)).affine)
    there = labels(geometry=fine, n1=((6, 6, 6), (24, 24, 24)))
    found = evaluate_labels(labels(n1=LIVER), there, resample=True)
    assert found.facts["resampled"] is True
    assert found.row("1").values["dice.v1"].value > 0.9
    assert evaluate_labels(labels(n1=LIVER), labels(n1=LIVER), resample=True).facts["resampled"] is False


def test_structure_cut_off_by_the_field_of_view_is_flagged():
    cut = labels(n1=((0, 3, 3), (9, 12, 12)))
    assert "fov_cut" in evaluate_labels(cut, cut).row("1").flags
    assert "fov_cut" not in evaluate_labels(labels(n1=LIVER), labels(n1=LIVER)).row("1").flags


def test_dice_of_less_than_a_cc_is_flagged():
    both = labels(n1=LIVER, n2=SPLEEN)
    found = evaluate_labels(both, both)
    assert "volume-dependent" in found.row("2").flags
    assert "volume-dependent" not in found.row("1").flags


def test_tolerance_is_the_largest_voxel_dimension_unless_given():
    both = labels(n1=LIVER)
    assert "nsd.v1(2mm)" in evaluate_labels(both, both).ids
    assert "nsd.v1(3.5mm)" in evaluate_labels(both, both, nsd_tolerance_mm=3.5).ids


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_tolerance_that_is_no_length_is_refused(tolerance):
    with pytest.raises(UsageError) as caught:
        evaluate_labels(labels(n1=LIVER), labels(n1=LIVER), nsd_tolerance_mm=tolerance)
    assert caught.value.code == "evaluate.tolerance"


def test_unknown_metric_gets_a_suggestion():
    with pytest.raises(UsageError) as caught:
        evaluate_labels(labels(n1=LIVER), labels(n1=LIVER), metrics=("hd96",))
    assert caught.value.code == "metric.unknown"
    assert "hd95" in caught.value.hint


def test_every_metric_can_be_asked_for():
    found = evaluate_labels(labels(n1=LIVER), labels(n1=LIVER), metrics=LABEL_METRICS)
    assert all(value.status == "ok" for value in found.row("1").values.values())
    for name in LABEL_METRICS:
        assert any(value.startswith(f"{name}.v1") for value in found.ids)


def test_progress_ends_at_its_total():
    calls = []
    both = labels(n1=LIVER, n2=SPLEEN)
    evaluate_labels(both, both, progress=lambda *call: calls.append(call))
    assert calls[-1] == ("evaluate", 2, 2)


@given(st.integers(0, 10**6))
def test_the_crop_changes_no_number(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.random((7, 6, 5)) < 0.2, rng.random((7, 6, 5)) < 0.2
    near = compare(Pair.of(one, other, Geometry((7, 6, 5), np.diag((1.0, 2.0, 3.0, 1.0)))), LABEL_METRICS)[0]
    # the same masks in the middle of a larger image, at the same place in the patient
    large = Geometry((7, 6, 5), np.diag((1.0, 2.0, 3.0, 1.0))).padded((4, 5, 6))
    wide = compare(Pair.of(*(np.pad(mask, ((4, 4), (5, 5), (6, 6))) for mask in (one, other)), large), LABEL_METRICS)[0]
    for name, value in near.items():
        expected = None if value.value is None else pytest.approx(value.value, rel=1e-9, abs=1e-9)
        assert wide[name].value == expected


def square(lower, upper, planes):
    (x0, y0), (x1, y1) = lower, upper
    return tuple(Contour(np.array([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], float)) for z in planes)


def structures(uid="1.2", **rois):
    return StructureSet(
        tuple(Roi(number, name, contours) for number, (name, contours) in enumerate(rois.items(), 1)),
        frame_of_reference_uid=uid,
    )


BOX = square((2.5, 2.5), (11.5, 11.5), np.arange(6.0, 24.0, 2.0))


def test_structure_sets_are_compared_on_a_grid():
    found = evaluate_structures(structures(Liver=BOX), structures(Liver=BOX), GRID)
    assert found.row("Liver").values["dice.v1"].value == 1.0
    assert found.row("Liver").values["volume.v1(reference)"].value == pytest.approx(9 * 9 * 18 / 1000)


def test_structure_set_against_a_label_map_takes_its_grid():
    found = evaluate_structures(structures(Liver=BOX), labels({1: "Liver"}, n1=LIVER))
    assert found.row("Liver").values["dice.v1"].value == 1.0


def test_structures_may_overlap():
    found = evaluate_structures(structures(Body=BOX, Liver=BOX), structures(Body=BOX, Liver=BOX), GRID)
    assert [row.values["dice.v1"].value for row in found.rows] == [1.0, 1.0]


def test_roi_without_contours_is_a_row():
    found = evaluate_structures(structures(Liver=BOX, Bowel=()), structures(Liver=BOX), GRID)
    assert found.row("Bowel").status == "both_empty"


def test_two_structure_sets_without_a_grid_are_refused():
    with pytest.raises(UsageError) as caught:
        evaluate_structures(structures(Liver=BOX), structures(Liver=BOX))
    assert caught.value.code == "evaluate.grid"


def test_structure_sets_of_two_spaces_are_refused():
    with pytest.raises(GeometryError) as caught:
        evaluate_structures(structures("1.2", Liver=BOX), structures("1.3", Liver=BOX), GRID)
    assert caught.value.code == "rs.other_space"


def test_points_before_and_after():
    shift = np.array([3.0, 0.0, 4.0])
    fixed = np.random.default_rng(0).uniform(5, 15, (6, 3))
    there = Transform((AffineTransform.about(np.eye(3), np.zeros(3), shift),))
    found = evaluate_points(fixed, fixed + shift, there, names=[f"p{n}" for n in range(6)])
    assert found.mean("tre_before.v1") == pytest.approx(5.0)
    assert found.mean("tre.v1") == pytest.approx(0.0, abs=1e-12)
    assert found.rows[2].name == "p2"
    assert found.facts["tre.v1(n)"]["value"] == 6


def test_points_without_a_transform_have_no_after():
    fixed = np.zeros((2, 3))
    assert evaluate_points(fixed, fixed + 1).ids == ("tre_before.v1",)


def test_field_is_described_per_region():
    field = DisplacementField(np.zeros((*SHAPE, 3), np.float32), GRID)
    mask = np.zeros(SHAPE, bool)
    mask[5:9, 5:9, 5:9] = True
    found = evaluate_field(field, masks={"Liver": mask})
    assert [row.name for row in found.rows] == ["whole image", "Liver"]
    assert found.row("Liver").values["jacobian.v1(mean)"].value == 1.0
    assert found.row("Liver").values["ndv.v1"].value == 0.0
    assert "shrank" in found.facts["direction"]


def test_transform_needs_a_grid():
    with pytest.raises(UsageError) as caught:
        evaluate_field(Transform.identity())
    assert caught.value.code == "evaluate.grid"


def test_field_with_its_inverse():
    there = Transform((AffineTransform.about(np.eye(3), np.zeros(3), np.array([0.25, 0.0, 0.0])),))
    found = evaluate_field(there, GRID, inverse=Transform((there.as_affine().inverse(),)), stride=2)
    assert found.row("whole image").values["inverse_consistency.v1(p95)"].value == pytest.approx(0.0, abs=1e-5)


def test_worst_slices_and_dice_per_slice_are_told():
    there = labels(n1=((3, 3, 3), (9, 9, 9)))
    test = labels(n1=((3, 3, 3), (9, 9, 8)))
    details = evaluate_labels(there, test).row("1").details
    assert details["worst_slices"][2] == 8
    assert details["slices"] == {"first": 3, "dice": [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]}


def test_trimming_leaves_out_slices_of_one_side():
    there, test = labels(n1=((3, 3, 3), (9, 9, 9))), labels(n1=((3, 3, 5), (9, 9, 11)))
    assert evaluate_labels(there, test).row("1").values["dice.v1"].value < 1
    trimmed = evaluate_labels(there, test, trim_to_common=True)
    assert trimmed.row("1").values["dice.v1"].value == 1.0
    assert trimmed.facts["trimmed_to_common_slices"] is True


def test_tolerance_of_an_organ_is_used_where_none_is_asked_for():
    both, known = labels(n1=LIVER), Tolerances(organs={"1": Organ(nsd_mm=1.5)})
    assert "nsd.v1(1.5mm)" in evaluate_labels(both, both, tolerances=known).ids
    assert "nsd.v1(3mm)" in evaluate_labels(both, both, tolerances=known, nsd_tolerance_mm=3.0).ids


def test_swapped_sides_are_flagged_on_both():
    names = {1: "Kidney_L", 2: "Kidney_R"}
    low, high = ((2, 3, 3), (6, 9, 9)), ((12, 3, 3), (16, 9, 9))
    found = evaluate_labels(labels(names, n1=high, n2=low), labels(names, n1=low, n2=high))
    assert all("swapped" in row.flags for row in found.rows)
    right = evaluate_labels(labels(names, n1=high, n2=low), labels(names, n1=high, n2=low))
    assert not any("swapped" in row.flags for row in right.rows)


def test_an_roi_outside_the_body_is_flagged():
    body = square((1.5, 1.5), (12.5, 12.5), np.arange(2.0, 28.0, 2.0))
    inside, beyond = BOX, square((8.5, 2.5), (14.5, 11.5), np.arange(6.0, 24.0, 2.0))
    reference = structures(Body=body, Liver=inside)
    assert "outside_body" in evaluate_structures(reference, structures(Body=body, Liver=beyond), GRID).row("Liver").flags
    assert "outside_body" not in evaluate_structures(reference, reference, GRID).row("Liver").flags


def test_rois_are_drawn_in_their_box_as_on_the_whole_grid():
    rng = np.random.default_rng(3)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    planes = []
    for z in np.arange(6.0, 22.0, 2.0):
        radius = 5 + rng.uniform(-1, 1, 40)
        planes.append(Contour(np.stack([8 + radius * np.cos(angle), 8 + radius * np.sin(angle), np.full(40, z)], axis=1)))
    roi = Roi(1, "Liver", tuple(planes))
    found = evaluate_structures(StructureSet((roi,)), StructureSet((roi,)), GRID).row("Liver")
    voxels = np.count_nonzero(rasterize(roi, GRID))
    assert found.values["volume.v1(test)"].value == pytest.approx(voxels * GRID.voxel_volume_mm3 / 1000)


def test_volume_of_a_mask_agrees_with_that_of_its_contours():
    fine = Geometry((160, 160, 30), np.diag((0.5, 0.5, 2.0, 1.0)))
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = np.stack([40.13 + 20 * np.cos(angle), 40.07 + 15 * np.sin(angle)], axis=1)
    planes = tuple(Contour(np.column_stack([ring, np.full(200, z)])) for z in np.arange(10.0, 50.0, 2.0))
    roi = Roi(1, "Liver", planes)
    found = evaluate_structures(StructureSet((roi,)), StructureSet((roi,)), fine).row("Liver")
    by_hand = 0.5 * 200 * 20 * 15 * np.sin(2 * np.pi / 200) * 2.0 * 20 / 1000
    assert found.values["volume.v1(reference)"].value == pytest.approx(by_hand, rel=0.005)


def test_dose_per_structure():
    both = labels(n1=LIVER, n2=SPLEEN)
    dose = Volume(np.full(SHAPE, 20.0, np.float32), GRID)
    hot = Volume(np.full(SHAPE, 22.0, np.float32), GRID)
    found = evaluate_dose(both, both, GRID, dose, hot, levels_gy=(21.0,))
    values = found.row("1").values
    assert values["dvh.v1(Dmean difference)"].value == pytest.approx(2.0)
    assert values["dose_diff.v1(mean_abs)"].value == pytest.approx(2.0)
    assert (values["dvh.v1(V21Gy reference)"].value, values["dvh.v1(V21Gy test)"].value) == (0.0, 100.0)
    assert "dose_diff.v1(mean_abs)" not in evaluate_dose(both, both, GRID, dose).row("1").values
