"""Contours across the slices: drawn in space between their own planes."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.spatial.contour_notices import contour_notices
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import contour_volume_mm3, rasterize
from jrscli.spatial.structures import Contour, Roi

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
AFFINE[:3, 3] = (-40, -35, -50)
GRID = Geometry((80, 70, 50), AFFINE)
CENTRE, RADIUS = np.array([1.3, -2.2, 4.1]), 20.0
AXES = {"sagittal": np.eye(3)[:, [1, 2, 0]], "coronal": np.eye(3)[:, [0, 2, 1]]}


def turned(degrees):
    a, b = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    return about_x @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])


AXES["oblique"] = turned((35, -20))


def ball(axes, step=3.0, hole=0.0, skip=()):
    """Circles round a ball on planes of their own, perhaps with a smaller ball left out."""
    contours = []
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    for n, depth in enumerate(np.arange(-RADIUS + 0.5, RADIUS, step)):
        for full in (RADIUS, hole):
            if n in skip or full <= abs(depth):
                continue
            radius = np.sqrt(full**2 - depth**2)
            flat = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(180, depth)], axis=1)
            contours.append(Contour(np.round(CENTRE + flat @ axes.T, 3)))
    return Roi(1, "ball", tuple(contours))


def truth(radius):
    index = np.argwhere(np.ones(GRID.shape, bool))
    return (np.linalg.norm(GRID.index_to_world(index) - CENTRE, axis=1) < radius).reshape(GRID.shape)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("which", list(AXES))
def test_a_ball_drawn_across_the_slices_is_the_same_ball(which):
    roi = ball(AXES[which])
    mask = rasterize(roi, GRID)
    assert dice(mask, truth(RADIUS)) > 0.975
    drawn = contour_volume_mm3(roi, GRID)
    assert drawn == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.02)
    assert mask.sum() * GRID.voxel_volume_mm3 == pytest.approx(drawn, rel=0.01)
    found = {notice.code: notice.message for notice in contour_notices(roi, GRID)}
    assert set(found) == {"rs.oblique"}
    assert f"{len(roi.contours)} contour" in found["rs.oblique"]


def test_holes_stay_open_across_the_slices():
    roi = ball(AXES["oblique"], hole=10.0)
    hollow = truth(RADIUS) & ~truth(10.0)
    mask = rasterize(roi, GRID)
    assert dice(mask, hollow) > 0.96
    assert not mask[tuple(np.rint(GRID.world_to_index(CENTRE[None])[0]).astype(int))]


def test_a_gap_stays_open_and_is_told():
    roi = ball(AXES["sagittal"], skip=(5, 6, 7))
    mask = rasterize(roi, GRID)
    assert not mask[41].any()  # x = 1 mm, in the middle of the gap
    assert mask[30].any()
    assert mask[50].any()
    assert "3 slice" in {n.code: n.message for n in contour_notices(roi, GRID)}["rs.gap"]
    assert mask.sum() * GRID.voxel_volume_mm3 == pytest.approx(contour_volume_mm3(roi, GRID), rel=0.02)


def test_planes_within_a_degree_snap_to_the_slices():
    tilt = turned((0.5, 0))
    found = rasterize(ball(tilt, step=2.0), GRID)
    assert not {"rs.oblique"} & {n.code for n in contour_notices(ball(tilt, step=2.0), GRID)}
    assert dice(found, truth(RADIUS)) > 0.95


def test_sagittal_contours_plane_by_plane_need_no_drawing_in_space():
    roi = ball(AXES["sagittal"], step=1.0)
    assert "rs.oblique" not in {n.code for n in contour_notices(roi, GRID)}
    assert dice(rasterize(roi, GRID), truth(RADIUS)) > 0.98


def test_one_lone_plane_is_a_slab_of_one_voxel():
    roi = Roi(1, "a", ball(AXES["coronal"]).contours[6:7])
    assert rasterize(roi, GRID).any(axis=(0, 2)).sum() == 1


def test_a_contour_out_of_its_plane_is_pressed_onto_it():
    (contour,) = ball(AXES["oblique"]).contours[6:7]
    bent = Contour(contour.points + 1.5 * np.sin(np.linspace(0, 8 * np.pi, 180))[:, None] * AXES["oblique"][:, 2])
    a, b = (rasterize(Roi(1, "a", (c,)), GRID) for c in (contour, bent))
    assert dice(a, b) > 0.93


def test_drawings_in_two_directions_are_united():
    both = Roi(1, "a", ball(AXES["sagittal"]).contours + ball(AXES["coronal"]).contours + ball(np.eye(3), step=2.0).contours)
    assert dice(rasterize(both, GRID), truth(RADIUS)) > 0.96
