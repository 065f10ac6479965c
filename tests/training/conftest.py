"""A study to train on in seconds: bright ellipsoids, two labels, other places and sizes in every patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from jrscli.io import write_image, write_labels
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.volume import LabelMap, Volume

SHAPE = (28, 30, 26)
NAMES = ("background", "left", "right")


def phantom(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """An image and its labels."""
    rng = np.random.default_rng(seed)
    index = np.indices(shape).astype(float)
    labels = np.zeros(shape, np.uint32)
    for label, side in ((1, 0.32), (2, 0.68)):
        middle = np.array([side, 0.5, 0.5]) * shape + rng.uniform(-1.5, 1.5, 3)
        radii = np.minimum(np.array([4.0, 6.0, 5.0]) * rng.uniform(0.85, 1.15, 3), np.array(shape) / 2)
        inside = sum(((index[n] - middle[n]) / radii[n]) ** 2 for n in range(3)) < 1
        labels[inside] = label
    image = 40 * (labels == 1) + 80 * (labels == 2) + rng.normal(20, 3, shape)
    return image.astype(np.float32), labels


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data list with eight patients: five for training, two for validation, one for the test."""
    folder = tmp_path_factory.mktemp("study")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for n in range(8):
        image, labels = phantom(n)
        geometry = Geometry(SHAPE, affine)
        write_image(Volume(image, geometry), folder / "images" / f"case_{n}.nii.gz")
        write_labels(LabelMap(labels, geometry), folder / "labels" / f"case_{n}.nii.gz")
    return write_list(folder / "data.yaml")


def write_list(path: Path, **changes: object) -> Path:
    """The data list of the study, with some keys changed (None: left out)."""
    content = {
        "name": "ellipsoids",
        "licence": "CC0-1.0",
        "simulated": True,
        "labels": list(NAMES),
        "grid": {"orientation": "RAS", "spacing_mm": [1, 1, 1], "size": [32, 32, 32]},
        "images": "images/case_*.nii.gz",
        "label_files": "labels/case_*.nii.gz",
        "split": {"validation": ["5", "6"], "test": ["7"]},
        **changes,
    }
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}), "utf-8")
    return path
