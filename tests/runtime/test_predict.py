"""From volumes to a field or labels in the patient, whatever the grids of the images."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.errors import ExitCode, InputError, ModelError
from jrscli.runtime.card import Field, Grid, Input, Window
from jrscli.runtime.pair import letters_of
from jrscli.runtime.predict import Predictor, doubt
from jrscli.runtime.probabilities import Probabilities, mixed, softmax
from jrscli.runtime.store import read_model
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume


@pytest.fixture
def predictor(make_model, tmp_path):
    """``predictor(**what make_model takes)``."""

    def load(**options) -> Predictor:
        return Predictor(read_model(make_model(tmp_path, **options)), device="cpu", threads=1)

    return load


def shifted(volume: Volume, voxels: tuple[int, int, int]) -> Volume:
    """The same image on a grid that lies elsewhere in the patient and has other borders."""
    return Volume(
        volume.array, Geometry(volume.geometry.shape, volume.geometry.affine + np.array([[0, 0, 0, v] for v in (*voxels, 0)]))
    )


def test_one_voxel_of_the_network_is_one_voxel_in_the_patient(predictor, geometry, blob):
    """However the image lies: a field of one voxel along the network's first axis points to the patient's right."""
    image = blob(geometry)
    found = predictor(grid=Grid(orientation="RAS", multiple=(4, 4, 4)))
    pair = found.pair(image, image)
    field, back = found.register(pair).both_ways()
    moved = Transform((field, pair.start)).map_points(geometry.centre_mm[None])[0] - geometry.centre_mm
    right = pair.fixed_grid.affine[:3, 0]
    assert np.allclose(moved, right, atol=1e-3)
    assert right[0] < 0
    assert np.allclose(back.map_points(field.map_points(geometry.centre_mm[None])), geometry.centre_mm, atol=0.02)


def test_images_of_other_places_and_sizes_are_laid_upon_each_other_voxel_on_voxel(predictor, oblique):
    rng = np.random.default_rng(0)
    fixed = Volume(rng.random((13, 12, 10), dtype=np.float32), oblique.cropped_to((0, 0, 0), (13, 12, 10)))
    moving = shifted(
        Volume(rng.random((14, 17, 11), dtype=np.float32), oblique.cropped_to((0, 0, 0), (14, 17, 11))), (90, -40, 7)
    )
    pair = predictor(grid=Grid(orientation=None, multiple=(4, 4, 4))).pair(fixed, moving)
    assert pair.fixed.shape == pair.moving.shape == (1, 16, 20, 12)
    assert np.allclose(pair.moving[0, 1:15, 1:18, :11], moving.array / moving.array.max(), atol=0.01)
    assert np.allclose(pair.start.matrix[:3, :3], np.eye(3))
    index = moving.geometry.world_to_index(pair.start.map_points(fixed.geometry.index_to_world(np.zeros((1, 3)))))
    assert np.allclose(index, np.round(index), atol=1e-6)


def test_images_askew_to_one_another_are_shifted_and_not_turned(predictor, blob):
    straight = Geometry((14, 12, 10), np.eye(4))
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    turned[:3, 3] = (30, 0, 0)
    moving = blob(Geometry((14, 12, 10), turned))
    pair = predictor().pair(blob(straight), moving)
    assert np.allclose(pair.start.matrix[:3, :3], np.eye(3))
    assert np.allclose(pair.start.map_points(straight.centre_mm[None])[0], moving.geometry.centre_mm, atol=1.0)


def test_a_given_start_is_kept_and_so_is_the_header(predictor, blob, oblique):
    image = blob(oblique)
    start = AffineTransform.about(np.eye(3), np.zeros(3), np.array([3.0, 0.0, -2.0]))
    assert predictor().pair(image, image, start).start is start
    header = predictor(grid=Grid(multiple=(4, 4, 4), start="header")).pair(image, shifted(image, (5, 5, 5)))
    assert np.allclose(header.start.matrix, np.eye(4))


def test_labels_come_back_on_the_grid_of_the_image(predictor, geometry, blob):
    """Where the network sees grey values above 0.3 and 0.7 of the range, on every orientation."""
    image = blob(geometry)
    labels = predictor(spec=Input(window=Window(values=(0, 1000)))).segment(image).labels(geometry)
    expected = (image.array > 300).astype(int) + (image.array > 700)
    assert (labels.array != expected).mean() < 0.002
    assert dict(labels.names) == {1: "level-1", 2: "level-2"}


def test_labels_on_a_coarser_network_grid_are_interpolated_back(predictor, blob):
    geometry = Geometry((30, 28, 26), np.eye(4))
    image = blob(geometry)
    grid = Grid(spacing_mm=(2, 2, 2), multiple=(4, 4, 4))
    labels = predictor(spec=Input(window=Window(values=(0, 1000))), grid=grid).segment(image).labels(geometry)
    expected = image.array > 300
    found = labels.array > 0
    assert 2 * (expected & found).sum() / (expected.sum() + found.sum()) > 0.93


def test_softmax_does_not_overflow_and_confidence_is_of_what_wins():
    logits = np.zeros((2, 2, 1, 1), np.float32)
    logits[1, 1] = 1000
    maps = softmax(logits)
    assert maps.sum(axis=0).ravel().tolist() == [1, 1]
    assert Probabilities(maps, Geometry((2, 1, 1), np.eye(4)), ("background", "organ")).confidence() == {"organ": 1.0}


def test_maps_of_two_segmenters_add_up_to_one_whatever_the_shares(blob, oblique):
    """Also where each is sure of a label that is the other's to decide."""
    maps = np.zeros((2, 3, 2, 2, 2), np.float32)
    maps[0, 1], maps[1, 2] = 1, 1
    maps[:, :, 0] = np.array([0.5, 0.25, 0.25])[:, None, None]
    geometry = oblique.cropped_to((0, 0, 0), (2, 2, 2))
    one, other = (Probabilities(array, geometry, ("background", "a", "b")) for array in maps)
    found = mixed(one, other, (0.5, 1.0, 0.0)).array
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(found[:, 1, 0, 0], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found[:, 0, 0, 0], [0.5, 0.25, 0.25], atol=1e-5)
    np.testing.assert_allclose(mixed(one, other, (0.5, 0.0, 0.75)).array[:, 1, 0, 0], [0, 1 / 1.75, 0.75 / 1.75], atol=1e-5)


