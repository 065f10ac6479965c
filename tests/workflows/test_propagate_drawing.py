"""How carried contours are drawn: gaps, thinned outlines, holes, and structures that do not lie in the planning image."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.errors import InputError
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.rasterize import rasterize
from jrscli.spatial.structures import Contour, Roi, StructureSet
from jrscli.spatial.transform import Transform
from jrscli.spatial.volume import Volume
from jrscli.workflows.propagate import propagate

GRID = Geometry((60, 50, 20), np.diag((2.0, 2.0, 3.0, 1.0)))
EMPTY = Volume(np.zeros(GRID.shape, np.int16), GRID)


class Same:
    transform = Transform.identity()
    inverse = Transform.identity()


def circle(k, radius=20.0, centre=(60.0, 50.0), kind="CLOSED_PLANAR"):
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    flat = np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)
    return Contour(np.column_stack([flat, np.full(90, 3.0 * k)]), kind)


def carried(*rois, **options):
    return propagate(EMPTY, StructureSet(tuple(rois)), EMPTY, registration=Same(), **options)


def codes(done):
    return {notice.code: notice.message for notice in done.notices}


def slices(done):
    mask = rasterize(done.structures.rois[0], GRID)
    return np.flatnonzero(mask.any(axis=(0, 1))).tolist()


def test_gaps_are_filled_only_if_asked():
    thin = Roi(1, "a", tuple(circle(k) for k in range(4, 13, 4)))
    assert slices(carried(thin)) == [4, 8, 12]
    done = carried(thin, fill_gaps=True)
    assert slices(done) == list(range(4, 13))
    assert "6 slice" in codes(done)["rs.filled"]
    assert done.results[0].planning_cc == pytest.approx(9 * np.pi * 400 * 3 / 1000, rel=0.03)


def test_simpler_outlines_tell_how_far_off_and_how_like_they_are():
    roi = Roi(1, "a", tuple(circle(k) for k in range(4, 13)))
    plain, thin = carried(roi), carried(roi, simplify_mm=0.5)
    points = [sum(len(c.points) for c in done.structures.rois[0].contours) for done in (plain, thin)]
    assert points[1] < points[0] / 2
    words = codes(thin)["rs.simplified"]
    assert f"to {points[1]}" in words
    assert float(words.split("at most ")[1].split(" mm")[0]) <= 0.5
    assert 0.97 < float(words.split("Dice ")[1]) < 1


def test_holes_survive_in_each_manner():
    ring = Roi(1, "a", tuple(c for k in range(4, 9) for c in (circle(k), circle(k, 9.0))))
    kinds = {}
    for holes in ("keyhole", "xor", "nested"):
        done = carried(ring, holes=holes)
        kinds[holes] = ({c.kind for c in done.structures.rois[0].contours}, len(done.structures.rois[0].contours))
        mask = rasterize(done.structures.rois[0], GRID)
        assert not mask[30, 25].any()
        assert mask.sum() * GRID.voxel_volume_mm3 == pytest.approx(np.pi * (400 - 81) * 15, rel=0.03)
    assert kinds == {
        "keyhole": ({"CLOSED_PLANAR"}, 5),
        "xor": ({"CLOSEDPLANAR_XOR"}, 10),
        "nested": ({"CLOSED_PLANAR"}, 10),
    }


def test_contours_drawn_on_another_image_are_refused():
    with pytest.raises(InputError) as caught:
        carried(Roi(1, "a", (circle(4, centre=(900.0, 50.0)),)), Roi(2, "b"))
    assert caught.value.code == "rs.outside"


def test_one_of_two_rois_outside_is_kept_empty_and_said():
    done = carried(Roi(1, "a", (circle(4, centre=(900.0, 50.0)),)), Roi(2, "b", (circle(4),)))
    assert [result.status for result in done.results] == ["lost", "ok"]
    assert "ROI 1" in codes(done)["rs.lost"]
    assert done.structures.rois[0].contours == ()


def test_contours_across_the_planning_slices_are_carried_as_well():
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    rings = []
    for x in np.arange(42.0, 79.0, 4.0):
        radius = np.sqrt(20.0**2 - (x - 60) ** 2)
        rings.append(Contour(np.stack([np.full(90, x), 50 + radius * np.cos(angle), 30 + radius * np.sin(angle)], axis=1)))
    done = carried(Roi(1, "ball", tuple(rings)))
    assert done.results[0].daily_cc == pytest.approx(4 / 3 * np.pi * 8, rel=0.05)
    assert {round(c.points[0, 2] % 3, 6) for c in done.structures.rois[0].contours} == {0}
