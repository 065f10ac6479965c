"""Stroke volume and ejection fraction."""

import pytest

from jrscli.metrics.beat import beat_values, extremes


def test_the_extremes_are_taken_where_the_volume_is_known():
    assert extremes([None, 80.0, 120.0, 50.0, None]) == (2, 3)
    assert extremes([120.0, 120.0, 50.0, 50.0]) == (0, 2)
    assert extremes([None, 80.0]) is None


def test_a_cavity_alone_is_measured_at_its_own_extremes():
    values, frames = beat_values([100.0, 60.0, 40.0, 90.0])
    assert frames == (0, 2)
    assert {name: value.value for name, value in values.items()} == {
        "stroke_volume.v1(test)": 60.0,
        "ejection_fraction.v1(test)": 60.0,
    }


def test_both_are_measured_at_the_frames_of_the_reference():
    # the test's own extremes are frames 1 and 2: taking those would compare other moments of the beat
    values, frames = beat_values([100.0, 110.0, 40.0, 50.0], [100.0, None, None, 45.0])
    assert frames == (0, 3)
    assert values["ejection_fraction.v1(reference)"].value == pytest.approx(55)
    assert values["ejection_fraction.v1(test)"].value == pytest.approx(50)
    assert values["ejection_fraction_diff.v1"].value == pytest.approx(-5)
    assert values["stroke_volume_diff.v1"].value == pytest.approx(-5)
    assert values["stroke_volume_diff.v1"].unit == "ml"


def test_nothing_is_said_of_what_was_drawn_once_or_is_not_there():
    values, frames = beat_values([10.0, 10.0], [10.0, None])
    assert frames is None
    assert {value.status for value in values.values()} == {"not_assessed"}
    values, _ = beat_values([0.0, 0.0])
    assert values["ejection_fraction.v1(test)"].value is None
    assert values["stroke_volume.v1(test)"].value == 0
