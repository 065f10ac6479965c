"""Tiles: they cover everything, blend without seams, and come where memory is short."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jrscli.errors import JrsError
from jrscli.runtime.card import Grid
from jrscli.runtime.memory import estimate_bytes, free_bytes
from jrscli.runtime.runner import Runner
from jrscli.runtime.store import read_model
from jrscli.runtime.tiles import run_tiled, starts, window


@given(step=st.sampled_from([1, 4, 8]), patch=st.integers(1, 8), overlap=st.integers(0, 7), more=st.integers(0, 12))
def test_tiles_cover_the_axis_and_overlap(step, patch, overlap, more):
    patch, size = 8 * patch, 8 * (patch + more)
    overlap = min(overlap, patch - step)
    found = starts(size, patch, overlap, step)
    assert found[0] == 0
    assert found[-1] == size - patch
    assert all(corner % step == 0 for corner in found)
    assert all(later - earlier <= patch - overlap for earlier, later in pairwise(found))


def test_no_voxel_of_a_tile_counts_nothing():
    found = window((8, 6, 4), (3, 2, 0))
    assert found.shape == (8, 6, 4)
    assert found.min() > 0
    assert found.max() == 1


def test_a_graph_that_looks_at_one_voxel_gives_the_same_in_tiles():
    image = np.random.default_rng(0).random((1, 2, 20, 16, 12), dtype=np.float32)
    found = run_tiled(lambda part: {"y": 2 * part["x"] + 1}, {"x": image}, (8, 8, 8), (3, 2, 4))
    assert np.allclose(found["y"], 2 * image + 1, atol=1e-5)


def test_an_output_twice_as_coarse_fits_together():
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32).reshape(1, 1, 32, 1, 1), (1, 1, 32, 16, 16))
    found = run_tiled(lambda part: {"y": part["x"][:, :, ::2, ::2, ::2]}, {"x": ramp}, (16, 16, 16), (6, 6, 6), (4, 4, 4))
    assert np.allclose(found["y"], ramp[:, :, ::2, ::2, ::2])


def test_the_estimate_counts_what_is_alive(make_model, tmp_path):
    """Input, the concatenated pair and the output of a graph of two nodes: about three tensors."""
    model = read_model(make_model(tmp_path))
    small, large = (estimate_bytes(model.graph_file("register")[0], (n, n, n)) for n in (32, 64))
    assert 7 < large / small < 9
    assert 2 * 4 * 64**3 < large < 12 * 4 * 64**3


def test_the_free_memory_is_known_on_linux():
    free = free_bytes()
    assert free is None or free > 1_000_000


def test_memory_decides_between_whole_tiles_and_refusal(make_model, tmp_path):
    grid = Grid(orientation=None, multiple=(8, 8, 8), patch=(16, 16, 16), overlap=(4, 4, 4))
    model = read_model(make_model(tmp_path, grid=grid))
    image = np.random.default_rng(0).random((1, 32, 32, 32), dtype=np.float32)
    calls = []

    def watched(memory: int) -> dict[str, np.ndarray]:
        runner = Runner(model, device="cpu", threads=1, memory_bytes=memory)
        session = runner.session("segment")
        run = session.run
        session.run = lambda batch: calls.append(batch["image"].shape[2:]) or run(batch)  # type: ignore[method-assign]
        calls.clear()
        return runner.run("segment", {"image": image})

    whole = watched(100_000_000)
    assert calls == [(32, 32, 32)]
    tiled = watched(400_000)
    assert set(calls) == {(16, 16, 16)}
    assert len(calls) == 27
    assert np.allclose(whole["logits"], tiled["logits"], atol=1e-4)
    with pytest.raises(JrsError) as caught:
        watched(10_000)
    assert caught.value.code == "memory"


def test_a_static_graph_is_tiled_over_a_larger_image(make_model, tmp_path):
    grid = Grid(orientation=None, size=(16, 16, 16), patch=(16, 16, 16), overlap=(4, 4, 4))
    runner = Runner(read_model(make_model(tmp_path, grid=grid)), device="cpu", threads=1)
    assert runner.run("segment", {"image": np.ones((1, 20, 16, 16), np.float32)})["logits"].shape == (3, 20, 16, 16)


def test_a_flat_model_takes_slice_after_slice(make_model, tmp_path):
    grid = Grid(dims=2, orientation=None, multiple=(4, 4, 1))
    runner = Runner(read_model(make_model(tmp_path, grid=grid)), device="cpu", threads=1)
    image = np.stack([np.full((8, 8), level, np.float32) for level in (0.0, 0.5, 1.0)], axis=-1)[None]
    logits = runner.run("segment", {"image": image})["logits"]
    assert logits.shape == (3, 8, 8, 3)
    assert logits.argmax(axis=0)[4, 4].tolist() == [0, 1, 2]
