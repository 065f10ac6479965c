"""Labels by the numbers of a card; what only one of two estimates has; sides however the patient lies."""

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.runtime.card import Grid
from jrscli.runtime.prepare import network_grid, prepared_labels
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap
from jrscli.workflows.organs import named_as, numbered_as, organ_matches

CARD = ("background", "right parotid", "left parotid", "larynx")


def drawn(affine=None, names=None):
    """Label 1 to the patient's left (+ in LPS), label 2 to the right, 5 in the middle."""
    geometry = Geometry((12, 8, 6), np.eye(4) if affine is None else affine)
    centres = geometry.index_to_world(np.argwhere(np.ones(geometry.shape, bool)))
    x = (centres - centres.mean(axis=0))[:, 0].reshape(geometry.shape)
    array = np.select([x > 4, x < -4, np.abs(x) < 1], [1, 2, 5], 0).astype(np.uint32)
    return LabelMap(array, geometry, {1: "Parotid_L", 2: "Parotid_R", 5: "GTV"} if names is None else names)


def test_labels_get_the_numbers_of_the_card():
    found = numbered_as(drawn(), CARD)
    assert np.array_equal(found.array == 2, drawn().array == 1)
    assert np.array_equal(found.array == 1, drawn().array == 2)
    assert not (found.array == 5).any()  # an organ that the model does not know
    assert found.names == {1: "right parotid", 2: "left parotid", 3: "larynx"}


def test_labels_without_names_keep_their_numbers():
    assert numbered_as(drawn(names={}), CARD) is not None
    assert np.array_equal(numbered_as(drawn(names={}), CARD).array, drawn().array)


def test_names_that_the_model_does_not_know_are_no_guess():
    with pytest.raises(InputError) as caught:
        numbered_as(drawn(names={1: "a", 2: "b", 5: "c"}), CARD)
    assert caught.value.code == "labels.organs"
    assert "left parotid" in caught.value.hint


@pytest.mark.parametrize(
    "turn", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1)], ids=["head first", "RAS", "feet first", "prone"]
)
def test_left_stays_left_however_the_patient_was_scanned(turn):
    """On the network's grid the label called left lies to the patient's left."""
    labels = numbered_as(drawn(np.diag([*turn, 1.0])), CARD)
    grid = network_grid(labels.geometry, Grid(size=(16, 8, 8)))
    maps = prepared_labels(labels, grid, 3, CARD)
    places = [grid.index_to_world(np.argwhere(one > 0.5)).mean(axis=0)[0] for one in maps[:2]]
    assert places[0] + 4 < places[1]  # right, then left, along LPS x


def test_a_model_speaks_of_organs_by_the_names_they_have():
    matches = organ_matches(drawn(), CARD)
    assert [match.kind for match in matches] == ["both", "both", "known only", "given only"]
    model = LabelMap(np.zeros((2, 2, 2), np.uint32), Geometry((2, 2, 2), np.eye(4)), {1: CARD[1], 2: CARD[2], 3: CARD[3]})
    assert named_as(model, matches).names == {1: "Parotid_R", 2: "Parotid_L", 3: "larynx"}
