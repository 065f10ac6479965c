"""The context loop, with graphs that say what they saw; templates in files."""

import numpy as np
import pytest

from jrscli.runtime.context import in_context, middles_of, with_background
from jrscli.runtime.template import template_bytes
from jrscli.spatial.geometry import Geometry

SHAPE = (12, 10, 8)


class Graphs:
    """A registration that moves nothing and a segmentation that is surer of what it is told before."""

    def __init__(self):
        self.seen = []

    def __call__(self, name, inputs):
        self.seen.append((name, {role: array.copy() for role, array in inputs.items()}))
        if name == "register":
            return {"displacement": np.zeros((3, *SHAPE), np.float32)}
        image, before = inputs["image"], inputs["fixed_probabilities"]
        return {"logits": np.concatenate([0 * image[:1], image[:1] + before, 9 * image[:1]])}

    def of(self, name):
        return [inputs for graph, inputs in self.seen if graph == name]


def masks():
    out = np.zeros((2, *SHAPE), np.float32)
    out[0, 2:5, 3:6, 2:5] = 1
    out[1, 7:9, 6:8, 4:6] = 1
    return out


def looped(passes, graphs=None, of_template=None):
    fixed = np.random.default_rng(0).random((3, *SHAPE), np.float32)
    given = masks() if of_template is None else of_template
    reach = np.full((2, 6), 2.0)
    run = graphs or Graphs()
    return in_context(run, fixed, fixed[::-1], given, reach, passes, displacement=lambda raw: raw), run, fixed


def test_the_first_pass_knows_no_labels_and_each_next_one_those_before():
    found, graphs, _ = looped(3)
    maps = [inputs["fixed_probabilities"] for inputs in graphs.of("register")]
    assert not maps[0].any()
    for n in (1, 2):
        assert np.array_equal(maps[n], found[n - 1].probabilities)
    crops = graphs.of("segment")
    assert len(crops) == 3 * 2
    assert not crops[0]["fixed_probabilities"].any()
    assert np.array_equal(crops[2]["fixed_probabilities"][0], found[0].probabilities[0][found[0].boxes[0]])
    assert not np.array_equal(found[0].probabilities, found[1].probabilities)


def test_no_further_pass_is_the_first_one():
    once, *_ = looped(1)
    thrice, *_ = looped(3)
    assert len(once) == 1
    for name in ("field", "carried", "probabilities"):
        assert np.array_equal(getattr(once[0], name), getattr(thrice[0], name))
    assert once[0].boxes == thrice[0].boxes


def test_each_label_is_looked_at_in_its_own_box_alone():
    found, graphs, fixed = looped(1)
    last = found[-1]
    for k, box in enumerate(last.boxes):
        assert np.array_equal(graphs.of("segment")[k]["image"], fixed[(slice(None), *box)])
        inside = np.zeros(SHAPE, bool)
        inside[box] = True
        assert not last.probabilities[k][~inside].any()
        logit = fixed[0] if k == 0 else 9 * fixed[0]
        assert np.allclose(last.probabilities[k][box], 1 / (1 + np.exp(-logit[box])), atol=1e-6)
    assert [s.start for s in last.boxes[0]] == [1, 2, 1]


def test_a_label_that_the_template_does_not_have_is_left_out():
    given = masks()
    given[1] = 0
    found, graphs, _ = looped(1, of_template=given)
    assert found[0].boxes[1] is None
    assert not found[0].probabilities[1].any()
    assert len(graphs.of("segment")) == 1


def test_the_likelier_label_wins_and_none_below_a_half():
    maps = np.array([[0.2, 0.6, 0.7], [0.4, 0.1, 0.9]], np.float32).reshape(2, 3, 1, 1)
    assert with_background(maps).argmax(0).ravel().tolist() == [0, 1, 2]


def test_middles_are_centroids():
    assert middles_of(masks())[0].tolist() == [3, 4, 3]
    assert np.isnan(middles_of(np.zeros((1, *SHAPE), np.float32))).all()


def test_the_same_template_is_the_same_file():
    array, grid = np.arange(24, dtype=np.int16).reshape(2, 3, 4), Geometry((2, 3, 4), np.diag([1.0, 2, 3, 1]))
    assert template_bytes(array, grid) == template_bytes(array.copy(), grid)


@pytest.mark.parametrize("passes", [1, 2])
def test_progress_reaches_its_end(passes):
    seen = []
    fixed = np.zeros((3, *SHAPE), np.float32)
    in_context(
        Graphs(),
        fixed,
        fixed,
        masks(),
        np.full((2, 6), 2.0),
        passes,
        displacement=lambda raw: raw,
        progress=lambda *args: seen.append(args),
    )
    assert seen[-1] == ("context", passes, passes)
