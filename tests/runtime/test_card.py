"""Cards: what they hold, and every way in which a file is not one."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from jrscli.errors import ExitCode, ModelError
from jrscli.runtime.card import Card, Field, Grid, Input, Score, Scores, Trained, Window, parse
from jrscli.runtime.plain import PlainError


@pytest.fixture(scope="module")
def card(make_model, tmp_path_factory):
    return Card.read(make_model(tmp_path_factory.mktemp("card")))


def test_a_card_comes_back_as_it_was_written(card, tmp_path):
    full = dataclasses.replace(
        card,
        field=Field(kind="velocity", squarings=5, scale=2),
        scores={"set": Scores("test", Score(40, {"dice": 0.85}), None, {"affine": {"dice": 0.6}})},
        trained=Trained("set", "CC0", "train", 3, "a.yaml", "0.1", "2026-01-01"),
        volumes_cc={"level-1": (0.5, 2.0)},
        requires=("moving_labels",),
        refine=30,
        limits=("one", "two"),
        cite="Nobody, 2026, °µ",
    )
    full.write(tmp_path / "tiny.yaml")
    assert Card.read(tmp_path / "tiny.yaml") == full


def test_a_second_segmenter_needs_a_first_one_and_shares_need_a_second(card):
    second = {**card.graphs, "second_segment": card.graphs["segment"]}
    golden = dataclasses.replace(
        card.golden, expected={**card.golden.expected, "second_segment": card.golden.expected["segment"]}
    )
    both = dataclasses.replace(card, graphs=second, golden=golden, second_share={"level-1": 1.0})
    assert both.second_share == {"level-1": 1.0}
    for changes in (
        {"second_share": {"level-9": 1.0}},
        {"second_share": {"level-1": 1.5}},
        {"graphs": card.graphs, "golden": card.golden},
        {"graphs": _without_first(second), "golden": dataclasses.replace(golden, expected=_without_first(golden.expected))},
    ):
        with pytest.raises(PlainError, match="second"):
            dataclasses.replace(both, **changes)


def _without_first(found):
    return {name: value for name, value in found.items() if name != "segment"}


def refusal(text: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        parse(text.encode(), "tiny.yaml")
    assert caught.value.exit_code == ExitCode.MODEL
    assert caught.value.hint
    return caught.value


def changed(card: Card, path: str, value: object) -> str:
    """The card's YAML with one key set (or dropped, for None)."""
    tree = yaml.safe_load(card.as_yaml())
    *parents, last = path.split(".")
    node = tree
    for part in parents:
        node = node.setdefault(part, {})
    if value is None:
        del node[last]
    else:
        node[last] = value
    return yaml.safe_dump(tree)


@pytest.mark.parametrize(
    "path", ["colour", "grid.spacing", "graphs.register.inputs.fixed.gain", "golden.tensors", "field.sign"]
)
def test_an_unknown_key_is_an_error_wherever_it_stands(card, path):
    error = refusal(changed(card, path, 1))
    assert error.code == "card.invalid"
    assert path in error.message


@pytest.mark.parametrize("path", ["name", "grid", "golden.seed", "graphs.segment.sha256", "use"])
def test_a_missing_key_is_named(card, path):
    assert f"{path} is missing" in refusal(changed(card, path, None)).message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "Tiny Model"),
        ("refine", -1),
        ("refine", 2.5),
        ("refine", True),
        ("finish", "yes"),
        ("use", "for clinical use"),
        ("grid.dims", 4),
        ("grid.orientation", "RAP"),
        ("grid.spacing_mm", [1, 1]),
        ("grid.spacing_mm", [1, 1, 0]),
        ("grid.centre", "corner"),
        ("grid.start", "somewhere"),
        ("grid.patch", [8, 8, 8]),
        ("graphs.register.file", "../elsewhere.onnx"),
        ("graphs.register.file", "/etc/passwd.onnx"),
        ("graphs.register.file", "graph.so"),
        ("graphs.register.sha256", "ABC"),
        ("graphs.register.inputs", {"target": {}}),
        ("graphs.register.outputs", {"flow": {"units": "voxels"}}),
        ("graphs.register.inputs.fixed.window", {"percentiles": [1, 99], "zscore": True}),
        ("graphs.register.inputs.fixed.range", [1, 0]),
        ("graphs.other", {}),
        ("golden.expected.register", {}),
        ("labels", ["background"]),
        ("requires", ["luck"]),
        ("field.kind", "spline"),
        ("volumes_cc", {"liver": [1, 2]}),
        ("scores", [1]),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(card, path, value):
    assert refusal(changed(card, path, value)).code == "card.invalid"


@pytest.mark.parametrize(
    "text",
    [
        "name: a\nname: b\n",
        "a: &x [1, 2]\nb: *x\n",
        "a: !!python/object/apply:os.system [ls]\n",
        "a: [1, 2\n",
        "\x00",
    ],
)
def test_yaml_that_is_more_or_less_than_plain_is_refused(text):
    assert refusal(text).code == "card.unreadable"


@pytest.mark.parametrize("text", ["", "just words", "- a\n- b\n"])
def test_a_file_without_keys_is_no_card(text):
    assert refusal(text).code == "card.invalid"


def test_small_numbers_are_numbers_however_yaml_takes_them(card):
    text = changed(card, "golden.expected.register.displacement.mean", "1e-4")
    assert parse(text.encode(), "tiny.yaml").golden.expected["register"]["displacement"].mean == 1e-4


def test_a_card_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(ModelError) as caught:
        Card.read(tmp_path / "none.yaml")
    assert caught.value.code == "card.unreadable"


def test_what_a_model_does_is_read_from_its_outputs(make_model, tmp_path):
    spec = Input(modality=("CT",), window=Window(values=(-200, 200)))
    alone = Card.read(make_model(tmp_path, levels=(), spec=spec))
    assert (alone.registers, alone.segments, alone.modalities) == (True, False, ("CT",))


def test_a_graph_that_looks_at_maps_needs_the_graph_that_makes_them(card):
    tree = yaml.safe_load(card.as_yaml())
    for part in (tree["graphs"], tree["golden"]["expected"]):
        part["align"] = part.pop("register")
    assert "align needs the graph transform" in refusal(yaml.safe_dump(tree)).message


def test_a_grid_needs_a_size():
    with pytest.raises(PlainError):
        Grid()
