"""The arithmetic of the benchmarks that look at networks: how consistent labels are, how much a tumour's volume changes."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jrscli.training.prepared import Prepared

HERE = Path(__file__).parent / "benchmark"
SHAPE = (12, 12, 12)


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    yield
    sys.modules.pop("trained", None)


def above(threshold: float) -> SimpleNamespace:
    """A method whose segmenter takes for label 1 what is brighter than a threshold."""

    def logits(image: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.full_like(image, threshold), image], dim=1)

    return SimpleNamespace(graph=lambda name: SimpleNamespace(module=logits))


def visit(edge: int) -> Prepared:
    """A cube whose labels are 6 voxels wide and which looks ``edge`` wide."""
    image, labels = np.zeros((1, *SHAPE), np.float32), np.zeros(SHAPE, np.uint8)
    image[:, :edge, :6, :6] = 1
    labels[:6, :6, :6] = 1
    return Prepared("a", image, labels, (True,))


def test_two_visits_that_look_alike_are_labelled_alike():
    compare = runpy.run_path(str(HERE / "scan_rescan.py"))["compare"]
    data = SimpleNamespace(labels=("background", "cube"), grid=SimpleNamespace(dims=3), range=(0.0, 1.0))
    assert compare(above(0.5), data, visit(6), visit(6)) == (1.0, 0.0, 1.0)
    between, apart, right = compare(above(0.5), data, visit(4), visit(6))
    assert between == pytest.approx(0.8)  # 4 of 6 slabs: 2 · 4 / (4 + 6)
    assert apart == pytest.approx(40.0)  # 2 of 5 slabs
    assert right == pytest.approx(0.9)


def test_a_field_that_squeezes_a_tumour_changes_its_volume():
    measure = runpy.run_path(str(HERE / "tumour_volume.py"))["measure"]
    image = torch.rand(1, 1, *SHAPE) + 0.1
    tumour = torch.zeros(1, 1, *SHAPE)
    tumour[:, :, 3:9, 3:9, 3:9] = 1
    labels = torch.cat([1 - tumour, tumour], dim=1)
    healthy = torch.cat([torch.ones_like(tumour), torch.zeros_like(tumour)], dim=1)

    def by(field: torch.Tensor) -> tuple[float, ...]:
        method = SimpleNamespace(on_pair=lambda *_: SimpleNamespace(displacement=field))
        return measure(method, image, healthy, image, labels)

    still = torch.zeros(1, 3, *SHAPE)
    assert by(still)[:3] == (0.0, 0.0, 0.0)
    # every voxel looks twice as far from the middle along the first axis: the tumour is half as long there
    squeezed = still.clone()
    squeezed[:, 0] = (torch.arange(12.0) - 5.5).view(12, 1, 1)
    change, inside, outside, _ = by(squeezed)
    assert change == pytest.approx(0.5, abs=0.2)
    assert outside > inside > 0


def test_scores_of_cells_that_were_kept_before_stay(tmp_path):
    keep = runpy.run_path(str(HERE / "label_scarcity.py"))["keep"]
    kept = tmp_path / "few.csv"
    kept.write_text("labelled,way,seed,budget,segmentation,registration,folds\n5,alone,0,400,0.8,0.6,0.3\n5,jrss,0,9,0.1,,\n")
    done = tmp_path / "runs" / "5-jrss-0"
    done.mkdir(parents=True)
    (done / "scores-validation.json").write_text('{"budget": 400, "segmentation": 0.7}')
    keep(tmp_path / "runs", kept, "validation")
    assert kept.read_text().splitlines()[1:] == ["5,alone,0,400,0.8,0.6,0.3", "5,jrss,0,400,0.7000,,"]


def test_what_maps_show_is_the_largest_one_above_a_half():
    shown = runpy.run_path(str(HERE / "map_refinement.py"))["shown"]
    labels = torch.zeros(1, 3, *SHAPE)
    labels[:, 0] = 1
    labels[:, 0, :4], labels[:, 1, :4] = 0, 1
    labels[:, 0, 6:8], labels[:, 2, 6:8] = 0, 1
    assert shown(labels[:, 1:] * 0.6, labels) == 1
    assert shown(labels[:, 1:] * 0.4, labels) == 0
    blurred = labels[:, 1:].clone()
    blurred[:, 1, :2] = 1.5  # half of label 1 is taken for label 2
    assert shown(blurred, labels) == pytest.approx((2 * 2 / (4 + 2) + 2 * 2 / (2 + 4)) / 2)