def test_both_images_are_segmented_on_the_grid_of_the_pair(predictor, blob, oblique):
    found = predictor()
    moving = shifted(blob(oblique), (50, 0, 0))
    pair = found.pair(blob(oblique), moving)
    fixed_maps, moving_maps = found.segment_pair(pair, blob(oblique), moving)
    assert fixed_maps.geometry is pair.fixed_grid
    assert np.array_equal(fixed_maps.array, moving_maps.array)
    elsewhere = found.pair(blob(oblique), moving, AffineTransform.about(np.eye(3), np.zeros(3), np.array([50.0, 0, 0])))
    again = found.segment_pair(elsewhere, blob(oblique), moving)[1]
    assert np.abs(again.array - moving_maps.array).max() < 0.01


def test_a_model_for_slices_moves_nothing_across_them(predictor, blob, oblique):
    found = predictor(grid=Grid(dims=2, orientation=None, multiple=(4, 4, 1)), shift=(1.0, 2.0, 9.0))
    field = found.register(found.pair(blob(oblique), blob(oblique)))
    assert field.array.shape[1:] == (16, 12, 10)
    assert field.array[:, 3, 3, 3].tolist() == [1.0, 2.0, 0.0]


def test_a_region_velocity_takes_the_regions_of_the_labels_it_was_given(make_labelled, oblique, blob):
    predictor, labels = make_labelled(Field(kind="region_velocity", squarings=4))
    image = blob(oblique)
    pair = predictor.pair(image, image)
    found = predictor.register(pair, fixed_labels=labels, moving_labels=labels).array
    assert np.allclose(found[0, 1:8, 5, 5], 2.0)  # one voxel of padding, then the seven of the label
    assert np.allclose(found[0, 8:, 5, 5], 0.0)


