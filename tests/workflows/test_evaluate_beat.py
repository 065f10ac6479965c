"""The contours of a cine against others."""

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.evaluate_beat import describe_beat, evaluate_frames

GRID = Geometry((20, 10, 4), np.diag([2.0, 2.0, 10.0, 1.0]))
VOXEL_ML = 0.04


def cavity(length: int, *, number: int = 3) -> LabelMap:
    array = np.zeros(GRID.shape, np.uint8)
    array[:length, 2:7, 1:3] = number
    return LabelMap(array, GRID, {3: "left ventricle"})


def test_each_frame_has_its_rows_and_the_beat_its_volumes():
    labels, beat = evaluate_frames([cavity(16), cavity(12), cavity(8)], [cavity(16), cavity(11), cavity(10)])
    assert [row.title for row in labels.rows] == [f"frame {n}, left ventricle" for n in range(3)]
    assert labels.rows[0].values["dice.v1"].value == 1
    row = beat.row("left ventricle")
    assert row.values["ejection_fraction.v1(reference)"].value == pytest.approx(50)
    assert row.values["ejection_fraction.v1(test)"].value == pytest.approx(37.5)
    assert row.values["stroke_volume.v1(reference)"].value == pytest.approx(80 * VOXEL_ML)
    assert row.details["volumes_ml"] == pytest.approx([length * 10 * VOXEL_ML for length in (16, 11, 10)])
    assert (row.details["end_diastole"], row.details["end_systole"]) == (0, 2)


def test_frames_that_nobody_drew_are_left_out():
    labels, beat = evaluate_frames([cavity(16), cavity(0), cavity(8)], [cavity(16), cavity(2), cavity(8)])
    assert {row.case for row in labels.rows} == {"frame 0", "frame 2"}
    assert [notice.code for notice in labels.notices] == ["cine.undrawn"]
    # frame 1 is the smallest of the prediction, but not known to be the smallest
    assert beat.row("left ventricle").values["ejection_fraction_diff.v1"].value == pytest.approx(0)


def test_a_label_that_vanishes_has_a_volume_of_nothing():
    beat = describe_beat([cavity(16), cavity(0)])
    assert beat.row("left ventricle").values["ejection_fraction.v1(test)"].value == 100


def test_other_numbers_of_frames_are_refused():
    with pytest.raises(InputError) as error:
        evaluate_frames([cavity(1)] * 2, [cavity(1)] * 3)
    assert error.value.code == "cine.count"
    with pytest.raises(InputError) as error:
        evaluate_frames([cavity(0)] * 2, [cavity(1)] * 2)
    assert error.value.code == "labels.empty"
