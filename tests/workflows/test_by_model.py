"""Registration and segmentation by a model, from volumes to volumes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jrscli.errors import ModelError, UsageError
from jrscli.runtime.card import Grid, Input, Window
from jrscli.runtime.predict import Predictor
from jrscli.runtime.store import read_model
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample_labels
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.model_scores import mean_dice, registration_scores, scored_pairs, segmentation_scores, visit_pairs
from jrscli.workflows.register import register
from jrscli.workflows.segment_by_model import segment_by_model, unlike_images

GEOMETRY = Geometry((24, 22, 20), np.diag([-1.0, -1.0, 1.0, 1.0]))
SPEC = Input(window=Window(values=(0, 1000)))


@pytest.fixture(scope="module")
def pair() -> tuple[Volume, Volume]:
    """A moving image that is the fixed one two voxels on."""
    rng = np.random.default_rng(0)
    index = np.indices((30, 30, 30)) - 14.5
    object_ = 600.0 * (np.sqrt((index**2).sum(0)) < 8) + 300.0 * (np.sqrt(((index - 2) ** 2).sum(0)) < 4)
    whole = gaussian_filter(object_ + 50 * rng.standard_normal((30, 30, 30)), 0.8).clip(0, 1000).astype(np.float32)
    cut = [whole[3 + n : 27 + n, 4:26, 5:25] for n in (2, 0)]
    return Volume(cut[0], GEOMETRY), Volume(cut[1], GEOMETRY)


@pytest.fixture
def predictor(make_model, tmp_path):
    def load(**options) -> Predictor:
        return Predictor(read_model(make_model(tmp_path, **{"spec": SPEC, **options})), device="cpu", threads=1)

    return load


def test_the_networks_field_is_the_answer(predictor, pair):
    """The stand-in says two voxels along the first axis, which is right; so the moved image is the fixed one."""
    fixed, moving = pair
    found = register(fixed, moving, model=predictor(shift=(2.0, 0.0, 0.0)))
    assert found.model == "tiny@1.0"
    assert found.failed is None
    assert [step.name for step in found.steps] == ["prepare", "network", "inverse"]
    moved = found.warp(moving, fixed.geometry).array
    assert np.abs(moved[:-3] - fixed.array[:-3]).max() < 1.0
    assert found.folding_percent == 0
    assert found.inverse_consistency_p95_mm < 0.05


def test_a_field_that_makes_things_worse_is_marked_as_failed(predictor, pair):
    found = register(*pair, model=predictor(shift=(-6.0, 5.0, 0.0)))
    assert found.failed is not None
    assert "less alike" in found.failed


def test_refinement_is_led_by_what_the_model_sees_in_both_images(predictor, pair):
    fixed, moving = pair
    model = predictor(shift=(0.0, 0.0, 0.0), levels=(0.3, 0.75), refine=25)
    plain, refined = (register(fixed, moving, model=model, refine=steps) for steps in (0, None))
    assert [step.name for step in refined.steps] == ["prepare", "segment", "network", "refine", "inverse"]
    assert refined.steps[3].facts["guided"] == "labels"
    assert refined.steps[3].facts["steps"] == 25
    before, after = (
        float(np.corrcoef(found.warp(moving, GEOMETRY).array.ravel(), fixed.array.ravel())[0, 1]) for found in (plain, refined)
    )
    assert after > before + 0.05
    assert refined.folding_percent == 0


def test_given_labels_steer_the_refinement(predictor, pair):
    """Both images are noise; the labels that were given lie two voxels apart."""
    rng = np.random.default_rng(4)
    noise = [Volume(rng.uniform(0, 1000, GEOMETRY.shape).astype(np.float32), GEOMETRY) for _ in range(2)]
    drawn = [LabelMap((image.array > 550).astype(np.uint32), GEOMETRY) for image in pair]
    given = {"fixed_labels": drawn[0], "moving_labels": drawn[1]}
    model = predictor(shift=(0.0, 0.0, 0.0))
    still, led = (register(*noise, model=model, refine=steps, **given) for steps in (0, 25))
    scores = [mean_dice(drawn[0], resample_labels(drawn[1], GEOMETRY, found.transform), 2) for found in (still, led)]
    assert scores[0] < 0.8
    assert scores[1] > 0.9
    assert led.guided_by == "1 label"
    assert not led.notices
    assert still.guided_by == ""
    assert [notice.code for notice in still.notices] == ["guide.unused"]
    assert register(*noise, model=model, refine=2, guide=False, **given).guided_by == ""


def test_the_fast_preset_refines_nothing_unless_asked(predictor, pair):
    model = predictor(refine=5)
    assert "refine" not in [step.name for step in register(*pair, model=model, preset="fast").steps]
    assert "refine" in [step.name for step in register(*pair, model=model, preset="fast", refine=2).steps]


def test_a_card_may_ask_for_a_last_part_on_the_images_own_grid(predictor, pair):
    """The network says half of the way, on voxels twice as large; no step on that grid tells as much as the images do."""
    fixed, moving = pair
    coarse = Grid(dims=3, spacing_mm=(2.0, 2.0, 2.0), multiple=(4, 4, 4))
    options = {"shift": (0.5, 0.0, 0.0), "grid": coarse}
    plain, whole = (register(fixed, moving, model=predictor(**options, finish=finish)) for finish in (False, True))
    assert [step.name for step in whole.steps][-2:] == ["inverse", "finish"]
    assert whole.steps[-1].facts["preset"] == "balanced"
    inside = np.argwhere(np.sqrt(((np.indices(GEOMETRY.shape) - 10.5) ** 2).sum(0)) < 7)
    points = GEOMETRY.index_to_world(inside)
    truth = GEOMETRY.index_to_world(inside + np.array([2, 0, 0]))
    away = [float(np.linalg.norm(found.transform.map_points(points) - truth, axis=1).mean()) for found in (plain, whole)]
    assert away[0] > 0.7
    assert away[1] < 0.3
    assert whole.folding_percent == 0
    assert whole.inverse_consistency_p95_mm < 0.1
    for asked in ({"refine": 0}, {"preset": "fast"}):
        assert "finish" not in [
            step.name for step in register(fixed, moving, model=predictor(**options, finish=True), **asked).steps
        ]


def test_what_a_model_cannot_do_is_not_asked_of_it(predictor, pair):
    mask = LabelMap(np.ones(GEOMETRY.shape, np.uint32), GEOMETRY)
    for options in ({"linear_only": True}, {"fixed_mask": mask}, {"moving_mask": mask}):
        with pytest.raises(UsageError) as caught:
            register(*pair, model=predictor(), **options)
        assert caught.value.code == "usage.combination"
    with pytest.raises(UsageError) as caught:
        register(*pair, model=predictor(), refine=-1)
    assert caught.value.code == "usage.refine"


def test_an_image_is_segmented_on_its_own_grid_and_measured(predictor, pair):
    found = segment_by_model(pair[0], predictor(levels=(0.3, 0.75)))
    expected = (pair[0].array > 300).astype(int) + (pair[0].array > 750)
    assert (found.labels.array != expected).mean() < 0.01
    assert found.volumes_cc["level-2"] == pytest.approx((expected == 2).sum() / 1000, rel=0.1)
    assert found.outside_percent == 0
    assert found.unlike is None
    assert found.confidence["level-1"] > 0.9


def test_what_lies_beyond_a_fixed_field_of_view_is_told(predictor, pair):
    grid = Grid(size=(12, 24, 24))
    found = segment_by_model(pair[0], predictor(grid=grid))
    assert found.outside_percent == pytest.approx(50, abs=1)


def test_images_of_another_kind_are_told_by_what_is_in_them(predictor, pair):
    model = predictor(levels=(0.3, 0.75), volumes_cc={"level-1": (0.5, 4.0)})
    assert unlike_images(model, *pair) is None
    empty = Volume(np.zeros(GEOMETRY.shape, np.float32), GEOMETRY)
    assert "level-1 measures 0 cm³" in str(unlike_images(model, pair[0], empty))


def test_scores_are_means_over_pairs_cases_and_labels(predictor, pair):
    fixed, moving = pair
    model = predictor(shift=(2.0, 0.0, 0.0), levels=(0.3, 0.75))
    labels = [segment_by_model(image, model).labels for image in pair]
    cases = [lambda: (moving, labels[1]), lambda: (fixed, labels[0])]
    assert segmentation_scores(model, cases)["dice"] == 1.0
    scores = registration_scores(model, cases, [(0, 1)], 0)
    assert scores["dice"] == mean_dice(
        labels[0], resample_labels(labels[1], GEOMETRY, register(fixed, moving, model=model).transform), 3
    )
    assert scores["dice"] > 0.95
    assert scores["folding_percent"] == 0


def test_visits_of_one_patient_are_paired_the_earlier_one_moves():
    assert visit_pairs(["a", "a", "b", "c", "c"]) == [(0, 1), (3, 4)]


def test_the_scored_pairs_are_always_the_same():
    pairs = scored_pairs(36, 40)
    assert len(set(pairs)) == 40
    assert pairs == scored_pairs(36, 40)
    assert all(a != b for a, b in pairs)
    assert len(scored_pairs(3, 40)) == 6


def test_a_model_for_one_task_only_says_so(predictor, pair):
    with pytest.raises(ModelError) as caught:
        segment_by_model(pair[0], predictor(levels=()))
    assert caught.value.code == "model.task"


PROGRAM = """
import sys
import numpy as np
from pathlib import Path
from jrscli.runtime.predict import Predictor
from jrscli.runtime.store import read_model
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume
from jrscli.workflows.register import register
image = Volume(np.random.default_rng(0).random((12, 12, 12), dtype=np.float32), Geometry((12, 12, 12), np.eye(4)))
register(image, image, model=Predictor(read_model(Path(sys.argv[1])), device="cpu"), refine=0)
print("torch" in sys.modules, "onnx" in sys.modules)
"""


def test_without_refinement_no_torch_is_imported(make_model, tmp_path):
    """Nor onnx, which is asked only where a graph may read further files or memory is short."""
    path = make_model(tmp_path)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False False"
