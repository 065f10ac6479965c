"""The main jobs on real images: hippocampus MR of different people, and a patient's CT with its RTSTRUCT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import jrscli
from jrscli.io.rtstruct import read_rtstruct
from jrscli.spatial.rasterize import rasterize
from jrscli.workflows.simulate import deform_study

DATA = Path(__file__).parent / "data"
MR = DATA / "hippocampus"


def labels_of(number: str) -> jrscli.LabelMap:
    return jrscli.read_labels(MR / "labels" / f"hippocampus_{number}.nii.gz")


def image_of(number: str) -> Path:
    return MR / "images" / f"hippocampus_{number}.nii.gz"


def mean_dice(one: jrscli.LabelMap, other: jrscli.LabelMap) -> float:
    return float(np.mean([2 * (one.mask(n) & other.mask(n)).sum() / (one.mask(n).sum() + other.mask(n).sum()) for n in (1, 2)]))


@pytest.mark.parametrize(("fixed", "moving"), [("006", "007"), ("007", "008"), ("008", "006")])
def test_hippocampus_of_two_people(fixed: str, moving: str) -> None:
    from jrscli.spatial.resample import resample_labels
    from jrscli.spatial.transform import Transform

    registration = jrscli.register(image_of(fixed), image_of(moving))
    true = labels_of(fixed)
    linear = mean_dice(true, resample_labels(labels_of(moving), true.geometry, Transform((registration.linear,))))
    final = mean_dice(true, resample_labels(labels_of(moving), true.geometry, registration.transform))
    assert registration.failed is None
    assert registration.folding_percent == 0
    assert final > 0.70
    assert final > linear + 0.02


def test_two_atlases_segment_a_third_person() -> None:
    atlases = [(image_of(number), MR / "labels" / f"hippocampus_{number}.nii.gz") for number in ("007", "008")]
    segmentation = jrscli.segment(image_of("006"), atlases, preset="fast")
    assert mean_dice(labels_of("006"), segmentation.labels) > 0.70


def test_contour_of_a_patient_on_a_simulated_day() -> None:
    file = jrscli.read_image(DATA / "sarcoma-ct" / "image")
    contours = next(path for path in (DATA / "sarcoma-ct").rglob("*.dcm") if "image" not in path.parts)
    structures = read_rtstruct(contours, file.series, file.volume.geometry)
    day = deform_study(file.volume, structures, seed=3)
    propagation = jrscli.propagate(file.volume, structures, day.daily)
    roi = structures.rois[0]
    true = day.masks[roi.number]

    def dice(candidate: jrscli.Roi) -> float:
        mask = rasterize(candidate, day.daily.geometry)
        return float(2 * (mask & true).sum() / (mask.sum() + true.sum()))

    found = next(r for r in propagation.structures.rois if r.number == roi.number)
    assert found.name == roi.name
    assert dice(found) > 0.88 > dice(roi) + 0.05
