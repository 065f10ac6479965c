from __future__ import annotations

import numpy as np
import pytest

from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.transform import Transform
from jrscli.workflows.phantom import organ_levels
from jrscli.workflows.simulate import daily_geometry, deform_study, moved_mask


def mapped_points(simulation, planning: Geometry) -> np.ndarray:
    grid = simulation.daily.geometry
    points = simulation.motion.map_points(grid.index_to_world(np.argwhere(np.ones(grid.shape))))
    ends = planning.corners_mm[:, 2]  # the patient goes on beyond the ends of the planning image
    points[:, 2] = np.clip(points[:, 2], ends.min(), ends.max())
    return points


def test_true_masks_are_the_formulas_under_the_exact_motion(study, simulation, dice):
    grid = simulation.daily.geometry
    levels = organ_levels(tuple(mapped_points(simulation, study.planning.geometry).T))
    for roi in simulation.structures.rois:
        assert dice(simulation.masks[roi.number], levels[roi.name].reshape(grid.shape) > 0) > 0.975, roi.name


def test_true_contours_and_true_masks_agree(simulation, dice_by_name):
    scores = dice_by_name(simulation.structures, simulation.masks, simulation.daily.geometry)
    assert min(scores.values()) > 0.9999


def test_the_daily_image_is_truly_deformed(study, simulation, dice):
    grid = simulation.daily.geometry
    before = {roi.name: dice(rasterize(roi, grid), simulation.masks[roi.number]) for roi in study.structures.rois}
    assert before["Bladder"] < 0.85
    assert before["PTV"] < 0.75
    assert before["FemoralHead_L"] < 0.75
    assert before["FemoralHead_R"] < 0.75


def test_the_image_follows_the_structures(simulation):
    daily = simulation.daily.array
    means = {roi.name: float(daily[simulation.masks[roi.number]].mean()) for roi in simulation.structures.rois}
    assert means["FemoralHead_L"] > 120
    assert means["Bladder"] < means["PTV"] + 10
    assert abs(means["Bladder"]) < 90


def test_daily_grid_is_its_own_and_noise_and_shading_are_there(study, simulation):
    assert not simulation.daily.geometry.matches(study.planning.geometry)
    muscle = simulation.masks[6]
    assert 15 < simulation.daily.array[muscle].std() < 60
    quiet = deform_study(study.planning, study.structures, seed=1, noise_hu=0, shading_hu=0)
    difference = simulation.daily.array[simulation.masks[1]].astype(float) - quiet.daily.array[simulation.masks[1]]
    assert 20 < difference.std() < 60


def test_daily_geometry_stays_over_the_field(study):
    grid = daily_geometry(study.planning.geometry)
    assert grid.shape[2] == study.planning.geometry.shape[2]
    extent = (
        np.array(grid.shape) * grid.spacing_mm / (np.array(study.planning.geometry.shape) * study.planning.geometry.spacing_mm)
    )
    assert (extent > 0.95).all()
    assert (extent <= 1.0001).all()


def test_a_solid_ends_half_a_slice_beyond_its_outer_contours():
    planning = Geometry((40, 40, 12), np.diag((1.0, 1.0, 4.0, 1.0)))
    square = np.array([[9.5, 9.5], [29.5, 9.5], [29.5, 29.5], [9.5, 29.5]])
    contours = tuple(Contour(np.column_stack([square, np.full(4, 4.0 * k)])) for k in range(4, 8))
    fine = Geometry((40, 40, 48), np.diag((1.0, 1.0, 1.0, 1.0)))
    mask = moved_mask(Roi(1, "box", contours), planning, fine, Transform.identity())
    # slices 16 … 28 mm, half a slice of 4 mm more on both sides; the plane at exactly half counts or not
    assert mask[20, 20].sum() == pytest.approx(16, abs=1)
    assert mask[:, :, 20].sum() == pytest.approx(400, rel=0.05)
    assert not mask[:, :, 13].any()


def test_points_have_no_mask_and_move_to_where_the_motion_fetches_them(study):
    roi = Roi(1, "iso", (Contour(np.array([[10.0, 5.0, 3.0]]), "POINT"),))
    sim = deform_study(study.planning, StructureSet((roi,)), seed=0)
    assert not sim.masks[1].any()
    there = sim.structures.rois[0].contours[0].points
    assert np.linalg.norm(there - (10, 5, 3)) > 2
    np.testing.assert_allclose(sim.motion.map_points(there), [[10, 5, 3]], atol=0.2)
