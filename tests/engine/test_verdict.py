"""The linear stage knows when its answer is chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from jrscli.engine.linear import align
from jrscli.engine.prepare import scaled
from jrscli.engine.verdict import verdict
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume

GOOD = {"overlap": 0.8, "standout": 20.0, "agreement": 0.9, "starts": 14}


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"overlap": 0.05}, "overlap"),
        ({"standout": 1.0}, "random"),
        ({"agreement": 0.15, "standout": 30.0}, "2 of 14 starts"),
        ({"agreement": 0.34, "starts": 3}, "1 of 3 starts"),
    ],
)
def test_every_doubt_is_named(facts: dict[str, float], word: str) -> None:
    said = verdict(**{**GOOD, **facts})  # type: ignore[arg-type]
    assert said is not None
    assert word in said


@pytest.mark.parametrize("facts", [{}, {"agreement": 0.33}, {"starts": 1, "agreement": 1.0}])
def test_what_is_found_again_is_trusted(facts: dict[str, float]) -> None:
    assert verdict(**{**GOOD, **facts}) is None  # type: ignore[arg-type]


def test_unrelated_images_are_a_failure(head: Volume) -> None:
    rng = np.random.default_rng(11)
    texture = gaussian_filter(rng.standard_normal((40, 20, 30)), 3)
    other = Volume((texture - texture.min()).astype(np.float32), Geometry(texture.shape, np.diag([3.0, 3.0, 3.0, 1.0])))
    assert align(scaled(head), scaled(other), device=torch.device("cpu")).failed is not None
