"""The pelvis phantom and one simulated daily image of it, made once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.structures import StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume
from jrscli.workflows.phantom import Study, pelvis_study
from jrscli.workflows.simulate import Simulation, deform_study


@dataclass(frozen=True)
class Known:
    """A registration that is known, not computed."""

    transform: Transform
    inverse: Transform


@pytest.fixture(scope="session")
def study() -> Study:
    return pelvis_study()


@pytest.fixture(scope="session")
def simulation(study: Study) -> Simulation:
    return deform_study(study.planning, study.structures, seed=1)


@pytest.fixture(scope="session")
def known(simulation: Simulation) -> Known:
    return Known(simulation.transform, simulation.inverse)


@pytest.fixture(scope="session")
def cropped(simulation: Simulation) -> Volume:
    """The daily image without its upper half."""
    shape = simulation.daily.geometry.shape
    half = shape[2] // 2
    grid = simulation.daily.geometry.cropped_to((0, 0, 0), (shape[0], shape[1], half))
    return Volume(simulation.daily.array[:, :, :half], grid)


@pytest.fixture(scope="session")
def dice():
    def of(a: np.ndarray, b: np.ndarray) -> float:
        return 2 * float((a & b).sum()) / max(int(a.sum()) + int(b.sum()), 1)

    return of


@pytest.fixture(scope="session")
def dice_by_name(dice):
    """Dice of each ROI of a structure set against masks by number, on a grid."""

    def of(structures: StructureSet, masks: dict[int, np.ndarray], grid: Geometry) -> dict[str, float]:
        return {roi.name: dice(rasterize(roi, grid), masks[roi.number]) for roi in structures.rois}

    return of


@pytest.fixture(scope="session")
def identity() -> Known:
    return Known(Transform.identity(), Transform.identity())
