"""Loaded graphs: what they compute, what is refused, and which provider is believed."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import onnxruntime
import pytest

from jrscli.errors import ModelError, ProviderError, UsageError
from jrscli.runtime import providers
from jrscli.runtime.golden import check_golden, golden_inputs, statistics
from jrscli.runtime.runner import Runner
from jrscli.runtime.session import Session
from jrscli.runtime.store import Model, read_model


@pytest.fixture(scope="module")
def model(make_model, tmp_path_factory) -> Model:
    return read_model(make_model(tmp_path_factory.mktemp("session"), shift=(1.0, -2.0, 0.5)))


def test_a_graph_takes_and_gives_arrays_by_role(model):
    ones = np.ones((1, 1, 4, 5, 6), np.float32)
    found = Session(model, "register", "cpu", 1).run({"fixed": ones, "moving": ones})
    assert list(found) == ["displacement"]
    assert found["displacement"].shape == (1, 3, 4, 5, 6)
    assert found["displacement"][0, :, 0, 0, 0].tolist() == [1.0, -2.0, 0.5]


def test_inputs_that_are_not_the_cards_are_refused(model):
    graph = dataclasses.replace(model.card.graphs["segment"], inputs={"fixed": model.card.graphs["segment"].inputs["image"]})
    other = dataclasses.replace(model, card=dataclasses.replace(model.card, graphs={**model.card.graphs, "segment": graph}))
    with pytest.raises(ModelError, match="takes image where its card says fixed") as caught:
        Session(other, "segment", "cpu", 1)
    assert caught.value.code == "model.graph"


@pytest.mark.parametrize("data", [b"", b"no graph at all", b"\x08\x07"])
def test_what_is_no_graph_is_refused_even_with_the_right_hash(make_model, tmp_path, data):
    model = read_model(make_model(tmp_path))
    (tmp_path / "tiny-segment.onnx").write_bytes(data)
    graph = dataclasses.replace(model.card.graphs["segment"], sha256=hashlib.sha256(data).hexdigest())
    card = dataclasses.replace(model.card, graphs={**model.card.graphs, "segment": graph})
    with pytest.raises(ModelError) as caught:
        Session(dataclasses.replace(model, card=card), "segment", "cpu", 1)
    assert caught.value.code == "model.graph"
    assert "\n" not in caught.value.message


def test_a_run_that_fails_is_an_error_with_the_graphs_name(model):
    with pytest.raises(ModelError) as caught:
        Session(model, "segment", "cpu", 1).run({"image": np.ones((1, 2, 4, 4, 4), np.float32)})
    assert caught.value.code == "model.run"
    assert "tiny-segment.onnx" in caught.value.message


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "cuda:x"])
def test_an_unknown_device_is_a_usage_error(model, device):
    with pytest.raises(UsageError) as caught:
        Session(model, "segment", device, 1)
    assert caught.value.code == "usage.device"


def pretend_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that claims CUDA and a session that runs on the CPU all the same, as onnxruntime does."""
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [providers.CUDA, providers.CPU])
    monkeypatch.setattr(providers, "gpu_is_visible", lambda: True)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda source, options, providers: real(source, options, ["CPUExecutionProvider"])
    )


def test_a_session_that_fell_back_to_the_cpu_is_not_believed(model, monkeypatch):
    pretend_cuda(monkeypatch)
    with pytest.raises(ProviderError) as caught:
        Session(model, "segment", "cuda", 1)
    assert caught.value.code == "provider.cuda"
    assert "runs on CPU" in caught.value.message


def test_auto_says_when_a_gpu_is_there_but_of_no_use(model, monkeypatch):
    pretend_cuda(monkeypatch)
    session = Session(model, "segment", "auto", 1)
    assert session.device == "cpu"
    assert [notice.code for notice in session.notices] == ["provider.cpu"]


def test_without_a_gpu_auto_is_the_cpu_and_says_nothing(model, monkeypatch):
    monkeypatch.setattr(providers, "gpu_is_visible", lambda: False)
    session = Session(model, "segment", "auto", 1)
    assert (session.device, session.notices) == ("cpu", ())


def test_a_device_that_computes_something_else_is_refused(model, monkeypatch):
    """On a GPU every graph has to pass its golden run before it is used."""
    shifted = statistics(np.array([0.0, 5.0]))
    golden = dataclasses.replace(model.card.golden, expected={**model.card.golden.expected, "segment": {"logits": shifted}})
    wrong = dataclasses.replace(model, card=dataclasses.replace(model.card, golden=golden))
    real = Session(wrong, "segment", "cpu", 1)
    real.device = "cuda:0"
    monkeypatch.setattr("jrscli.runtime.runner.Session", lambda *_: real)
    with pytest.raises(ProviderError) as caught:
        Runner(wrong).session("segment")
    assert caught.value.code == "provider.golden"


def test_the_golden_run_passes_for_the_model_as_it_was_made(model):
    for graph in model.card.graphs:
        check_golden(Session(model, graph, "cpu", 1))


def test_another_graph_fails_the_golden_run_though_its_hash_is_right(make_model, tmp_path):
    good = read_model(make_model(tmp_path / "a"))
    other = read_model(make_model(tmp_path / "b", shift=(1.1, 0.0, 0.0)))
    swapped = dataclasses.replace(other, card=dataclasses.replace(other.card, golden=good.card.golden))
    with pytest.raises(ModelError) as caught:
        check_golden(Session(swapped, "register", "cpu", 1))
    assert caught.value.code == "model.golden"


def test_golden_inputs_never_change(model):
    """The same numbers on every machine and with every numpy, or cards of old would no longer be right."""
    arrays = golden_inputs(model.card, "register")
    assert [array.shape for array in arrays.values()] == [(1, 1, 8, 12, 8)] * 2
    digest = hashlib.sha256(b"".join(array.astype("<f4").tobytes() for array in arrays.values())).hexdigest()
    assert digest[:16] == GOLDEN_DIGEST
    assert not np.array_equal(arrays["fixed"], arrays["moving"])


GOLDEN_DIGEST = "6df74d4effa0cf65"
