"""The contact phantom: repeatable, closed when it says so, and known to the data list and the card."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.metrics.closures import is_closed, runs
from jrscli.runtime.plain import PlainError
from jrscli.spatial.geometry import Geometry
from jrscli.training.simulated import Simulate
from jrscli.training.simulated.contact import Contact, closed_frames, frame

GRID = Geometry((96, 96, 1), np.diag([2.0, 2.0, 2.0, 1.0]))


@pytest.mark.parametrize("series", range(3))
def test_masks_touch_exactly_in_the_closed_frames(series):
    contact = Contact()
    told = closed_frames(contact, series)
    for number in range(contact.frames):
        labels = frame(contact, series, number, GRID)[1].array[..., 0]
        assert is_closed(labels == 2, labels == 1) == told[number]
        assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_each_cycle_has_one_closure_of_the_asked_length():
    contact = Contact(frames=40)
    for series in range(20):
        told = closed_frames(contact, series)
        assert not told[0]
        lengths = [last - first + 1 for first, last in runs(told)]
        assert len(lengths) == 4
        assert all(2 <= length <= 6 for length in lengths)


def test_a_frame_is_the_same_whenever_it_is_made():
    one, again = (frame(Contact(), 3, 5, GRID) for _ in range(2))
    assert np.array_equal(one[0].array, again[0].array)
    other = frame(Contact(seed=1), 3, 5, GRID)
    assert not np.array_equal(one[0].array, other[0].array)
    assert not np.array_equal(frame(Contact(), 4, 5, GRID)[1].array, one[1].array)


def test_the_shapes_do_not_depend_on_how_fine_they_are_drawn():
    fine = frame(Contact(), 2, 4, Geometry((192, 192, 1), np.eye(4)))[1].array
    coarse = frame(Contact(), 2, 4, GRID)[1].array
    assert np.mean(fine[::2, ::2] == coarse) > 0.97


@pytest.mark.parametrize("values", [{"longest": 9}, {"gap": 0.2}, {"series": 1}])
def test_what_cannot_be_made_is_refused(values):
    with pytest.raises(PlainError):
        Contact(**values)


def test_its_numbers_go_to_the_card():
    found = Simulate(contact=Contact(noise=0.1)).parameters()
    assert found["contact.noise"] == 0.1
    assert found["contact.frames"] == 20
    with pytest.raises(PlainError, match="contact"):
        Simulate()
