"""Models that stay loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jrscli.runtime import warm
from jrscli.runtime.store import read_model


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_kept", None)


def test_a_model_is_loaded_once_where_models_are_kept(make_model: Callable[..., Path], tmp_path: Path) -> None:
    model = read_model(make_model(tmp_path, "tiny"))
    assert warm.predictor_of(model) is not warm.predictor_of(model)
    warm.keep_loaded()
    first = warm.predictor_of(model)
    assert warm.predictor_of(model) is first
    assert warm.predictor_of(model, threads=1) is not first


def test_a_changed_model_is_another_one(make_model: Callable[..., Path], tmp_path: Path) -> None:
    warm.keep_loaded()
    first = warm.predictor_of(read_model(make_model(tmp_path, "tiny")))
    assert warm.predictor_of(read_model(make_model(tmp_path, "tiny", shift=(2.0, 0.0, 0.0)))) is not first


def test_only_a_few_are_kept(make_model: Callable[..., Path], tmp_path: Path) -> None:
    warm.keep_loaded()
    model = read_model(make_model(tmp_path, "tiny"))
    first = warm.predictor_of(model, threads=1)
    for threads in range(2, 2 + warm.MOST):
        warm.predictor_of(model, threads=threads)
    assert warm.predictor_of(model, threads=1) is not first
