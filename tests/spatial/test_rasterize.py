"""Contours -> masks: which voxels are inside, and what is said of contours that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from jrscli.spatial.contour_notices import contour_notices
from jrscli.spatial.gaps import fill_gaps
from jrscli.spatial.geometry import Geometry
from jrscli.spatial.planes import place_contours
from jrscli.spatial.rasterize import contour_volume_mm3, coverage, rasterize, rasterize_all
from jrscli.spatial.structures import Contour, Roi, StructureSet

GRID = Geometry((40, 30, 6), np.diag([1.0, 1.0, 2.0, 1.0]))


def polygon(*points, z=0.0, kind="CLOSED_PLANAR"):
    return Contour(np.array([(x, y, z) for x, y in points], dtype=float), kind)


def square(low, high, z=0.0, kind="CLOSED_PLANAR"):
    return polygon((low, low), (high, low), (high, high), (low, high), z=z, kind=kind)


def circle(radius_mm, z, centre=(0.0, 0.0), n=720, reverse=False):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False) * (-1 if reverse else 1)
    return np.stack([centre[0] + radius_mm * np.cos(angle), centre[1] + radius_mm * np.sin(angle), np.full(n, z)], axis=1)


def filled(*contours, grid=GRID):
    return rasterize(Roi(1, "roi", contours), grid)


def codes(*contours, grid=GRID):
    return {notice.code: notice.message for notice in contour_notices(Roi(1, "secret", contours), grid)}


def test_a_pixel_is_inside_if_its_centre_is():
    mask = filled(square(4.6, 7.4, z=2.0))
    expected = np.zeros(GRID.shape, bool)
    expected[5:8, 5:8, 1] = True
    assert np.array_equal(mask, expected)


def test_centres_on_an_edge_belong_to_one_of_two_neighbours():
    left, right = polygon((3, 3), (10, 3), (10, 9), (3, 9)), polygon((10, 3), (17, 3), (17, 9), (10, 9))
    both = polygon((3, 3), (17, 3), (17, 9), (3, 9))
    assert not (filled(left) & filled(right)).any()
    assert np.array_equal(filled(left) | filled(right), filled(both))


def test_a_slanted_common_edge_through_centres_leaves_nothing_out():
    lower, upper = polygon((2, 2), (20, 2), (20, 20)), polygon((2, 2), (20, 20), (2, 20))
    assert not (filled(lower) & filled(upper)).any()
    assert np.array_equal(filled(lower) | filled(upper), filled(square(2, 20)))


@pytest.mark.parametrize("holes", ["nested", "xor", "keyhole"])
def test_ring_has_its_hole(holes):
    """Radii 30 and 15 mm on 10 planes of 2 mm: π (30² − 15²) · 20 mm³ = 42.41 cc."""
    grid = Geometry(
        (128, 128, 12), np.diag([0.75, 0.75, 2.0, 1.0]) + np.array([[0, 0, 0, -48], [0, 0, 0, -48], [0] * 4, [0] * 4])
    )
    contours = []
    for k in range(1, 11):
        outer, inner = circle(30, 2.0 * k), circle(15, 2.0 * k, reverse=True)
        if holes == "keyhole":
            contours.append(Contour(np.concatenate([outer, outer[:1], inner, inner[:1]])))
        else:
            kind = "CLOSEDPLANAR_XOR" if holes == "xor" else "CLOSED_PLANAR"
            contours += [Contour(outer, kind), Contour(inner, kind)]
    roi = Roi(1, "ring", tuple(contours))
    mask = rasterize(roi, grid)
    assert mask.sum() * grid.voxel_volume_mm3 / 1000 == pytest.approx(42.41, abs=0.3)
    assert contour_volume_mm3(roi, grid) / 1000 == pytest.approx(42.41, abs=0.02)
    assert mask.any(axis=(0, 1)).sum() == 10
    assert not mask[64, 64].any()


def test_a_speck_changes_nothing_beside_real_contours():
    real = (square(4.5, 12.5), square(20.5, 25.5))
    speck = polygon((8.0, 8.0), (8.12, 8.0), (8.12, 8.12), (8.0, 8.12))
    assert np.array_equal(filled(*real, speck), filled(*real))
    assert set(codes(*real, speck)) == {"rs.degenerate"}


@pytest.mark.parametrize("points", [[(3, 3), (9, 3)], [(3, 3), (9, 9), (6, 6)], [(5, 5)]])
def test_contours_without_area_are_dropped_and_counted(points):
    assert not filled(polygon(*points)).any()
    assert set(codes(polygon(*points))) == {"rs.degenerate"}


def test_contours_snap_to_the_nearest_slice_and_the_offset_is_told():
    mask = filled(square(4.5, 9.5, z=2.9), square(4.5, 9.5, z=4.9))
    assert mask.any(axis=(0, 1)).tolist() == [False, True, True, False, False, False]
    assert "0.90 mm" in codes(square(4.5, 9.5, z=2.9))["rs.offplane"]


def test_of_planes_finer_than_the_slices_the_nearest_is_used():
    """XOR of two sections that snap to one slice would leave a rim of the organ only."""
    planes = [square(4.5, 14.5 + n, z=float(n)) for n in range(5)]
    mask = filled(*planes)
    assert [int(mask[:, :, k].sum()) for k in range(3)] == [100, 144, 196]
    assert "2 contour" in codes(*planes)["rs.planes"]


def test_missing_planes_are_reported():
    assert "2 slice" in codes(square(3, 9, z=0), square(3, 9, z=4), square(3, 9, z=8))["rs.gap"]
    assert not codes(square(3, 9, z=0), square(3, 9, z=2))


def test_contours_outside_are_counted_and_crossing_ones_clipped():
    assert "1 contour" in codes(square(60, 70))["rs.outside"]
    assert "1 contour" in codes(square(3, 9, z=-1.1))["rs.outside"]
    assert set(codes(square(-3.2, 9.5))) == {"rs.clipped"}
    assert filled(square(-3.2, 9.5)).sum() == 100


def test_contours_half_a_slice_beyond_the_end_still_count():
    assert filled(square(3.5, 9.5, z=-0.9))[:, :, 0].sum() == 36


def test_points_and_open_contours_make_no_mask():
    point, line = polygon((5, 5), kind="POINT"), polygon((3, 3), (9, 3), (9, 9), kind="OPEN_PLANAR")
    assert not filled(point, line).any()
    assert set(codes(point, line)) == {"rs.open"}


def test_notices_name_no_roi():
    assert all("secret" not in message for message in codes(square(60, 70), square(3, 4, z=0.3)).values())


def test_a_grid_with_slices_along_another_axis_gets_the_same_tissue():
    """The same space with its axes in another order, as NIfTI files have it."""
    turned = Geometry((6, 40, 30), GRID.affine[:, [2, 0, 1, 3]])
    contours = (square(4.5, 12.5, z=2), square(6.5, 12.5, z=4))
    assert np.array_equal(filled(*contours, grid=turned), filled(*contours).transpose(2, 0, 1))


def test_oblique_grids_are_filled_as_upright_ones(geometry):
    upright = Geometry(geometry.shape, np.eye(4))
    index = np.array([(2.2, 1.7, 4.0), (11.1, 2.4, 4.0), (8.3, 10.2, 4.0)])
    turned = Contour(geometry.index_to_world(index))
    assert np.array_equal(filled(turned, grid=geometry), filled(Contour(index), grid=upright))
    assert filled(turned, grid=geometry).sum() > 20


def test_rasterize_all_goes_by_number():
    structures = StructureSet((Roi(7, "a", (square(3.5, 5.5),)), Roi(3, "a", (square(3.5, 9.5),))))
    masks = rasterize_all(structures, GRID)
    assert {number: int(mask.sum()) for number, mask in masks.items()} == {7: 4, 3: 36}


def test_coverage_is_the_share_of_the_pixel():
    share = coverage(Roi(1, "a", (polygon((4.5, 4.5), (6.0, 4.5), (6.0, 5.0), (4.5, 5.0)),)), GRID)
    assert {tuple(at): float(share[tuple(at)]) for at in np.argwhere(share).tolist()} == {(5, 5, 0): 0.5, (6, 5, 0): 0.25}


def test_coverage_sums_to_the_volume_of_a_small_sphere():
    contours = tuple(Contour(circle(np.sqrt(9 - z * z), 4 + z, (12.3, 11.8), n=90)) for z in (-2.0, 0.0, 2.0))
    roi = Roi(1, "lens", contours)
    assert 0 < rasterize(roi, GRID).sum() < 100
    assert coverage(roi, GRID).sum() * 2.0 == pytest.approx(contour_volume_mm3(roi, GRID), rel=0.01)


def test_keyhole_channels_leave_no_trace():
    """A channel through pixel centres, walked out and back, must cancel on both of its sides."""
    outer, hole = [(2, 2), (30, 2), (30, 25), (2, 25)], [(10, 10), (10, 15), (15, 15), (15, 10)]
    joined = polygon(*outer, outer[0], *hole, hole[0])
    assert np.array_equal(filled(joined), filled(polygon(*outer), polygon(*hole)))


def test_place_contours_tells_the_axis():
    assert place_contours(Roi(1, "a", (square(3, 9),)), GRID).slice_axis == 2


def test_a_tiny_structure_between_the_centres_is_not_lost():
    """1.9 pixels wide, with one row of centres inside: by centres half of it would be gone."""
    strip = [polygon((5.05, 4.5), (6.95, 4.5), (6.95, 9.5), (5.05, 9.5), z=2.0 * k) for k in range(3)]
    thin = [polygon((4.52, 4.5), (5.42, 4.5), (5.42, 9.5), (4.52, 9.5), z=2.0 * k) for k in range(3)]
    assert filled(*strip).sum() == 15
    assert filled(*thin).sum() == 15


@pytest.mark.parametrize(("size", "told"), [(0.8, True), (6.0, False)])
def test_too_small_for_the_grid_is_told_with_both_volumes(size, told):
    found = codes(*[square(8.6 - size / 2, 8.6 + size / 2, z=2.0 * k) for k in range(3)])
    assert ("rs.small" in found) == told
    if told:
        assert f"{3 * 2 * size**2 / 1000:.3f} cc by its contours" in found["rs.small"]


def test_a_single_pixel_stays_whole_whatever_the_rounding():
    """Half of it is inside the diamond that is drawn round it, and half of it stays half in three decimals."""
    diamond = np.array([(4.5, 7), (5, 6.5), (5.5, 7), (5, 7.5)]) + np.array(
        [(0.0005, -0.0005), (0, 0), (-0.0005, 0), (0, 0.0004)]
    )
    assert np.argwhere(filled(polygon(*diamond.tolist(), z=4.0))).tolist() == [[5, 7, 2]]


def test_coverage_and_area_agree_with_the_shoelace_formula():
    points = np.array([(3.2, 2.9), (17.7, 4.1), (21.3, 19.6), (9.8, 12.2), (2.4, 22.8)])
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    share = coverage(Roi(1, "a", (polygon(*points.tolist()),)), GRID)
    assert share.sum() == pytest.approx(area, rel=2e-3)
    assert contour_volume_mm3(Roi(1, "a", (polygon(*points.tolist()),)), GRID) == pytest.approx(2 * area, rel=2e-3)
    assert share.max() == 1


def test_contours_that_go_far_beyond_any_patient_cost_no_memory():
    """What a damaged file may hold: a zigzag of kilometres, flat and across the slices."""
    x = np.tile([-9e5, 9e5], 40)
    zigzag = [(a, b + n / 7) for n, (a, b) in enumerate(zip(x, -x, strict=True))]
    flat = Roi(1, "a", (polygon(*zigzag), polygon(*zigzag, z=8.0)))
    across = Roi(
        1, "b", (Contour(np.array([(a, 7.0, b) for a, b in zigzag])), Contour(np.array([(a, 17.0, b) for a, b in zigzag])))
    )
    for roi in (flat, across):
        assert np.isfinite(contour_volume_mm3(roi, GRID))
        assert rasterize(roi, GRID).shape == GRID.shape
        assert contour_notices(roi, GRID)
        fill_gaps(roi, GRID)