@pytest.fixture
def make_labelled(make_model, tmp_path, oblique):
    """A model that asks for the labels of both images, and such labels."""
    import dataclasses
    import hashlib

    from onnx import TensorProto, helper, numpy_helper

    def make(field: Field = Field()) -> tuple[Predictor, LabelMap]:
        model = read_model(make_model(tmp_path, grid=Grid(orientation=None, multiple=(4, 4, 4))))
        names = {"fixed": 1, "moving": 1, "fixed_labels": 3, "moving_labels": 3}
        takes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, "i", "j", "k"]) for n, c in names.items()]
        gives = [helper.make_tensor_value_info("velocity", TensorProto.FLOAT, [1, 9, "i", "j", "k"])]
        weights = numpy_helper.from_array(np.zeros((9, 8, 1, 1, 1), np.float32), "w")
        bias = numpy_helper.from_array(np.array([0, 0, 0, 2, 0, 0, 0, 0, 0], np.float32), "b")
        nodes = [
            helper.make_node("Concat", list(names), ["all"], axis=1),
            helper.make_node("Conv", ["all", "w", "b"], ["velocity"]),
        ]
        graph = helper.make_graph(nodes, "g", takes, gives, [weights, bias])
        data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
        (tmp_path / "tiny-register.onnx").write_bytes(data)
        old = model.card.graphs["register"]
        spec = {"fixed_labels": Input(channels=3), "moving_labels": Input(channels=3)}
        new = dataclasses.replace(
            old,
            sha256=hashlib.sha256(data).hexdigest(),
            inputs={**old.inputs, **spec},
            outputs={"velocity": dataclasses.replace(old.outputs["displacement"], channels=9)},
        )
        expected = {"register": {"velocity": model.card.golden.expected["register"]["displacement"]}}
        golden = dataclasses.replace(model.card.golden, expected=expected)
        card = dataclasses.replace(model.card, graphs={"register": new}, field=field, golden=golden)
        array = np.zeros(oblique.shape, np.uint32)
        array[:7] = 1
        return Predictor(dataclasses.replace(model, card=card), device="cpu", threads=1), LabelMap(array, oblique)

    return make


def test_a_missing_role_names_the_option_that_supplies_it(make_labelled, blob, oblique):
    predictor, labels = make_labelled()
    pair = predictor.pair(blob(oblique), blob(oblique))
    with pytest.raises(InputError) as caught:
        predictor.register(pair, fixed_labels=labels)
    assert (caught.value.code, caught.value.exit_code) == ("role.missing", ExitCode.INPUT)
    assert "--moving-labels" in caught.value.hint


def test_labels_it_found_itself_are_cleaned_up_as_the_card_says(make_labelled, oblique, blob, monkeypatch):
    """A lone voxel far from the rest of its label is background for the graph; labels that a user gives stay as they are."""
    import dataclasses

    predictor, given = make_labelled(Field(kind="region_velocity"))
    predictor.card = dataclasses.replace(predictor.card, clean_up=0.1)
    pair = predictor.pair(blob(oblique), blob(oblique))
    numbers = np.zeros(pair.fixed_grid.shape, int)
    numbers[:3, :3, :3] = numbers[-1, -1, -1] = 1
    seen = {}
    real = predictor.runner.run
    monkeypatch.setattr(predictor.runner, "run", lambda graph, inputs, *rest: seen.update(inputs) or real(graph, inputs, *rest))
    found = doubtful(numbers, 0.9)
    predictor.register(pair, moving_labels=given, fixed_probabilities=found, moving_probabilities=found)
    assert seen["fixed_labels"][1].sum() == 27
    assert seen["fixed_labels"][0, -1, -1, -1] == 1
    assert seen["moving_labels"][1].sum() > 27


def test_a_model_is_not_asked_for_what_it_cannot_do(predictor, blob, oblique):
    with pytest.raises(ModelError) as caught:
        predictor(levels=()).segment(blob(oblique))
    assert caught.value.code == "model.task"


def test_letters_say_where_axes_point(geometry):
    assert np.allclose(geometry.oriented(letters_of(geometry)).affine, geometry.affine)


def doubtful(array, confidence):
    maps = np.where(np.asarray(array)[None] == np.arange(3)[:, None, None, None], confidence, (1 - confidence) / 2)
    return Probabilities(maps.astype(np.float32), Geometry(np.shape(array), np.eye(4)), ("background", "a", "b"))


def test_labels_are_doubtful_where_one_is_missing_or_none_is_sure():
    array = np.zeros((6, 5, 4), int)
    array[1], array[2] = 1, 2
    regions = (array[None] == np.arange(3)[:, None, None, None]).astype(np.float32)
    assert doubt(regions, doubtful(array, 0.9)) is None
    assert doubt(regions, None) is None
    assert "0.60 sure" in doubt(regions, doubtful(array, 0.6))
    regions[0] += regions[2]
    regions[2] = 0
    assert doubt(regions, None) == "region 2 of 3 is empty"
