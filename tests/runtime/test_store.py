"""Models on disk: found by name, checked before anything of them is believed."""

from __future__ import annotations

import hashlib

import pytest

from jrscli.errors import ExitCode, ModelError
from jrscli.runtime import store
from jrscli.runtime.store import all_models, find_model, read_model


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty user folder and an empty bundled one."""
    monkeypatch.setenv("JRS_MODELS", str(tmp_path / "user"))
    monkeypatch.setattr(store, "bundled_folder", lambda: tmp_path / "bundled")
    return tmp_path / "user", tmp_path / "bundled"


def refused(code: str, call, *arguments) -> ModelError:
    with pytest.raises(ModelError) as caught:
        call(*arguments)
    assert caught.value.code == code
    assert caught.value.exit_code == ExitCode.MODEL
    assert caught.value.hint
    return caught.value


def test_the_users_model_wins_over_the_bundled_one(folders, make_model):
    user, bundled = folders
    make_model(bundled, version="1.0")
    make_model(user / "tiny", version="2.0")
    make_model(bundled, "other")
    assert find_model("tiny").title == "tiny@2.0"
    models, broken = all_models()
    assert [(model.card.name, model.origin) for model in models] == [("other", "bundled"), ("tiny", "user")]
    assert broken == []


def test_a_model_is_named_by_the_hash_of_its_card(make_model, tmp_path):
    path = make_model(tmp_path)
    assert read_model(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_unknown_name_brings_near_ones(folders, make_model):
    make_model(folders[1], "hippocampus-jrs")
    assert "hippocampus-jrs" in refused("model.unknown", find_model, "hipocampus-jrs").hint


def test_a_broken_card_does_not_hide_the_others(folders, make_model):
    make_model(folders[1])
    broken = make_model(folders[1], "broken")
    broken.write_text(broken.read_text("utf-8") + "mood: good\n", "utf-8")
    (folders[1] / "tiny-settings.yaml").write_text("training: {seed: 1}\n", "utf-8")
    models, errors = all_models()
    assert [model.card.name for model in models] == ["tiny"]
    assert [error.code for error in errors] == ["card.invalid"]


def test_a_card_under_another_name_is_refused(make_model, tmp_path):
    path = make_model(tmp_path)
    refused("card.name", read_model, path.rename(tmp_path / "better.yaml"))


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_a_truncated_graph_is_refused(make_model, tmp_path, keep):
    model = read_model(make_model(tmp_path))
    graph = tmp_path / "tiny-segment.onnx"
    graph.write_bytes(graph.read_bytes()[:keep])
    refused("model.sha256", model.graph_file, "segment")


def test_an_altered_graph_is_refused(make_model, tmp_path):
    model = read_model(make_model(tmp_path))
    graph = tmp_path / "tiny-segment.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    refused("model.sha256", model.check_files)


def test_a_missing_graph_is_refused(make_model, tmp_path):
    model = read_model(make_model(tmp_path))
    (tmp_path / "tiny-register.onnx").unlink()
    refused("model.missing", model.graph_file, "register")


def test_a_link_that_leaves_the_folder_is_refused(make_model, tmp_path):
    model = read_model(make_model(tmp_path / "model"))
    graph = tmp_path / "model" / "tiny-register.onnx"
    graph.rename(tmp_path / "outside.onnx")
    graph.symlink_to(tmp_path / "outside.onnx")
    refused("model.external_data", model.graph_file, "register")
