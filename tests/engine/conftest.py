"""A pair with texture: two views of one object whose relation is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import Volume


@pytest.fixture(scope="session")
def head() -> Volume:
    """An ellipsoid with a rim, an off-centre core and smooth texture; oblique anisotropic voxels; grey values 0 … 1000."""
    angle = np.radians(15)
    axes = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array([2.0, 2.0, 3.0])
    affine[:3, 3] = (-40, 30, 100)
    shape = (36, 40, 26)
    i, j, k = (np.indices(shape) - (np.array(shape) - 1).reshape(3, 1, 1, 1) / 2) * np.array([2, 2, 3]).reshape(3, 1, 1, 1)
    distance = np.sqrt((i / 26) ** 2 + (j / 30) ** 2 + (k / 28) ** 2)
    core = ((i - 8) / 8) ** 2 + ((j + 6) / 11) ** 2 + ((k - 5) / 9) ** 2 < 1
    texture = gaussian_filter(np.random.default_rng(3).standard_normal(shape), 1.5)
    grey = 400.0 * (distance < 1) + 400.0 * ((distance < 1) & (distance > 0.85)) + 300.0 * core
    grey += 150 * texture / texture.std() * (distance < 1) * 0.5
    return Volume(gaussian_filter(grey, 0.7).clip(0, 1000).astype(np.float32), Geometry(shape, affine))
