"""A model that aligns maps of the images is refined on these maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jrscli.runtime.card import Input, Window
from jrscli.runtime.predict import Predictor
from jrscli.runtime.store import read_model
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume
from jrscli.workflows.register import register

GRID = Geometry((24, 22, 20), np.diag([-1.0, -1.0, 1.0, 1.0]))


@pytest.fixture
def predictor(make_model, tmp_path) -> Predictor:
    """A model that moves nothing."""
    path = make_model(tmp_path, spec=Input(window=Window(values=(0, 1000))), shift=(0.0, 0.0, 0.0))
    return Predictor(read_model(path), device="cpu", threads=1)


def test_the_maps_lead_and_not_the_images(predictor, monkeypatch):
    """The images are the same; the maps are three voxels apart."""
    rng = np.random.default_rng(0)
    image = Volume(gaussian_filter(1000 * rng.random(GRID.shape, np.float32), 1), GRID)
    by_network = predictor.register

    def with_maps(pair, **options):
        found = by_network(pair, **options)
        fixed = np.zeros((1, *found.array.shape[1:]), np.float32)
        fixed[:, 8:16, 6:16, 6:14] = 1
        return replace(found, maps={"fixed": fixed, "moving": np.roll(fixed, 3, axis=1)})

    monkeypatch.setattr(predictor, "register", with_maps)
    found = register(image, image, model=predictor, init="header", refine=40)
    assert found.steps[-2].facts["guided"] == "maps"
    middle = GRID.index_to_world(np.array([[11.5, 10.5, 9.5]]))
    moved = GRID.world_to_index(found.transform.map_points(middle)) - [11.5, 10.5, 9.5]
    assert 1.0 < moved[0, 0] < 4.0
    assert np.abs(moved[0, 1:]).max() < 1.0
