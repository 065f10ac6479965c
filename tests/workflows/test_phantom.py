from __future__ import annotations

import numpy as np
import pytest

from jrscli.spatial.rasterize import rasterize
from jrscli.workflows.phantom import ORGANS, grid_points, organ_levels, pelvis_study


def test_every_organ_is_there_with_name_kind_and_colour(study):
    assert [(r.number, r.name, r.kind, r.colour) for r in study.structures.rois] == [
        (o.number, o.name, o.kind, o.colour) for o in ORGANS
    ]
    assert study.structures.roi("Body").kind == "EXTERNAL"
    assert all(len(r.contours) >= 8 for r in study.structures.rois)


@pytest.mark.parametrize("organ", ORGANS, ids=lambda organ: organ.name)
def test_contours_agree_with_the_formulas(study, dice, organ):
    levels = organ_levels(grid_points(study.planning.geometry))[organ.name]
    exact = np.broadcast_to(levels, study.planning.geometry.shape) > 0
    assert dice(rasterize(study.structures.roi(organ.name), study.planning.geometry), exact) > 0.995


def test_organs_lie_within_the_image_and_apart(study):
    masks = {r.name: rasterize(r, study.planning.geometry) for r in study.structures.rois}
    for name, mask in masks.items():
        if name != "Body":
            assert not mask[:, :, [0, -1]].any()
            assert not (mask & ~masks["Body"]).any()
            assert sum(int((mask & other).sum()) for n, other in masks.items() if n not in ("Body", name)) == 0


@pytest.mark.parametrize(
    ("organ", "low", "high"), [("Bladder", -10, 40), ("PTV", 30, 60), ("FemoralHead_L", 150, 500), ("Rectum", -250, 60)]
)
def test_hounsfield_units_are_those_of_the_tissue(study, organ, low, high):
    inside = study.planning.array[rasterize(study.structures.roi(organ), study.planning.geometry)]
    assert low < inside.mean() < high


def test_the_rectum_holds_gas_and_the_air_round_the_patient_is_air(study):
    rectum = rasterize(study.structures.roi("Rectum"), study.planning.geometry)
    body = rasterize(study.structures.roi("Body"), study.planning.geometry)
    assert study.planning.array[rectum].min() < -700
    assert np.percentile(study.planning.array[~body], [1, 50])[1] == pytest.approx(-1000, abs=5)


def test_the_same_seed_gives_the_same_image_and_another_seed_another(study):
    again, other = pelvis_study(0), pelvis_study(5)
    np.testing.assert_array_equal(study.planning.array, again.planning.array)
    assert (study.planning.array != other.planning.array).mean() > 0.5
