"""A stand-in for the pair optimiser, so that words can be tested in milliseconds, and small files to use them on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from jrscli.cli import app
from jrscli.io import write_image, write_labels
from jrscli.io.dicom_write import write_series
from jrscli.io.rtstruct_write import write_rtstruct
from jrscli.report import overlay, sheets
from jrscli.spatial.affine import AffineTransform
from jrscli.spatial.displacement import DisplacementField
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.resample import resample
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import LabelMap, Volume
from jrscli.workflows.contours import structures_of_labels

SHIFT_MM = np.array([6.0, -4.0, 3.0])
"""What the stand-in always finds: a fixed point lies this far from its moving point."""


@dataclass(frozen=True)
class Step:
    """A step of the stand-in."""

    name: str
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KnownShift:
    """A registration that is known: a field of zeros, then a shift."""

    fixed: Geometry
    failed: str | None = None
    init: str = "header"
    model: str | None = None
    folding_percent: float = 0.0
    inverse_consistency_p95_mm: float = 0.01
    inverse_consistency_max_mm: float = 0.02
    jacobian_min: float = 1.0
    jacobian_max: float = 1.0
    steps: tuple[Step, ...] = (Step("linear", 0.1), Step("deformable", 0.2))
    guided_by: str = ""
    notices: tuple[Any, ...] = ()

    @property
    def linear(self) -> AffineTransform:
        """The shift."""
        return AffineTransform.about(np.eye(3), np.zeros(3), SHIFT_MM)

    @property
    def transform(self) -> Transform:
        """Fixed mm -> moving mm."""
        return Transform((DisplacementField.zeros(self.fixed), self.linear))

    @property
    def inverse(self) -> Transform:
        """Moving mm -> fixed mm."""
        return Transform((self.linear.inverse(), DisplacementField.zeros(self.fixed)))

    def warp(self, moving: Volume, fixed: Geometry) -> Volume:
        """The moving image on the fixed grid."""
        return resample(moving, fixed, self.transform)


@pytest.fixture
def optimiser(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in, in the place of the real one; ``optimiser.calls`` holds the options it got."""
    module = ModuleType("jrscli.workflows.register")
    module.calls = []  # type: ignore[attr-defined]
    module.failed = None  # type: ignore[attr-defined]
    module.guided_by = ""  # type: ignore[attr-defined]

    def register(fixed: Volume, moving: Volume, **options: Any) -> KnownShift:
        module.calls.append(options)  # type: ignore[attr-defined]
        options["progress"]("linear", 1, 2)
        options["progress"]("linear", 2, 2)
        return KnownShift(fixed.geometry, module.failed, guided_by=module.guided_by)  # type: ignore[attr-defined]

    module.register = register  # type: ignore[attr-defined]
    module.expected_cost = lambda fixed, moving, **options: (12.6, 0.61)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jrscli.workflows.register", module)
    monkeypatch.setattr(overlay, "draw_overlay", partial(overlay.draw_overlay, width_px=240))  # the full size takes seconds
    monkeypatch.setattr(sheets, "WIDTH_PX", 240)
    return module


@dataclass(frozen=True)
class Files:
    """A fixed and a moving image (apart by SHIFT_MM), labels of both, points, and DICOM of both, in one folder."""

    folder: Path
    fixed: Geometry
    moving: Geometry


def image_of(geometry: Geometry, centre_mm: np.ndarray, seed: int = 0) -> Volume:
    """A noisy ball of 12 mm at a place, as int16."""
    index = np.moveaxis(np.indices(geometry.shape), 0, -1).reshape(-1, 3)
    distance = np.linalg.norm(geometry.index_to_world(index) - centre_mm, axis=1).reshape(geometry.shape)
    noise = np.random.default_rng(seed).normal(0, 20, geometry.shape)
    return Volume((np.where(distance < 12, 400, -100) + noise).astype(np.int16), geometry)


def labels_of(geometry: Geometry, centre_mm: np.ndarray) -> LabelMap:
    """The ball as label 3."""
    mask = image_of(geometry, centre_mm).array > 150
    return LabelMap(mask.astype(np.uint32) * 3, geometry, {3: "Ball"})


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Small files for all commands; not to be written into."""
    folder = tmp_path_factory.mktemp("files")
    fixed = Geometry((28, 24, 16), np.diag((2.0, 2.0, 3.0, 1.0)))
    affine = np.diag((2.0, 2.0, 2.5, 1.0))
    affine[:3, 3] = (-4.0, -6.0, 1.0)
    moving = Geometry((30, 26, 20), affine)
    centre = np.array([27.0, 23.0, 22.0])
    for name, grid, place in (("fixed", fixed, centre), ("moving", moving, centre + SHIFT_MM)):
        image = image_of(grid, place)
        write_image(image, folder / f"{name}.nii.gz")
        write_labels(labels_of(grid, place), folder / f"{name}-seg.nii.gz")
        header = write_series(image, folder / f"{name}-ct", seed=name)
        structures = structures_of_labels(labels_of(grid, place))
        write_rtstruct(structures, header, grid, folder / f"{name}-RS.dcm", label="BALL", seed=name)
    (folder / "points.csv").write_text("x_lps_mm,y_lps_mm,z_lps_mm,label\n33,19,25,Ball\n")
    return Files(folder, fixed, moving)


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def paths(self) -> dict[str, Path]:
        """The outputs it named, by kind."""
        rows = [line.split("\t") for line in self.out.splitlines() if "\t" in line]
        return {kind: Path(path) for kind, path in rows}

    def failed_with(self, exit_code: int, code: str) -> Said:
        """Itself, after checking that it failed in exactly two lines, as it should."""
        lines = self.err.splitlines()
        assert [line for line in lines if line.startswith("error: ")] == [lines[-2]], self.err
        assert [line for line in lines if line.startswith("hint:  ")] == [lines[-1]], self.err
        assert "Traceback" not in self.err + self.out
        assert f"[{code}]" in lines[-2], self.err
        assert self.code == exit_code
        return self


@pytest.fixture
def jrs(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """``jrs("register", a, b)`` runs the command in this process."""

    def run(*words: object) -> Said:
        capsys.readouterr()
        code = app([str(word) for word in words])
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run
